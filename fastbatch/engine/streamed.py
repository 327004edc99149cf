"""Replies that come in pieces, put together on the way: for what is above they are replies like others.

It costs a task a request and a look at each piece. It gives the time to the first token, and a connection on
which something moves while a long answer is written.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

from fastbatch.errors import ConnectionLost, RequestError, ResponseTooLarge
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.stream import StreamedCall, StreamedReply
from fastbatch.transport.base import MAX_RESPONSE_BYTES, Choosing, HTTPStream, Transport
from fastbatch.transport.timeout import Timeout

_EVENTS = ("text/event-stream", "application/x-ndjson")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LEADING = 1024
"""Bytes, blank ones above all, after which a reply without an event is none of events."""
_REST = 1.0
"""Seconds for a reply to end whose answer is complete; servers send both at once."""


class StreamedTransport:
    """A transport that sends a `StreamedCall` as one and returns what its pieces make.

    Args:
        transport: sends.
        clock: seconds, for the time to the first token.
    """

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock

    async def open(self, *, connections: int) -> None:
        """As `Transport.open`."""
        await self._transport.open(connections=connections)

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._transport.close()

    def notes(self) -> tuple[str, ...]:
        """As `Choosing.notes`."""
        return self._transport.notes() if isinstance(self._transport, Choosing) else ()

    def stream(self, call: HTTPCall, timeout: Timeout) -> AbstractAsyncContextManager[HTTPStream]:
        """As `Transport.stream`."""
        return self._transport.stream(call, timeout)

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """As `Transport.send`; a stream that breaks off is a lost connection.

        Raises:
            BadResponse, ResponseTooLarge: what came is no such stream, or too much of one.
        """
        if not isinstance(call, StreamedCall):
            return await self._transport.send(call, timeout)
        began = self._clock()
        async with self._transport.stream(call, timeout) as stream:
            status, headers = stream.status, stream.headers
            kind = (headers.get("content-type") or "").lower()
            streams, begun = 200 <= status < 300, b""
            if streams and not kind.startswith(_EVENTS):
                streams, begun = await _sniffed(stream)
            if not streams:
                # A refusal, or a server that answers in one piece whatever it is asked.
                return HTTPReply(status, headers, await _whole(stream, begun))
            fold = call.fold()
            first: float | None = None
            piece = begun or await anext(stream, b"")
            while piece:  # no piece is empty
                if fold.feed(piece) and first is None:
                    first = self._clock() - began
                if fold.complete:
                    await _read_out(stream)
                    break
                piece = await anext(stream, b"")
        whole = fold.end(status, headers)
        if whole is None:
            raise ConnectionLost("the stream ended before the answer was complete")
        reply = StreamedReply(*whole)
        reply.first_token = first
        return reply


async def _sniffed(stream: HTTPStream) -> tuple[bool, bytes]:
    """Whether a reply of another type is one of events all the same, and what was read to find out.

    Some servers and proxies send them as text/plain or as nothing in particular. No JSON begins as they do.
    """
    begun: list[bytes] = []
    start = b""
    size = 0
    async for piece in stream:
        begun.append(piece)
        size += len(piece)
        start = (start + piece[:_LEADING]).lstrip(codecs.BOM_UTF8 + b" \t\r\n")
        if start.startswith(_FIELDS):
            return True, b"".join(begun)
        if size > _LEADING or not any(field.startswith(start) for field in _FIELDS):
            break
    return False, b"".join(begun)


async def _whole(stream: HTTPStream, begun: bytes) -> bytes:
    """The body of a reply in one piece, which a stream's transport does not bound."""
    pieces = [begun]
    size = len(begun)
    async for piece in stream:
        size += len(piece)
        if size > MAX_RESPONSE_BYTES:
            raise ResponseTooLarge(
                f"the reply is larger than {MAX_RESPONSE_BYTES} bytes", status=stream.status
            )
        pieces.append(piece)
    return b"".join(pieces)


async def _read_out(stream: HTTPStream) -> None:
    """Wait a little for the end of a reply whose answer is complete.

    At its end the connection can be used again, and most replies are there already. But nothing that still
    comes, or fails to come, may cost an answer that was paid for: where a server leaves the reply open, goes
    on with comments or breaks off, the connection is closed, and that is all.
    """
    with suppress(RequestError, TimeoutError):
        async with asyncio.timeout(_REST):
            async for _ in stream:
                pass
