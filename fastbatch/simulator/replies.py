"""A decided reply: what goes over the wire, when, and how it ends."""

from __future__ import annotations

from typing import Literal, NamedTuple

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.counters import Tally
from fastbatch.simulator.headers import HeaderStyle

Ending = Literal["whole", "cut", "reset", "never"]

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"


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
    content_type: bytes = JSON
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


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def rejection_body(rejected: Rejected) -> bytes:
    """The error body of a 4xx."""
    return error_body(rejected.message, rejected.kind, rejected.param, rejected.code)


def refusal_body(refusal: Refusal, model: str) -> bytes:
    """The error body of a 429 by a limit, with the numbers OpenAI puts into its sentence."""
    what, limit = refusal.limit.what, refusal.amount
    if refusal.retry_after_ms is None:
        message = (
            f"Request too large for {model} on {what} per {refusal.limit.per:g}s: "
            f"Limit {limit}, Requested {refusal.requested}. It will never fit."
        )
    else:
        message = (
            f"Rate limit reached for {model} on {what} per {refusal.limit.per:g}s: Limit {limit}, "
            f"Used {refusal.used}, Requested {refusal.requested}. "
            f"Please try again in {refusal.retry_after_ms}ms."
        )
    return error_body(message, what, code="rate_limit_exceeded")


def retry_headers(wait: int | None, style: HeaderStyle) -> bytes:
    """`retry-after` (whole seconds, rounded up) and `retry-after-ms`; empty for what will never fit.

    `wait` is in milliseconds. Anthropic has no `retry-after-ms`.
    """
    if wait is None:
        return b""
    seconds = b"retry-after: %d\r\n" % -(-wait // 1000)
    return seconds if style == "anthropic" else seconds + b"retry-after-ms: %d\r\n" % wait


def busy_body(status: int) -> bytes:
    """The error body of a request that came while too many others were under way."""
    if status == 503:
        return error_body(
            "The server is overloaded, please try again later.", "server_error", code="overloaded"
        )
    message = "Too many requests are under way at once."
    return error_body(message, "requests", code="concurrency_limit_exceeded")


def quota_body() -> bytes:
    """The error body of a 429 that waiting does not help."""
    return error_body(
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        code="insufficient_quota",
    )


FAILURE_REPLIES: dict[str, tuple[int, bytes]] = {
    "500": (500, error_body("The server had an error while processing your request.", "server_error")),
    "503": (503, error_body("The engine is currently overloaded, please try again later.", "server_error")),
    "429": (429, error_body("Too many requests, please slow down.", "requests", code="rate_limit_exceeded")),
}
