"""Makes connections: names, sockets, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from fastbatch.transport.resolver import Address, Resolver

_KEPT_SECONDS = 300.0  # how long an answer of the name server is believed
_NEXT_SECONDS = 0.25  # after which the next address is tried as well (RFC 8305)

Key = tuple[str, int]


class Dialler:
    """Connects to hosts, with what names are known to stand for.

    Attributes:
        trusted: set before the first host that is reached through TLS.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.resolver = Resolver()
        self.trusted: ssl.SSLContext | None = None
        self._loop = loop
        self._known: dict[Key, tuple[float, list[Address]]] = {}
        self._asked: dict[Key, asyncio.Task[list[Address]]] = {}

    def close(self) -> None:
        """Ask nobody any more."""
        for task in self._asked.values():
            task.cancel()

    async def reach(self, host: str, port: int) -> socket.socket:
        """A socket that is connected.

        Raises:
            socket.gaierror: the name has no address.
            OSError: nobody took the connection.
        """
        return await self._race(await self._addresses(host, port))

    async def link(
        self, protocol: Callable[[], asyncio.Protocol], raw: socket.socket, name: str | None, patience: float
    ) -> None:
        """Put `protocol` onto the socket, behind TLS with `name` where there is one.

        Raises:
            OSError: the handshake failed; `ssl.SSLError` is one.
        """
        try:
            if name is None:
                await self._loop.create_connection(protocol, sock=raw)
            else:
                await self._loop.create_connection(
                    protocol,
                    sock=raw,
                    ssl=self.trusted,
                    server_hostname=name,
                    ssl_handshake_timeout=patience,
                )
        except BaseException:
            with suppress(OSError):  # uvloop has closed it in some cases
                raw.close()
            raise

    async def _addresses(self, host: str, port: int) -> list[Address]:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, host)
            except OSError:
                continue
            place: tuple[Any, ...] = (host, port) if family == socket.AF_INET else (host, port, 0, 0)
            return [Address(family, socket.IPPROTO_TCP, host, place)]
        key = host, port
        known = self._known.get(key)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        task = self._asked.get(key)
        if task is None:  # all who want to know the same ask once
            task = self._asked[key] = self._loop.create_task(self._ask(key))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _ask(self, key: Key) -> list[Address]:
        try:
            found = await self.resolver.addresses(*key)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            self._known[key] = self._loop.time() + _KEPT_SECONDS, found
            return found
        finally:
            del self._asked[key]

    async def _race(self, addresses: list[Address]) -> socket.socket:
        """The first address that takes the connection: each has a little time for itself."""
        if len(addresses) == 1:
            return await self._connected(addresses[0])
        tries: set[asyncio.Task[socket.socket]] = set()
        left = iter(_alternating(addresses))
        problem: OSError | None = None
        try:
            address = next(left, None)
            while tries or address is not None:
                if address is not None:
                    tries.add(self._loop.create_task(self._connected(address)))
                    address = next(left, None)
                done, tries = await asyncio.wait(
                    tries,
                    timeout=None if address is None else _NEXT_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                found = [task.result() for task in done if task.exception() is None]
                for spare in found[1:]:
                    spare.close()
                if found:
                    return found[0]
                for task in done:
                    error = task.exception()
                    if not isinstance(error, OSError):
                        raise error or AssertionError
                    problem = error
            raise problem or OSError("no address")
        finally:
            for task in tries:
                task.cancel()
                task.add_done_callback(_close_late)

    async def _connected(self, address: Address) -> socket.socket:
        made = socket.socket(address.family, socket.SOCK_STREAM, address.protocol)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._loop.sock_connect(made, address.place)
        except BaseException:
            made.close()
            raise
        return made


def _alternating(addresses: list[Address]) -> list[Address]:
    """Both families by turns, beginning with the one that the system prefers."""
    first = [at for at in addresses if at.family == addresses[0].family]
    others = [at for at in addresses if at.family != addresses[0].family]
    return [at for at in chain.from_iterable(zip_longest(first, others)) if at is not None]


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """One that connected although another one had won."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
