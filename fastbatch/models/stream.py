"""What a reply says while it comes: small additions, and in the end the reply that would have come whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from fastbatch.models.http import HTTPCall, HTTPReply


class Delta(NamedTuple):
    """What one event adds to an answer, in the form of OpenAI's chunks whatever the dialect.

    `delta` is what a chunk's choice calls so: `content`, `reasoning_content`, `refusal`, or `tool_calls` with
    their pieces; empty where only the `finish_reason` is new.
    """

    delta: Mapping[str, Any]
    finish_reason: str | None = None
    choice: int = 0
    """Which of several answers, from 0."""


class Fold(Protocol):
    """Puts one streamed reply together, as the provider would have sent it whole."""

    @property
    def complete(self) -> bool:
        """The stream has said that it is over, or that it failed: what still comes changes nothing."""
        ...

    def feed(self, piece: bytes) -> Sequence[Delta]:
        """Take the next bytes; what they add to the answer, nothing for what is no part of it.

        Raises:
            BadResponse, ResponseTooLarge: this is no such stream.
        """
        ...

    def end(self, status: int, headers: Mapping[str, str]) -> HTTPReply | None:
        """The whole reply, for `Provider.parse`; None where the stream broke off before its end.

        An error that came in the stream is a reply with an error's status.
        """
        ...


class StreamedCall(HTTPCall):
    """A call whose reply comes as a stream; `fold` makes what puts one together, a new one for each reply."""

    fold: Callable[[], Fold]


class StreamedReply(HTTPReply):
    """A reply that was put together; `first_token`: seconds until the first piece of an answer."""

    first_token: float | None = None
