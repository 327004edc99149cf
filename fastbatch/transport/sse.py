"""Server-sent events out of a stream of bytes, by the standard of HTML (9.2.6).

Lines end with CR, LF or both; several `data` lines are one text; comments are passed over, and so is an event
that the stream ends in the middle of.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple

from fastbatch.errors import ResponseTooLarge

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Default bound of one event."""


class Event(NamedTuple):
    """One event; `id` is the last one that the server said, `retry` its wish in milliseconds."""

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class Splitter:
    """Takes bytes as they come and gives events when they are complete.

    >>> splitter = Splitter()
    >>> splitter.feed(b"data: one")
    []
    >>> splitter.feed(bytes([10, 10]))
    [Event(data='one', event='message', id='', retry=None)]
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._bound = max_event_bytes
        self._begun = False  # past a byte order mark
        self._after_return = False  # a line feed that comes now belongs to the line before
        self._line: list[bytes] = []  # the pieces of one that is not complete
        self._size = 0  # of the event so far
        self._data: list[bytes] = []
        self._event = b""
        self._id = b""
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with this piece.

        Raises:
            ResponseTooLarge: one is larger than the bound.
        """
        if not self._begun:
            data = self._without_mark(data)
        if self._after_return and data:
            self._after_return = False
            if data[0] == 10:
                data = data[1:]
        events: list[Event] = []
        for line in data.splitlines(keepends=True):
            self._size += len(line)
            if self._size > self._bound:
                raise ResponseTooLarge(f"an event of the reply is larger than {self._bound} bytes")
            if line[-1] not in b"\r\n":
                self._line.append(line)
                continue
            whole = line.rstrip(b"\r\n")
            if self._line:
                self._line.append(whole)
                whole = b"".join(self._line)
                self._line.clear()
            if whole:
                self._take(whole)
            else:
                self._size = 0
                if self._data:
                    events.append(self._made())
                self._event = b""
        if data:
            self._after_return = data[-1] == 13
        return events

    def _without_mark(self, data: bytes) -> bytes:
        """The beginning of the stream, which may come in pieces, without a byte order mark."""
        data = b"".join([*self._line, data])
        self._line.clear()
        if len(data) < 3 and codecs.BOM_UTF8.startswith(data):
            self._line.append(data)
            return b""
        self._begun = True
        return data.removeprefix(codecs.BOM_UTF8)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value
        elif name == b"retry" and value.isdigit() and len(value) < 16:
            self._retry = int(value)

    def _made(self) -> Event:
        text = b"\n".join(self._data).decode("utf-8", "replace")
        self._data.clear()
        kind = self._event.decode("utf-8", "replace") or "message"
        return Event(text, kind, self._id.decode("utf-8", "replace"), self._retry)


async def events(
    stream: AsyncIterable[bytes], *, max_event_bytes: int = MAX_EVENT_BYTES
) -> AsyncIterator[Event]:
    """The events of a stream as they come.

    Raises:
        ResponseTooLarge: one is larger than the bound.
    """
    splitter = Splitter(max_event_bytes=max_event_bytes)
    async for piece in stream:
        for event in splitter.feed(piece):
            yield event
