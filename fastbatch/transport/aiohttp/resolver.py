"""Asks the system for a host's addresses, in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """`getaddrinfo` in a thread of its own; `asking` holds the names under way.

    A name server that does not answer keeps `getaddrinfo` for half a minute. In the loop's executor that
    would hold back every other lookup, and the end of the program, which waits for the executor's threads.
    """

    def __init__(self) -> None:
        self.asking: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`.

        Raises:
            socket.gaierror: there is none, or nobody can be asked.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(found: list[ResolveResult] | None, problem: Exception | None) -> None:
            if answer.done():
                return
            if problem is not None:
                answer.set_exception(problem)
            else:
                answer.set_result(found or [])

        def ask() -> None:
            found, problem = None, None
            try:
                found = lookup(host, port, family)
            except (OSError, UnicodeError) as error:
                problem = (
                    error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
                )
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, found, problem)

        self.asking.add(host)
        try:
            Thread(target=ask, name=f"resolve {host}", daemon=True).start()
            return await answer
        finally:
            self.asking.discard(host)

    async def close(self) -> None:
        """Nothing to close."""


def lookup(host: str, port: int, family: int) -> list[ResolveResult]:
    """What the system says, as aiohttp wants to have it."""
    flags = socket.AI_ADDRCONFIG & getattr(socket, "AI_MASK", -1)  # macOS refuses what is not in its mask
    found: list[ResolveResult] = []
    for kind, _, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, family=family, flags=flags
    ):
        number = str(address[0])
        if (
            kind == socket.AF_INET6 and len(address) > 3 and address[3]
        ):  # a link-local one needs its interface
            number, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        found.append(
            ResolveResult(hostname=host, host=number, port=port, family=kind, proto=protocol, flags=_NUMERIC)
        )
    return found
