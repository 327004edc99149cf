"""The four deadlines on real sockets, with both event loops: each holds within 0.2 s."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from faultserver import FaultServer, Line

from fastbatch.errors import ConnectFailed, ConnectTimeout, NameNotResolved, RequestError, RequestTimeout
from fastbatch.models.http import HTTPCall
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SECONDS = 0.3


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a coroutine on this event loop."""

    def runs(main):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main)

    return runs


async def failing(
    transport: Transport, url: str, timeout: Timeout, body: bytes = b"{}"
) -> tuple[RequestError, float]:
    """The error of one call, and after how many seconds it came."""
    await transport.open(connections=1)
    began = time.monotonic()
    try:
        with pytest.raises(RequestError) as failed:
            await transport.send(HTTPCall(url, {}, body), timeout)
        return failed.value, time.monotonic() - began
    finally:
        await transport.close()


def check(error: RequestError, took: float, seconds: float = SECONDS) -> None:
    assert took >= seconds - 0.01  # uvloop's clock counts milliseconds
    assert f"{seconds:g} s" in error.message


@asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """A port that takes connections and says nothing."""
    gone = asyncio.Event()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gone.set()
        server.close()


def test_a_tls_handshake_that_stalls(run, make) -> None:
    """Nothing was sent, so it is the connection that failed, and the words say at what."""

    async def main():
        async with mute() as port:
            return await failing(make(), f"https://127.0.0.1:{port}/v1", Timeout(5.0, connect=SECONDS))

    error, took = run(main())
    check(error, took)
    assert type(error) is ConnectTimeout
    assert "TLS" in error.message
    assert not error.maybe_billed


def test_a_host_that_takes_no_connection(run, make) -> None:
    """A queue that is full, so that the first packet is dropped without an answer."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        error, took = run(failing(make(), url, Timeout(5.0, connect=SECONDS)))
    check(error, took)
    assert type(error) is ConnectTimeout
    assert "did not accept a connection" in error.message


def test_a_total_below_the_connect_deadline(run, make) -> None:
    """The total holds in the connect phase, too; as nothing was sent it is still a failed connection."""

    async def main():
        async with mute() as port:
            return await failing(make(), f"https://127.0.0.1:{port}/v1", Timeout(SECONDS, connect=5.0))

    error, took = run(main())
    check(error, took)
    assert isinstance(error, ConnectFailed)


def test_a_name_server_that_does_not_answer(run, make, monkeypatch) -> None:
    """It is said that it is the name; nobody waits for the thread that still asks, not even the end."""
    asking, answered, over = threading.Event(), threading.Event(), threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        asking.set()
        answered.wait(100)
        over.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    error, took = run(failing(make(), "http://slow.test/v1", Timeout(5.0, connect=SECONDS)))
    assert asking.is_set() and not over.is_set()
    answered.set()
    check(error, took)
    assert type(error) is NameNotResolved


async def silence(line: Line) -> None:
    await line.hung_up()


async def half_a_header(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await line.hung_up()


async def half_a_body(line: Line) -> None:
    await line.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":')
    await line.hung_up()


async def half_a_chunk(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{")
    await line.hung_up()


async def drops(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await line.drip(b" ", every=0.05)


@pytest.mark.parametrize(
    ("behave", "timeout", "phase"),
    [
        (silence, Timeout(5.0, first_byte=SECONDS), "first byte"),
        (silence, Timeout(SECONDS, first_byte=5.0, idle=5.0), "total"),
        (half_a_header, Timeout(5.0, idle=SECONDS), "idle"),
        (half_a_body, Timeout(5.0, idle=SECONDS), "idle"),
        (half_a_chunk, Timeout(5.0, idle=SECONDS), "idle"),
        (half_a_body, Timeout(SECONDS), "total"),
        (drops, Timeout(SECONDS, idle=0.2), "total"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_deadlines_of_the_reply(
    run, make, behave: Callable[[Line], Awaitable[None]], timeout: Timeout, phase: str
) -> None:
    """A reply that does not begin, pauses or never ends: typed by its phase, and maybe billed."""

    async def main():
        async with FaultServer(behave) as server:
            return await failing(make(), server.url, timeout)

    error, took = run(main())
    check(error, took)
    assert isinstance(error, RequestTimeout)
    assert (error.phase, error.maybe_billed) == (phase, True)


def test_a_short_pause_is_no_end(run, make) -> None:
    """Pieces that come within the idle deadline make a reply, however long it takes in all."""

    async def slow(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.3)
            await line.send(b"x")

    async def main():
        transport = make()
        await transport.open(connections=1)
        async with FaultServer(slow) as server:
            reply = await transport.send(
                HTTPCall(server.url, {}, b"{}"), Timeout(20.0, first_byte=2.0, idle=2.0)
            )
        await transport.close()
        return reply

    assert run(main()).body == b"x" * 8


def test_a_server_that_does_not_take_the_request(run, make) -> None:
    """The total holds while a large body is being written, and the connection is gone at once."""

    async def main():
        gone = asyncio.Event()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            await gone.wait()
            writer.transport.abort()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
        port = server.sockets[0].getsockname()[1]
        outcome = await failing(make(), f"http://127.0.0.1:{port}/v1", Timeout(SECONDS), b"x" * 50_000_000)
        gone.set()
        server.close()
        return outcome

    error, took = run(main())
    check(error, took)
    assert isinstance(error, RequestTimeout)
    assert error.maybe_billed
