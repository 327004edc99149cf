"""Replies that are read while they come."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from faultserver import FaultServer, Line
from transports import REAL, Make

from fastbatch.errors import ConnectFailed, ConnectionLost, RequestTimeout
from fastbatch.models.http import HTTPCall
from fastbatch.transport.auto import AutoTransport
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

CHUNKED = b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
TIMEOUT = Timeout(5.0)
MIB = 1 << 20


@pytest.fixture(params=[*REAL, "auto"])
def make(request: pytest.FixtureRequest) -> Make:
    """The single ones, and the one that chooses."""
    return {**REAL, "auto": AutoTransport}[request.param]


@pytest.fixture
async def transport(make: Make) -> AsyncIterator[Transport]:
    made = make(max_response_bytes=MIB)
    await made.open(connections=2)
    yield made
    await made.close()


def post(url: str) -> HTTPCall:
    return HTTPCall(url, {}, b"{}")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_pieces_arrive_when_they_come(transport: Transport) -> None:
    """The head first, then each piece before the server goes on; the connection is used again."""
    heard = asyncio.Event()

    async def behave(line: Line) -> None:
        await line.send(CHUNKED)
        for number in range(3):
            await heard.wait()
            heard.clear()
            await line.send(chunk(b"piece %d" % number))
        await heard.wait()
        heard.clear()
        await line.send(b"0\r\n\r\n")

    async with FaultServer(behave) as server:
        for _ in range(2):
            pieces = []
            async with transport.stream(post(server.url), TIMEOUT) as stream:
                assert (stream.status, stream.headers.get("x-own")) == (200, "1")
                heard.set()
                async for piece in stream:
                    pieces.append(piece)
                    heard.set()
            assert pieces == [b"piece 0", b"piece 1", b"piece 2"]
        assert server.connections == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_packed_pieces_are_unpacked_as_they_come(transport: Transport, coding: str) -> None:
    """What the server has flushed can be read, although its packing goes on."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    heard = asyncio.Event()

    async def behave(line: Line) -> None:
        await line.send(CHUNKED[:-2] + f"Content-Encoding: {coding}\r\n\r\n".encode())
        for number in range(3):
            packed = packer.compress(b"piece %d." % number) + packer.flush(zlib.Z_SYNC_FLUSH)
            await line.send(chunk(packed))
            await heard.wait()
            heard.clear()
        await line.send(chunk(packer.flush()) + b"0\r\n\r\n")

    async with FaultServer(behave) as server:
        text = b""
        async with transport.stream(post(server.url), TIMEOUT) as stream:
            async for piece in stream:
                text += piece
                if text.endswith(b"."):
                    heard.set()
        assert text == b"piece 0.piece 1.piece 2."


async def test_a_stream_may_be_longer_than_a_reply(transport: Transport) -> None:
    """The bound is for what is held; a slow reader makes the server wait."""
    sent = 0

    async def behave(line: Line) -> None:
        nonlocal sent
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (40 * MIB))
        for _ in range(40):
            await line.send(bytes(MIB))
            sent += 1

    async with FaultServer(behave) as server, transport.stream(post(server.url), TIMEOUT) as stream:
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert sent < 40  # the rest waits with the server
        assert sum([len(piece) async for piece in stream]) == 40 * MIB


async def test_a_stream_that_is_left_early(transport: Transport) -> None:
    """Its connection is closed, others go on, and nothing waits for the server."""
    gone = asyncio.Event()

    async def behave(line: Line) -> None:
        if line.request.connection > 1:
            await line.reply(b"{}")
            return
        await line.send(CHUNKED + chunk(b"first"))
        await line.hung_up()
        gone.set()

    async with FaultServer(behave) as server:
        async with transport.stream(post(server.url), TIMEOUT) as stream:
            async for piece in stream:
                assert piece == b"first"
                break
        await gone.wait()
        assert (await transport.send(post(server.url), TIMEOUT)).body == b"{}"


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_stream_that_breaks_is_never_whole(transport: Transport, how: str) -> None:
    """What came can be read; then it is told."""
    read = asyncio.Event()

    async def behave(line: Line) -> None:
        await line.send(CHUNKED + chunk(b"first"))
        await read.wait()
        line.reset() if how == "reset" else line.end()

    async with FaultServer(behave) as server, transport.stream(post(server.url), TIMEOUT) as stream:
        assert await anext(stream) == b"first"
        read.set()
        with pytest.raises(ConnectionLost):
            await anext(stream)


@pytest.mark.parametrize("cut", [1, 9])
async def test_a_packed_stream_that_is_cut_short(transport: Transport, cut: int) -> None:
    """The frame is whole and what is in it is not, be it only the checksum that is missing."""
    packed = gzip.compress(bytes(range(256)) * 100)[:-cut]

    async def behave(line: Line) -> None:
        await line.reply(packed, "200 OK", "Content-Encoding: gzip")

    async with FaultServer(behave) as server:
        with pytest.raises(ConnectionLost, match="cut short"):
            async with transport.stream(post(server.url), TIMEOUT) as stream:
                async for piece in stream:
                    assert piece


@pytest.mark.parametrize(
    ("timeout", "phase"),
    [
        (Timeout(5.0, first_byte=0.1), "first byte"),
        (Timeout(5.0, idle=0.1), "idle"),
        (Timeout(0.3, idle=5.0), "total"),
    ],
)
async def test_deadlines_hold(transport: Transport, timeout: Timeout, phase: str) -> None:
    """For the head, between pieces, and for the whole."""

    async def behave(line: Line) -> None:
        if phase != "first byte":
            await line.send(CHUNKED + chunk(b"first"))
        await line.hung_up()

    async with FaultServer(behave) as server:
        with pytest.raises(RequestTimeout) as late:
            async with transport.stream(post(server.url), timeout) as stream:
                async for piece in stream:
                    assert piece == b"first"
        assert late.value.phase == phase


async def test_an_empty_stream(transport: Transport) -> None:
    """A reply without a body has no pieces."""

    async def behave(line: Line) -> None:
        await line.reply(b"", "204 No Content")

    async with FaultServer(behave) as server, transport.stream(post(server.url), TIMEOUT) as stream:
        assert stream.status == 204
        assert [piece async for piece in stream] == []


async def test_nobody_there(transport: Transport, unused_tcp_port: int) -> None:
    """The errors are those of a call."""
    with pytest.raises(ConnectFailed):
        async with transport.stream(post(f"http://127.0.0.1:{unused_tcp_port}"), TIMEOUT):
            raise AssertionError


async def test_a_reader_that_is_cancelled(transport: Transport) -> None:
    """It ends at once and its connection with it."""
    gone = asyncio.Event()

    async def behave(line: Line) -> None:
        await line.send(CHUNKED + chunk(b"first"))
        await line.hung_up()
        gone.set()

    first = asyncio.Event()

    async def read(url: str) -> None:
        async with transport.stream(post(url), TIMEOUT) as stream:
            async for _ in stream:
                first.set()

    async with FaultServer(behave) as server:
        reading = asyncio.create_task(read(server.url))
        await first.wait()
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        await gone.wait()
