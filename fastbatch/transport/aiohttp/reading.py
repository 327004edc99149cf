"""Reads replies within their bounds: so many bytes each, and large ones one at a time.

aiohttp inflates a quarter of a mebibyte at a time and stops reading the socket while nobody takes it, so that
a bomb costs what was taken of it. Replies above 1 MiB are rare here, and a handful of hostile ones at once
must not cost a handful of bounds: they are taken in turn, the others wait with what lies in their buffers.
Their deadlines go on meanwhile, except for the one between two pieces, since it is us who do not read.
"""

from __future__ import annotations

import asyncio
from io import BytesIO

import aiohttp

from fastbatch.errors import ResponseTooLarge
from fastbatch.transport.aiohttp.wire import Attempt

SMALL = 1 << 20
"""Bytes up to which replies are read side by side."""

_BREATH = 1 << 20  # bytes inflated without a pause for others: some milliseconds


class Reader:
    """Reads the bodies of one transport's replies, each of at most `bound` bytes unpacked."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
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
        content = reply.content
        pieces: list[bytes] = []
        size = 0
        while piece := await content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > self._bound:
                raise self._too_large(reply)
            if size > SMALL:
                return await self._read_large(reply, attempt, pieces, size)
        return b"".join(pieces)

    async def _read_large(
        self, reply: aiohttp.ClientResponse, attempt: Attempt, pieces: list[bytes], size: int
    ) -> bytes:
        attempt.enter("held")
        async with self._turn:
            attempt.enter("idle")
            whole = BytesIO()  # its value is handed out without a copy, unlike that of a list or a bytearray
            whole.writelines(pieces)
            pieces.clear()
            breath = size + _BREATH
            while piece := await reply.content.readany():
                size += len(piece)
                if size > self._bound:
                    raise self._too_large(reply)
                whole.write(piece)
                if size > breath:
                    breath = size + _BREATH
                    await asyncio.sleep(0)
            return whole.getvalue()

    def _too_large(self, reply: aiohttp.ClientResponse) -> ResponseTooLarge:
        reply.close()
        return ResponseTooLarge(f"the reply is larger than {self._bound} bytes", status=reply.status)
