"""A reply that is read while it comes."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Mapping
from typing import Self

from fastbatch.errors import RequestError
from fastbatch.transport.failures import cut_short, not_unpacked
from fastbatch.transport.fast.reading import Reply
from fastbatch.transport.unpack import Unpacker

AHEAD = 1 << 18
"""Bytes that are read ahead of the reader, and a piece more."""


class Stream:
    """`async for piece in stream`; a sink on the connection's side."""

    __slots__ = ("_ended", "_error", "_loop", "_pieces", "_reply", "_size", "_unpacker", "_waiter", "headers",
                 "status")  # fmt: skip

    def __init__(
        self,
        reply: Reply,
        status: int,
        headers: Mapping[str, str],
        unpacker: Unpacker | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.status = status
        self.headers = headers
        self._reply = reply
        self._unpacker = unpacker
        self._loop = loop
        self._pieces: deque[bytes] = deque()  # as they came: packed ones are unpacked when they are taken
        self._size = 0
        self._ended = False
        self._error: RequestError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # The connection's side.

    def feed(self, data: bytes) -> None:
        """Take a piece; when there are enough the server has to wait."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > AHEAD:
            self._reply.hold()
        self._wake()

    def end(self) -> None:
        """The reply is complete, and the connection free for the next one."""
        self._ended = True
        self._reply.deliver(b"")
        self._wake()

    def drop(self, error: RequestError | None) -> None:
        """The attempt is over; what has come can still be read."""
        self._error = error
        if error is None and not self._ended:  # the reader left
            self._pieces.clear()
            self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The reader's side.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        while True:
            given = await self._unpacked() if self._unpacker is not None else self._next()
            if given:
                return given
            if self._pieces or (self._unpacker is not None and self._unpacker.more):
                continue
            if self._error is not None:
                raise self._error
            if self._ended:
                if self._unpacker is not None and not self._unpacker.whole:
                    raise cut_short(self._reply.host)
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _next(self) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._size <= AHEAD // 2 and not self._ended:
            self._reply.go_on()
        return piece

    async def _unpacked(self) -> bytes:
        unpacker = self._unpacker
        assert unpacker is not None
        if not unpacker.more:
            if not (packed := self._next()):
                return b""
            unpacker.push(packed)
        else:
            await asyncio.sleep(0)  # unpacking does not wait for the socket, so nobody else would get a turn
        try:
            return unpacker.step()
        except zlib.error as error:
            self._error = not_unpacked(self._reply.host, error)
            self._pieces.clear()
            raise self._error from None
