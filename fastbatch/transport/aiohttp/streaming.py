"""A reply of aiohttp's that is read while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

import aiohttp

from fastbatch.transport.aiohttp.content import Content
from fastbatch.transport.aiohttp.failures import CAUGHT, failure
from fastbatch.transport.aiohttp.wire import Attempt
from fastbatch.transport.deadline import next_due
from fastbatch.transport.failures import no_reply_in_time


class Stream:
    """`async for piece in stream`; deadlines hold while somebody waits for a piece."""

    def __init__(
        self, reply: aiohttp.ClientResponse, attempt: Attempt, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self._reply = reply
        self._content = Content(reply)
        self._attempt = attempt
        self._loop = loop

    def close(self) -> None:
        """Drop the connection, unless the reply was read to its end."""
        self._reply.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        attempt, reply = self._attempt, self._reply
        due, passed = next_due(attempt.timeout, "idle", attempt.began, self._loop.time())
        try:
            async with asyncio.timeout_at(due) as limit:
                piece = await self._content.readany()
        except CAUGHT as error:
            reply.close()
            if limit.expired():
                raise no_reply_in_time(attempt.timeout, passed, reply.url.host) from None
            raise failure(error, attempt, reply.url) from None
        if not piece:
            raise StopAsyncIteration
        return piece
