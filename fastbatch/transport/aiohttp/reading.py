"""Reads replies within their bounds: so many bytes each, and not many large ones at a time.

A reply is unpacked a quarter of a mebibyte at a time, as it is taken, and aiohttp stops reading the socket
while nobody takes it. A handful of hostile replies at once must not cost a handful of bounds:
beyond their first mebibyte all replies share some room, and when that is full they are taken in turn. Those
that wait keep what lies in their buffers. Their deadlines go on, except for the one between two pieces, since
it is us who do not read.
"""

from __future__ import annotations

import asyncio
from io import BytesIO

import aiohttp

from fastbatch.errors import ResponseTooLarge
from fastbatch.transport.aiohttp.content import Content
from fastbatch.transport.aiohttp.wire import Attempt

SMALL = 1 << 20
"""Bytes up to which a reply is read whatever the others do."""

SHARED = 8 << 20
"""Bytes beyond that which all replies may hold together before they are read in turn."""


class Reader:
    """Reads the bodies of one transport's replies, each of at most `bound` bytes unpacked."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held = 0
        self._turn = asyncio.Lock()

    async def read(self, reply: aiohttp.ClientResponse, attempt: Attempt) -> bytes:
        """The whole body.

        Raises:
            ResponseTooLarge: it is larger than the bound, by its own word or in fact.
        """
        length = reply.content_length
        if length is not None:
            if length > self._bound:
                raise self._too_large(reply)
            if length <= SMALL and "Content-Encoding" not in reply.headers:
                return await reply.read()
        content = Content(reply)
        pieces: list[bytes] = []
        size = held = 0
        try:
            while piece := await content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > self._bound:
                    pieces.clear()
                    raise self._too_large(reply)
                if size > SMALL:
                    held += len(piece)
                    self._held += len(piece)
                    if self._held > SHARED:
                        return await self._read_in_turn(reply, content, attempt, pieces, size)
                if len(pieces) > 1:  # aiohttp may have more at hand, so that nobody else would get a turn
                    await asyncio.sleep(0)
            return b"".join(pieces)
        finally:
            self._held -= held

    async def _read_in_turn(
        self,
        reply: aiohttp.ClientResponse,
        content: Content,
        attempt: Attempt,
        pieces: list[bytes],
        size: int,
    ) -> bytes:
        attempt.enter("held")
        async with self._turn:
            attempt.enter("idle")
            # Room for the bound at once: its pages come as they are written, it never grows by a copy and its
            # value is handed out without one. Lists and bytearrays hold a large reply twice in the end.
            whole = BytesIO(bytes(self._bound))
            whole.writelines(pieces)
            pieces.clear()
            while piece := await content.readany():
                size += len(piece)
                if size > self._bound:
                    whole.close()  # else the error's traceback holds it while the next one is read
                    raise self._too_large(reply)
                whole.write(piece)
                await asyncio.sleep(0)
            whole.truncate(size)
            return whole.getvalue()

    def _too_large(self, reply: aiohttp.ClientResponse) -> ResponseTooLarge:
        return ResponseTooLarge(f"the reply is larger than {self._bound} bytes", status=reply.status)
