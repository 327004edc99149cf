"""Kept connections: used again, dropped in time, and never a way to plant a reply."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from faultserver import FaultServer, Line
from transports import Make

from fastbatch.errors import ConnectFailed, ConnectionLost, RequestError
from fastbatch.models.http import HTTPCall
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

TIMEOUT = Timeout(5.0)


@pytest.fixture
async def transport(make: Make) -> AsyncIterator[Transport]:
    made = make()
    await made.open(connections=4)
    yield made
    await made.close()


def post(url: str, body: bytes = b"{}") -> HTTPCall:
    return HTTPCall(url, {"Content-Type": "application/json"}, body)


async def turns(count: int = 20) -> None:
    """Let the event loop see what is in the sockets."""
    for _ in range(count):
        await asyncio.sleep(0)


def reset(line: Line) -> None:
    line.reset()


def end(line: Line) -> None:
    line.end()


@pytest.mark.parametrize("break_off", [reset, end])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_kept_connection_that_ends_is_stale(
    transport: Transport, break_off: Callable[[Line], None], reused: bool
) -> None:
    """Before a byte of the reply, on a connection used before: told apart from one that was new."""

    async def behave(line: Line) -> None:
        if reused and line.request.nth == 1:
            await line.reply(b"{}")
        else:
            break_off(line)

    async with FaultServer(behave) as server:
        if reused:
            await transport.send(post(server.url), TIMEOUT)
        with pytest.raises(ConnectionLost) as lost:
            await transport.send(post(server.url), TIMEOUT)
        assert server.connections == 1
    assert (lost.value.stale, lost.value.maybe_billed) == (reused, True)


async def test_a_kept_connection_that_breaks_in_its_reply_is_not_stale(transport: Transport) -> None:
    """The reply had begun: the request was taken, and sending it again at once is no matter of course."""

    async def behave(line: Line) -> None:
        if line.request.nth == 1:
            await line.reply(b"{}")
        else:
            await line.send(b"HTTP/1.1 200")
            line.reset()

    async with FaultServer(behave) as server:
        await transport.send(post(server.url), TIMEOUT)
        with pytest.raises(ConnectionLost) as lost:
            await transport.send(post(server.url), TIMEOUT)
    assert not lost.value.stale


@pytest.mark.parametrize("break_off", [reset, end])
async def test_an_idle_connection_that_ended_is_not_used(
    transport: Transport, break_off: Callable[[Line], None]
) -> None:
    """A server that closes without having said so costs no attempt: its end waits in the socket."""
    closed = asyncio.Event()

    async def behave(line: Line) -> None:
        await line.reply(b"{}")
        await closed.wait()
        break_off(line)

    async with FaultServer(behave) as server:
        for _ in range(3):
            await transport.send(post(server.url), TIMEOUT)
            closed.set()
            await turns()
            closed.clear()
        assert server.connections == 3


PLANTED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nPLANTED"


async def in_one_piece(line: Line, reply: bytes, seen: Callable[[], Awaitable[None]]) -> None:
    await line.send(reply + PLANTED)


async def after_the_headers(line: Line, reply: bytes, seen: Callable[[], Awaitable[None]]) -> None:
    head, _, body = reply.partition(b"\r\n\r\n")
    await line.send(head + b"\r\n\r\n")
    await turns()
    await line.send(body + PLANTED)


async def after_the_reply(line: Line, reply: bytes, seen: Callable[[], Awaitable[None]]) -> None:
    await line.send(reply)
    await seen()
    await line.send(PLANTED)


async def half_of_it(line: Line, reply: bytes, seen: Callable[[], Awaitable[None]]) -> None:
    await line.send(reply)
    await seen()
    await line.send(PLANTED[:20])


async def a_goodbye(line: Line, reply: bytes, seen: Callable[[], Awaitable[None]]) -> None:
    await line.send(reply)
    await seen()
    await line.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    line.end()


@pytest.mark.parametrize("plant", [in_one_piece, after_the_headers, after_the_reply, half_of_it, a_goodbye])
@pytest.mark.parametrize("read", [True, False], ids=["read by then", "still in the socket"])
async def test_what_nobody_asked_for_is_no_reply(
    transport: Transport, plant: Callable[..., Awaitable[None]], read: bool
) -> None:
    """Bytes beyond a reply never become the reply to the next request, wherever they are at that time."""
    answered, planted = asyncio.Event(), asyncio.Event()

    async def behave(line: Line) -> None:
        if server.connections > 1:
            await line.reply(b"TRUE")
            return
        await plant(line, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTRUE", answered.wait)
        planted.set()

    async with FaultServer(behave) as server:
        assert (await transport.send(post(server.url), TIMEOUT)).body == b"TRUE"
        answered.set()
        await planted.wait()
        if read:
            await turns()
        reply = await transport.send(post(server.url), TIMEOUT)
        assert (reply.status, reply.body) == (200, b"TRUE")
        assert server.connections == 2


async def test_a_reply_before_the_request_is_none(transport: Transport) -> None:
    """A server that speaks first, on a new connection, has answered nothing."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLANTED)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(early, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            reply = await transport.send(post(url, b"x" * 200_000), TIMEOUT)
        except RequestError as error:
            assert isinstance(error, ConnectionLost | ConnectFailed)
        else:
            # Its bytes came after the first of ours: then it is a reply like any other.
            assert reply.body == b"PLANTED"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_bodies_of_any_size_arrive(transport: Transport, size: int) -> None:
    """Whole, with their length said, in one piece or in many, one after another on one connection."""

    async def behave(line: Line) -> None:
        await line.reply(b"%d" % len(line.request.body))

    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with FaultServer(behave) as server:
        for _ in range(2):
            assert (await transport.send(post(server.url, body), TIMEOUT)).body == b"%d" % size
        assert server.seen[1].body == body
        assert server.seen[1].headers["content-length"] == str(size)
        assert server.connections == 1


