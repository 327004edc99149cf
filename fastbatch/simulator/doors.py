"""The listening port, and the spells during which nobody listens on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from fastbatch.simulator.spells import Spell

# Thousands of clients may connect in one burst; the kernel cuts this to net.core.somaxconn.
_BACKLOG = 4096


class Doors:
    """Opens a port, shuts it in every "refuse" spell and opens it again at the spell's end.

    While it is shut, connecting is refused as on a machine where no server runs. The port is kept meanwhile
    by sockets that are bound and do not listen, so that nobody else is given it.

    Args:
        make: makes the protocol of a new connection.
        host, port: where to listen; port 0 lets the system choose.
        spells: the weather; other kinds are passed over.
        cut: called when the port is shut; cuts the connections that are open.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        spells: Iterable[Spell],
        cut: Callable[[], None],
    ) -> None:
        self.host = host
        self.port = port
        self._make = make
        self._spells = [spell for spell in spells if spell.kind == "refuse"]
        self._cut = cut
        self._server: asyncio.Server | None = None
        self._keepers: list[socket.socket] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._changes: set[asyncio.Task[None]] = set()
        self._shut = 0  # spells that keep it shut just now

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, self.host, self.port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    def begin(self) -> None:
        """The first request has come: from now on the spells are timed."""
        loop = asyncio.get_running_loop()
        for spell in self._spells:
            self._timers.append(loop.call_later(spell.begins, self._turn, 1))
            self._timers.append(loop.call_later(spell.ends, self._turn, -1))

    def again(self) -> None:
        """Forget the spells that were to come; the next first request times them anew."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._shut:
            self._shut = 1
            self._turn(-1)

    async def close(self) -> None:
        """Listen no more, for good; waits for connections that are being cut."""
        self._shut = 0
        self.again()
        while self._changes:
            await asyncio.gather(*self._changes, return_exceptions=True)
        server, self._server = self._server, None
        self._let_go()
        if server is not None:
            server.close()
            self._cut()
            await server.wait_closed()

    def _turn(self, step: int) -> None:
        self._shut += step
        if self._shut:
            self._close_port()
        else:
            task = asyncio.get_running_loop().create_task(self._reopen())
            self._changes.add(task)
            task.add_done_callback(self._changes.discard)

    def _close_port(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return  # one spell inside another
        places = [(listening.family, listening.getsockname()) for listening in server.sockets]
        server.close()
        self._cut()
        for family, address in places:
            keeper = socket.socket(family, socket.SOCK_STREAM)
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with suppress(OSError):  # somebody was quicker: then opening again says so
                keeper.bind(address)
            self._keepers.append(keeper)

    async def _reopen(self) -> None:
        # Both sockets may be bound to the port, because at most one of them listens.
        await self.open()
        self._let_go()

    def _let_go(self) -> None:
        for keeper in self._keepers:
            keeper.close()
        self._keepers.clear()
