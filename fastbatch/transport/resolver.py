"""Asks the system for a host's addresses, in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple


class Address(NamedTuple):
    """Where a host can be reached: `place` is what a socket connects to, `number` its first part as text."""

    family: int
    protocol: int
    number: str
    place: tuple[Any, ...]


class Resolver:
    """`getaddrinfo` in a thread of its own; `asking` holds the names under way.

    A name server that does not answer keeps `getaddrinfo` for half a minute. In the loop's executor that
    would hold back every other lookup, and the end of the program, which waits for the executor's threads.
    """

    def __init__(self) -> None:
        self.asking: set[str] = set()

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[Address]:
        """The addresses of `host`.

        Raises:
            socket.gaierror: there is none, or nobody can be asked.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def settle(found: list[Address] | None, problem: Exception | None) -> None:
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


def lookup(host: str, port: int, family: int) -> list[Address]:
    """What the system says, in its order."""
    flags = socket.AI_ADDRCONFIG & getattr(socket, "AI_MASK", -1)  # macOS refuses what is not in its mask
    found: list[Address] = []
    for kind, _, protocol, _, place in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, family=family, flags=flags
    ):
        number = str(place[0])
        if kind == socket.AF_INET6 and len(place) > 3 and place[3]:  # a link-local one needs its interface
            number, _ = socket.getnameinfo(place, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        found.append(Address(kind, protocol, number, place))
    return found
