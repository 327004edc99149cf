"""A decided reply: what goes over the wire, when, and how it ends."""

from __future__ import annotations

from typing import Literal, NamedTuple

from fastbatch.simulator.counters import Tally

Ending = Literal["whole", "cut", "reset", "never"]


class Reply(NamedTuple):
    """What to send for one request.

    Attributes:
        status: HTTP status.
        body: the body, unless `events` are given.
        headers: further header lines, each ended by CRLF.
        content_type: of the body.
        delay: seconds from arrival to the first byte.
        ending: "whole"; "cut": half of it, then FIN; "reset": RST and not a byte; "never": nothing, ever.
        events: a streamed body, piece by piece.
        spread: seconds from the first event to the last.
        tally: where its end is counted; None for `/simulator/` paths.
        answer: it is a 200 answer (and not an injected failure).
        key: the request's fingerprint, where it has one.
    """

    status: int
    body: bytes
    headers: bytes = b""
    content_type: bytes = b"application/json"
    delay: float = 0.0
    ending: Ending = "whole"
    events: tuple[bytes, ...] | None = None
    spread: float = 0.0
    tally: Tally | None = None
    answer: bool = False
    key: int | None = None

    def settle(self, *, delivered: bool) -> None:
        """Count its end: handed over in full, or given up because the connection is gone."""
        if self.tally is not None:
            self.tally.settle(self.key, answer=self.answer, delivered=delivered)
