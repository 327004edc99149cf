"""The body of a reply of aiohttp's, unpacked where it is packed."""

from __future__ import annotations

import asyncio
import zlib

import aiohttp

from fastbatch.transport.failures import cut_short, no_http, not_unpacked
from fastbatch.transport.unpack import unpacker_for


class Content:
    """Unpacks a body as it is taken, so that a bomb costs what was taken of it.

    Raises:
        BadResponse: it is packed as nothing that can be read.
    """

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply
        try:
            self._unpacker = unpacker_for(reply.headers.get("Content-Encoding"))
        except ValueError as error:
            raise no_http(reply.url.host, str(error)) from None

    async def readany(self) -> bytes:
        """The next piece; empty at the end.

        Raises:
            ConnectionLost: it is not packed as it says, or what is packed has no end.
        """
        unpacker, reply = self._unpacker, self._reply
        if unpacker is None:
            return await reply.content.readany()
        while True:
            if unpacker.more:
                await asyncio.sleep(0)  # it does not wait for the socket, so nobody else would get a turn
            elif packed := await reply.content.readany():
                unpacker.push(packed)
            elif unpacker.whole:
                return b""
            else:
                raise cut_short(reply.url.host)
            try:
                given = unpacker.step()
            except zlib.error as error:
                raise not_unpacked(reply.url.host, error) from None
            if given:
                return given
