"""A server that can tear bytes: raw sockets on loopback, each path answered by a coroutine of the test's."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self


class Seen(NamedTuple):
    """One request as it arrived; header names in lower case, the time on the monotonic clock.

    `connection` counts the connections from 1, `nth` the requests on one of them.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float = 0.0
    connection: int = 0
    nth: int = 0


Behaviour = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection with one request read from it, and what can be done to it."""

    def __init__(
        self, request: Seen, writer: asyncio.StreamWriter, reader: asyncio.StreamReader | None = None
    ) -> None:
        self.request = request
        self.writer = writer
        self.reader = reader

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        """A complete reply with a content-length."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def hung_up(self) -> float:
        """Wait until the other side goes away: seconds since its request arrived."""
        assert self.reader is not None
        with suppress(ConnectionError):  # some do not even say so
            await self.reader.read(1)
        return time.monotonic() - self.request.at

    async def drip(self, piece: bytes, every: float) -> float:
        """Send `piece` again and again until the other side goes away: seconds since its request arrived."""

        async def drips() -> None:
            while True:
                await self.send(piece)
                await asyncio.sleep(every)

        dripping = asyncio.create_task(drips())
        try:
            return await self.hung_up()
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)

    def reset(self) -> None:
        """RST: what was sent may be lost too."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def end(self) -> None:
        """FIN."""
        self.writer.close()


class FaultServer:
    """`async with FaultServer(behaviour) as server:` listens at `server.url`.

    Every request on every connection goes to `behaviour`; `server.seen` keeps them. `tls` makes it an https
    server. `shut` refuses connections and breaks those that there are, `open` takes them again, on the same
    port, which is its own until the end.
    """

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.seen: list[Seen] = []
        self.connections = 0
        self.tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._mine: socket.socket | None = None  # bound and never listening: nobody else is given the port
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.tls is None else f"https://localhost:{self.port}"

    async def open(self) -> None:
        """Take connections."""
        if self._mine is None:
            self._mine = socket.socket()
            self._mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._mine.bind(("127.0.0.1", 0))
            self.port = self._mine.getsockname()[1]
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, ssl=self.tls, backlog=2048
            )

    async def shut(self) -> None:
        """Refuse connections; those that there are break."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Shut for good."""
        await self.shut()
        if self._mine is not None:
            self._mine.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection, nth = self.connections, 0
        try:
            while not writer.is_closing():
                nth += 1
                request = (await _read(reader))._replace(at=time.monotonic(), connection=connection, nth=nth)
                self.seen.append(request)
                await self.behaviour(Line(request, writer, reader))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or the test is over: nobody is left to be told
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Seen(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
