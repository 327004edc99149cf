"""What all folds of streamed replies share: taking bytes apart, and telling how a stream ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.errors import BadResponse, ResponseTooLarge
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import Delta
from fastbatch.transport.base import MAX_RESPONSE_BYTES
from fastbatch.transport.sse import Splitter


class EventFold:
    """A reply of server-sent events with JSON in them; a subclass takes each (`take`) and makes the `whole`.

    Attributes:
        complete: the stream has said that it is over; an `error` means so, too.
        error: a status and a reply's body, where the stream said that it failed.
    """

    def __init__(self) -> None:
        self.complete = False
        self.error: tuple[int, Any] | None = None
        self._splitter = Splitter()
        self._size = 0

    def feed(self, piece: bytes) -> Sequence[Delta]:
        """As `Fold.feed`."""
        self._size += len(piece)
        if self._size > MAX_RESPONSE_BYTES:
            raise ResponseTooLarge(f"the reply is larger than {MAX_RESPONSE_BYTES} bytes")
        deltas: list[Delta] = []
        for event in self._splitter.feed(piece):
            if self.complete:
                break
            if event.data.strip() == "[DONE]":
                self.complete = True
                break
            try:
                said = orjson.loads(event.data)
            except orjson.JSONDecodeError as problem:
                start = event.data[:200]
                raise BadResponse(f"an event of the stream is not JSON ({problem}): {start}") from None
            deltas += self.take(event.event, said)
            self.complete = self.complete or self.error is not None
        return deltas

    def end(self, status: int, headers: Mapping[str, str]) -> HTTPReply | None:
        """As `Fold.end`."""
        if self.error is not None:
            status, body = self.error
            return HTTPReply(status, headers, orjson.dumps(body))
        return HTTPReply(status, headers, orjson.dumps(self.whole())) if self.complete else None

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """One event's name and its JSON; what it adds.

        Raises:
            BadResponse: it is no event of this dialect.
        """
        raise NotImplementedError

    def whole(self) -> Any:
        """The reply's body as the provider would have sent it at once."""
        raise NotImplementedError
