"""The transport's verbs on connections of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastbatch.errors import ConfigError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import MAX_RESPONSE_BYTES, Answer, Dispatched, HTTPStream
from fastbatch.transport.failures import no_authorities
from fastbatch.transport.fast.connection import Connection
from fastbatch.transport.fast.dialling import Dialler
from fastbatch.transport.fast.pool import Pool
from fastbatch.transport.fast.request import Target
from fastbatch.transport.timeout import Timeout
from fastbatch.transport.tls import check, context, system_context

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
        check(self._ca_file)
        self._targets.clear()
        loop = asyncio.get_running_loop()
        self._dialler = Dialler(loop)
        self._pool = Pool(connections, self._bound, self._dialler, loop)

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once; see `Transport.send`."""
        connection, head = self._connection(call)
        future: asyncio.Future[HTTPReply] = asyncio.get_running_loop().create_future()
        connection.exchange(head, call.body, timeout, future)
        try:
            reply = await future
        except asyncio.CancelledError:
            connection.forsake(future)
            raise
        return reply

    def dispatches(self, url: str) -> bool:
        """Every call can be, while the transport is open."""
        return self._pool is not None

    def dispatch(self, call: HTTPCall, timeout: Timeout, answer: Answer) -> Dispatched:
        """Send once, and tell the answer; see `Dispatching.dispatch`."""
        connection, head = self._connection(call)
        connection.exchange(head, call.body, timeout, answer)
        return connection

    @asynccontextmanager
    async def stream(self, call: HTTPCall, timeout: Timeout) -> AsyncGenerator[HTTPStream]:
        """Send once and hand out the reply when its head has come; see `Transport.stream`."""
        connection, head = self._connection(call)
        future: asyncio.Future[HTTPStream] = asyncio.get_running_loop().create_future()
        connection.exchange(head, call.body, timeout, future, streamed=True)
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

    def _connection(self, call: HTTPCall) -> tuple[Connection, bytes]:
        """What the call goes through, and its head."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("the transport is not open")
        target = self._targets.get(call.url) or self._target(call.url)
        head = target.head(call)
        return pool.take(target.origin), head

    def _target(self, url: str) -> Target:
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        made = Target(url)
        if made.origin.tls and self._dialler.trusted is None:
            try:
                self._dialler.trusted = context(self._ca_file) or system_context()
            except ConfigError as error:
                raise no_authorities(made.origin.where, error) from None
        self._targets[url] = made
        return made
