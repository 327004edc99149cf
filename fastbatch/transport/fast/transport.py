"""The transport's verbs on connections of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import MAX_RESPONSE_BYTES, HTTPStream
from fastbatch.transport.fast.dialling import Dialler
from fastbatch.transport.fast.pool import Pool
from fastbatch.transport.fast.request import Target
from fastbatch.transport.timeout import Timeout
from fastbatch.transport.tls import context

_TARGETS = 1024  # addresses that are remembered


class FastTransport:
    """HTTP/1.1 on the event loop's own connections, without proxies.

    Certificates are always verified, against the system's authorities, those that SSL_CERT_FILE or
    SSL_CERT_DIR name, or those in `ca_file` alone. Credentials come from the caller alone.
    """

    def __init__(self, *, max_response_bytes: int = MAX_RESPONSE_BYTES, ca_file: str | None = None) -> None:
        self._bound = max_response_bytes
        self._ca_file = ca_file
        self._pool: Pool | None = None
        self._targets: dict[str, Target] = {}

    async def open(self, *, connections: int) -> None:
        """Make an empty pool.

        Raises:
            ConfigError: the file of certificate authorities cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._dialler = Dialler(context(self._ca_file), loop)
        self._pool = Pool(connections, self._bound, self._dialler, loop)

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once; see `Transport.send`."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the transport is not open")
        target = self._targets.get(call.url) or self._target(call.url)
        head = target.head(call)
        connection = pool.take(target.origin)
        future = connection.exchange(head, call.body, timeout)
        try:
            reply: HTTPReply = await future
        except asyncio.CancelledError:
            connection.forsake(future)
            raise
        return reply

    @asynccontextmanager
    async def stream(self, call: HTTPCall, timeout: Timeout) -> AsyncGenerator[HTTPStream]:
        """Send once and hand out the reply when its head has come; see `Transport.stream`."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the transport is not open")
        target = self._targets.get(call.url) or self._target(call.url)
        connection = pool.take(target.origin)
        future = connection.exchange(target.head(call), call.body, timeout, streamed=True)
        try:
            yield await future
        finally:
            connection.forsake(future)

    async def close(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._dialler.close()
            pool.close()
            await asyncio.sleep(0)  # connections that are dropped are closed in the loop's next round

    def _target(self, url: str) -> Target:
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        made = self._targets[url] = Target(url)
        return made
