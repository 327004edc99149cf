"""What the fast transport does not do for a request: tasks, timers, frames that it could spare."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from faults.certificates import MISSING, context, make
from faultserver import FaultServer, Line

from fastbatch.errors import ConnectionLost, ConnectTimeout, InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.transport.fast import FastTransport
from fastbatch.transport.fast.dialling import Dialler
from fastbatch.transport.fast.headers import Headers, shape_of
from fastbatch.transport.fast.request import Target
from fastbatch.transport.timeout import Timeout

TIMEOUT = Timeout(5.0)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[FastTransport]:
    made = FastTransport()
    await made.open(connections=2)
    yield made
    await made.close()


def post(url: str, body: bytes = b"{}") -> HTTPCall:
    return HTTPCall(url, {"Content-Type": "application/json"}, body)


async def answer(line: Line) -> None:
    await line.reply(line.request.body)


class Counting:
    """An event loop's calls, counted while they are passed on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        for name in ("create_task", "call_at", "call_later", "create_future"):
            monkeypatch.setattr(loop, name, self._counted(name, getattr(loop, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            self.made[name] = self.made.get(name, 0) + 1
            return call(*given, **named)

        return counted


class Canned(asyncio.Protocol):
    """A server without tasks or futures, whose replies are always the same."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")  # type: ignore[attr-defined]


async def test_a_request_on_a_kept_connection_makes_one_future(
    transport: FastTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task and, as long as another one is in flight, no timer."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0)
    call = post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    async with FaultServer(lambda line: line.hung_up()) as silent:  # type: ignore[arg-type,return-value]
        other = asyncio.create_task(transport.send(post(silent.url), TIMEOUT))
        await transport.send(call, TIMEOUT)
        counting = Counting(monkeypatch)
        for _ in range(20):
            await transport.send(call, TIMEOUT)
        monkeypatch.undo()
        assert counting.made == {"create_future": 20}
        other.cancel()
        await asyncio.wait([other])
    server.close()


@pytest.mark.parametrize(("loop", "buffered"), [("asyncio", True), ("uvloop", False)])
def test_asyncio_reads_into_one_place(loop: str, buffered: bool) -> None:
    """Its own loops would fetch a quarter of a mebibyte for every read; uvloop has a place of its own."""

    async def main() -> bool:
        transport = FastTransport()
        await transport.open(connections=1)
        async with FaultServer(answer) as server:
            await transport.send(post(server.url), TIMEOUT)
            (kept,) = transport._pool._there  # type: ignore[union-attr]
        await transport.close()
        return isinstance(kept, asyncio.BufferedProtocol)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(main()) == buffered


async def test_nothing_in_flight_leaves_no_timer(transport: FastTransport) -> None:
    """Neither after replies nor after failures and cancellations."""
    async with FaultServer(answer) as server:
        for _ in range(3):
            await transport.send(post(server.url), TIMEOUT)
        await asyncio.sleep(0)
        wheel = transport._pool.wheel  # type: ignore[union-attr]
        assert (wheel.busy, wheel._timer, wheel._buckets) == (0, None, {})
        server.behaviour = lambda line: line.hung_up()  # type: ignore[assignment,return-value]
        sent = asyncio.create_task(transport.send(post(server.url), TIMEOUT))
        await asyncio.sleep(0)
        assert wheel._timer is not None
        sent.cancel()
        await asyncio.wait([sent])
        await asyncio.sleep(0)
        assert (wheel.busy, wheel._timer, wheel._buckets) == (0, None, {})


async def test_who_waits_for_a_connection_can_be_cancelled(transport: FastTransport) -> None:
    """While it waits and after it was given one; nobody else is disturbed, and nothing stays."""
    go = asyncio.Event()

    async def slow(line: Line) -> None:
        await go.wait()
        await line.reply(line.request.body)

    async with FaultServer(slow) as server:
        bodies = [b"a", b"b", b"c", b"d", b"e"]
        sent = [asyncio.create_task(transport.send(post(server.url, body), TIMEOUT)) for body in bodies]
        await asyncio.sleep(0.02)
        sent[2].cancel()
        await asyncio.wait([sent[2]])
        go.set()
        assert [(await task).body for task in (sent[0], sent[1])] == [b"a", b"b"]
        sent[3].cancel()  # it has a connection by now
        assert (await sent[4]).body == b"e"
        await asyncio.wait(sent)
        assert (await transport.send(post(server.url, b"f"), TIMEOUT)).body == b"f"
        pool = transport._pool
        assert pool is not None
        assert (pool.wheel.busy, pool._waiting) == (0, {})
        assert len(pool._there) <= 2


async def test_waiting_for_a_connection_counts_as_connecting(transport: FastTransport) -> None:
    """Its deadline is that of connecting, and nothing was sent."""
    async with FaultServer(lambda line: line.hung_up()) as server:  # type: ignore[arg-type,return-value]
        sent = [asyncio.create_task(transport.send(post(server.url), TIMEOUT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ConnectTimeout):
            await transport.send(post(server.url), Timeout(5.0, connect=0.1))
        for task in sent:
            task.cancel()
        await asyncio.wait(sent)


async def test_the_first_byte_is_waited_for_from_the_request_on(
    transport: FastTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What connecting took is no part of it."""
    reach = Dialler.reach

    async def slowly(self: Dialler, host: str, port: int) -> socket.socket:
        await asyncio.sleep(1.0)
        return await reach(self, host, port)

    async def behave(line: Line) -> None:
        await line.reply(b"{}")

    monkeypatch.setattr(Dialler, "reach", slowly)
    async with FaultServer(behave) as server:
        assert (await transport.send(post(server.url), Timeout(20.0, first_byte=0.9))).status == 200


async def test_idle_connections_are_closed_while_others_work(
    transport: FastTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a minute without a request, though nobody asks for their origin any more."""
    async with FaultServer(answer) as server:
        await transport.send(post(server.url), TIMEOUT)
        pool = transport._pool
        assert pool is not None
        (kept,) = pool._there
        pool.wheel.busy += 1  # somebody else
        now = asyncio.get_running_loop().time()
        assert kept.expire(now + 10) == kept.until
        assert kept in pool._there
        assert kept.expire(now + 31) == 0.0
        assert kept not in pool._there
        pool.wheel.busy -= 1


async def test_another_origin_takes_the_place_of_an_idle_connection(transport: FastTransport) -> None:
    """The bound holds for all origins together; kept ones give way."""
    async with FaultServer(answer) as one, FaultServer(answer) as two, FaultServer(answer) as three:
        for server in (one, two, three, one):
            assert (await transport.send(post(server.url), TIMEOUT)).status == 200
        assert one.connections == 2
        assert len(transport._pool._there) == 2  # type: ignore[union-attr]


async def test_how_long_a_server_keeps_a_connection_is_believed(
    transport: FastTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Keep-Alive: timeout=5` means that it is not used after four seconds, and others not after thirty.

    Of a single second there is a half: it once meant that no connection was used again.
    """

    async def behave(line: Line) -> None:
        said = line.request.target.removeprefix("/")
        await line.reply(b"{}", "200 OK", *([f"Keep-Alive: timeout={said}, max=100"] if said else []))

    loop = asyncio.get_running_loop()
    async with FaultServer(behave) as server:
        for path, kept in (("/", 29.0), ("/5", 3.9), ("/2", 0.9), ("/1", 0.3)):
            before = server.connections
            now = loop.time()
            monkeypatch.setattr(loop, "time", lambda now=now: now)
            await transport.send(post(server.url + path), Timeout(1e6, connect=1e6))
            for later, connections in ((kept, 0), (kept + kept + 2.1, 1)):
                monkeypatch.setattr(loop, "time", lambda now=now, later=later: now + later)
                await transport.send(post(server.url + path), Timeout(1e6, connect=1e6))
                assert server.connections == before + 1 + connections
            monkeypatch.undo()
            await transport.close()
            await transport.open(connections=2)


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "openssl is there")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("polite", [True, False])
def test_tls_that_ends_without_a_word_ends_no_reply(loop: str, tmp_path: Path, polite: bool) -> None:
    """Where the end of the connection is the end of the reply, only TLS's own goodbye is one."""
    make(tmp_path)

    async def behave(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\n\r\nTRUE")
        if polite:
            line.end()
        else:
            below = line.writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(below)) as raw:
                raw.shutdown(socket.SHUT_WR)

    async def main() -> bytes:
        transport = FastTransport(ca_file=str(tmp_path / "authority.pem"))
        await transport.open(connections=1)
        try:
            async with FaultServer(behave, tls=context(tmp_path, "good")) as server:
                return (await transport.send(post(server.url), TIMEOUT)).body
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        if polite:
            assert runner.run(main()) == b"TRUE"
        else:
            with pytest.raises(ConnectionLost):
                runner.run(main())


@pytest.mark.parametrize(
    ("url", "host", "first"),
    [
        ("http://api.test", "api.test", "POST / HTTP/1.1"),
        ("http://api.test:80/v1", "api.test", "POST /v1 HTTP/1.1"),
        ("https://api.test:443/v1?a=b%20c#there", "api.test", "POST /v1?a=b%20c HTTP/1.1"),
        ("https://API.test:8443/", "api.test:8443", "POST / HTTP/1.1"),
        ("http://[::1]:8080/v1", "[::1]:8080", "POST /v1 HTTP/1.1"),
    ],
)
def test_addresses(url: str, host: str, first: str) -> None:
    """The host is said with its port where that is not the usual one; what is after # stays here."""
    lines = Target(url).head(HTTPCall(url, {"X": "y"}, b"")).decode().split("\r\n")
    assert lines == [first, f"Host: {host}", "X: y", "Accept-Encoding: gzip, deflate", "Content-Length: "]


@pytest.mark.parametrize(
    "url",
    ["", "api.test", "ftp://api.test", "http://", "http://a b/", "http://api.test/ü", "http://api.test:x/",
     "http://me:pass@api.test/", "http://api.test/a\nb", "http://api.test:99999/"],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    """Nothing is guessed at."""
    with pytest.raises(InvalidRequest):
        Target(url)


def test_a_head_is_written_once() -> None:
    """For the same headers the same bytes; changed ones are noticed although the object is the same."""
    url, headers = "http://api.test/v1", {"Authorization": "Bearer one"}
    target = Target(url)
    first = target.head(HTTPCall(url, headers, b"1"))
    assert target.head(HTTPCall(url, headers, b"2")) is first
    headers["Authorization"] = "Bearer two"
    assert b"Bearer two" in target.head(HTTPCall(url, headers, b"3"))
    assert target.head(HTTPCall(url, headers, b"", "PUT")).startswith(b"PUT /v1")
    for number in range(1000):
        target.head(HTTPCall(url, {"X": str(number)}, b""))
    assert len(target._heads) <= 64


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({"X-Row": 250}, b"", "the header 'X-Row' is no text"),
        ({b"X-Row": "250"}, b"", "the header b'X-Row' is no text"),
        ({"X-Row": None}, b"", "is no text"),
        ({}, "text", "its body is not bytes"),
        ({}, None, "its body is not bytes"),
    ],
)
def test_what_is_of_the_wrong_type_meets_no_connection(headers: Any, body: Any, says: str) -> None:
    """A foreign provider may make such a call; it is that request's error alone."""
    url = "http://api.test/v1"
    with pytest.raises(InvalidRequest, match=says):
        Target(url).head(HTTPCall(url, headers, body))


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_the_framing_is_the_transports_own(name: str) -> None:
    """A caller who says how long the body is could be wrong."""
    with pytest.raises(InvalidRequest, match=name):
        Target("http://api.test").head(HTTPCall("http://api.test", {name: "1"}, b""))


def test_headers_are_a_mapping() -> None:
    """By lower-case names; what is no UTF-8 is kept as it is."""
    shape = shape_of((b"X-One", b"x-one", b"Date"))
    headers = Headers(shape.names, [b"1", b"2", b"\xff "])
    assert dict(headers) == {"x-one": "1", "date": "\udcff"}
    assert (headers["X-ONE"], headers.get("X-One"), headers.get("no"), headers.get("no", "7")) == (
        "1",
        "1",
        None,
        "7",
    )
    assert shape_of((b"X-One", b"x-one", b"Date")) is shape
    assert repr(headers) == "Headers({'x-one': '1', 'date': '\\udcff'})"
    untouched = Headers(("a", "x-b"), [b"1", b"2"])
    assert [untouched.get(name) for name in ("", "-", "7", "X-B", "x-c")] == [None, None, None, "2", None]