async def test_only_what_the_call_says_is_sent(transport: Transport) -> None:
    """Besides the caller's headers: the host, the length and which compressions can be read."""

    async def behave(line: Line) -> None:
        await line.reply(b"{}")

    async with FaultServer(behave) as server:
        await transport.send(HTTPCall(server.url + "/v1?a=b%20c", {"X-Own": "1"}, b"{}", "PUT"), TIMEOUT)
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("PUT", "/v1?a=b%20c")
    assert set(seen.headers) == {"host", "x-own", "content-length", "accept-encoding"}


CONNECTS = {
    "aiohttp": "aiohappyeyeballs.start_connection",
    "fast": "fastbatch.transport.fast.dialling.Dialler.reach",
}


async def test_too_many_open_files_is_not_the_servers_fault(
    kind: str, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told apart from a server that is down, with what to do about it."""

    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(CONNECTS[kind], full)
    with pytest.raises(ConnectFailed, match="Too many open files") as failed:
        await transport.send(post("http://127.0.0.1:1/v1"), TIMEOUT)
    assert failed.value.fault == "you"
    assert "ulimit -n" in failed.value.cure


async def test_a_reply_that_is_too_large_harms_no_other(make: Make) -> None:
    """It is complete and its connection serves the next call already when it is judged: that one goes on."""
    transport = make(max_response_bytes=1000)
    await transport.open(connections=1)

    async def behave(line: Line) -> None:
        if line.request.body != b"large":
            await line.reply(line.request.body)
            return
        await line.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n" + b"x" * 500 + b"\r\n"
        )
        await turns()
        await line.send((b"1f4\r\n" + b"x" * 500 + b"\r\n") * 2 + b"0\r\n\r\n")

    async with FaultServer(behave) as server:
        bodies = [b"large", b"b", b"c", b"large", b"d"]
        calls = [transport.send(post(server.url, body), TIMEOUT) for body in bodies]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await transport.close()
    told = [type(out).__name__ if isinstance(out, BaseException) else out.body for out in outcomes]
    assert told == ["ResponseTooLarge", b"b", b"c", "ResponseTooLarge", b"d"]


OPEN = Path("/proc/self/fd")


def open_files() -> int:
    return len(list(OPEN.iterdir()))


@pytest.mark.skipif(not OPEN.exists(), reason="this system does not show what is open")
async def test_a_connection_that_is_given_up_is_gone_at_once(transport: Transport) -> None:
    """Even with a body unsent that its server does not take: nothing lingers."""
    gone = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await gone.wait()
        writer.transport.abort()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        before = open_files()
        with pytest.raises(RequestError):
            await transport.send(post(url, b"x" * 20_000_000), Timeout(0.2))
        await turns()
        assert open_files() <= before + 1  # the server's end, which does not look
        gone.set()
