"""Hostile replies, a handful at once: memory stays within a bound, and the event loop goes on."""

from __future__ import annotations

import asyncio
import gzip
import sys
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from faultserver import FaultServer, Line
from transports import MAKE, Make

from fastbatch.errors import RequestTimeout, ResponseTooLarge
from fastbatch.models.http import HTTPCall
from fastbatch.transport.timeout import Timeout

# Prints how each call ended, the memory that it took at most (MiB) and the longest time (ms) that the event
# loop did nothing else. Time on the processor, not on the wall: other processes do not count.
CLIENT = (
    MAKE
    + r"""
import asyncio, re, sys, time
from pathlib import Path
import uvloop
from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPCall
from fastbatch.transport.timeout import Timeout

url, calls = sys.argv[1], int(sys.argv[2])
stall = 0.0

def peak():
    # Not getrusage: its ru_maxrss begins with the memory of the process that started this one.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

async def watch():
    global stall
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.001)
        stall = max(stall, time.thread_time() - before)

async def call(transport, path):
    try:
        reply = await transport.send(HTTPCall(url + path, {}, b"{}"), Timeout(20))
    except RequestError as error:
        return type(error).__name__
    return f"{reply.status}:{len(reply.body)}"

async def main():
    transport = make()
    await transport.open(connections=calls)
    for _ in range(3):
        await call(transport, "/well")
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    before = peak()
    outcomes = await asyncio.gather(*(call(transport, "/hostile") for _ in range(calls)))
    watching.cancel()
    print(",".join(sorted(set(outcomes))), peak() - before, stall * 1000)
    print(await call(transport, "/well"))
    await transport.close()

with asyncio.Runner(loop_factory=uvloop.new_event_loop if sys.argv[3] == "uvloop" else None) as runner:
    runner.run(main())
"""
)

TESTS = Path(__file__).resolve().parents[1]
MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Cost(NamedTuple):
    outcome: str
    mebibytes: float
    stall: float  # milliseconds


async def cost(
    kind: str, hostile: Callable[[Line], Awaitable[None]], calls: int, loop: str = "uvloop"
) -> Cost:
    """What so many of these replies at once do to a client in a process of its own."""

    async def behave(line: Line) -> None:
        if line.request.target == "/hostile":
            await hostile(line)
        else:
            await line.reply(b"{}")

    async with FaultServer(behave) as server:
        arguments = (sys.executable, "-c", CLIENT, server.url, str(calls), loop, kind)
        client = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, cwd=TESTS)
        told, _ = await client.communicate()
    assert client.returncode == 0
    first, after = told.decode().splitlines()
    assert after == "200:2", "the transport serves the next call"
    outcome, mebibytes, stall = first.split()
    return Cost(outcome, float(mebibytes), float(stall))


@cache
def packed(coding: str) -> bytes:
    """200 MB of zeros in 200 KB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding])
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(200)), packer.flush()])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate"])
async def test_bombs(kind: str, loop: str, coding: str) -> None:
    """Cut while they are inflated, at the bound: five at once cost as much as one."""
    bomb = packed(coding)

    async def behave(line: Line) -> None:
        await line.reply(bomb, "200 OK", f"Content-Encoding: {coding.split()[-1]}")

    outcome, mebibytes, stall = await cost(kind, behave, 5, loop)
    assert outcome == "ResponseTooLarge"
    assert mebibytes <= 64
    assert stall <= 50


async def endless_chunks(line: Line) -> None:
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    await line.send(CHUNKED)
    while True:
        await line.send(piece)


async def too_long_by_its_own_word(line: Line) -> None:
    await line.send(OK + b"Content-Length: %d\r\n\r\n" % (100 * MIB))
    await line.send(b" " * MIB)
    await line.hung_up()


async def dust(line: Line) -> None:
    """A quarter of a mebibyte in the smallest chunks there are."""
    await line.send(CHUNKED)
    for _ in range(4):
        await line.send(b"1\r\nx\r\n" * 65536)
    await line.send(b"0\r\n\r\n")


async def packed_dust(line: Line) -> None:
    """Ten thousand members of gzip, with a byte each."""
    await line.reply(gzip.compress(b"x") * 10_000, "200 OK", "Content-Encoding: gzip")


async def many_headers(line: Line) -> None:
    await line.send(OK + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n")
    await line.hung_up()


async def endless_header(line: Line) -> None:
    await line.send(OK + b"X: ")
    while True:
        await line.send(b"x" * 65536)


async def never_to_the_point(line: Line) -> None:
    """Informational replies without end."""
    while True:
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@pytest.mark.parametrize(
    ("hostile", "outcome"),
    [
        (endless_chunks, "ResponseTooLarge"),
        (too_long_by_its_own_word, "ResponseTooLarge"),
        (dust, f"200:{MIB // 4}"),
        (packed_dust, "200:10000"),
        (many_headers, "BadResponse"),
        (endless_header, "BadResponse"),
        (never_to_the_point, "BadResponse"),
    ],
)
async def test_floods(kind: str, hostile: Callable[[Line], Awaitable[None]], outcome: str) -> None:
    """Endless, oversized or ground to dust: typed, with bounded memory and without a stall, five at once."""
    assert (found := await cost(kind, hostile, 5)).outcome == outcome
    assert found.mebibytes <= 64
    assert found.stall <= 50


async def test_huge_replies_are_taken_in_turn(kind: str) -> None:
    """Five honest replies of 30 MiB at once arrive whole, and lie in memory one at a time."""

    async def behave(line: Line) -> None:
        await line.send(OK + b"Content-Length: %d\r\n\r\n" % (30 * MIB))
        for _ in range(30):
            await line.send(b" " * MIB)

    outcome, mebibytes, stall = await cost(kind, behave, 5)
    assert outcome == f"200:{30 * MIB}"
    assert mebibytes <= 64
    assert stall <= 50


async def test_an_honest_reply_of_any_size_is_whole(make: Make) -> None:
    """Around every bound on the way, each byte in its place, with its length, in chunks or packed."""
    transport = make(max_response_bytes=12 * MIB)
    await transport.open(connections=1)

    async def behave(line: Line) -> None:
        coding, size = line.request.target[1:].split("/")
        body = sample(int(size))
        if coding == "chunked":
            await line.send(CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        elif coding == "gzip":
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            await line.reply(packer.compress(body) + packer.flush(), "200 OK", "Content-Encoding: gzip")
        else:
            await line.reply(body)

    async with FaultServer(behave) as server:
        for coding in ("length", "chunked", "gzip"):
            for size in (1, MIB, MIB + 1, 9 * MIB, 9 * MIB + 1, 12 * MIB):
                call = HTTPCall(f"{server.url}/{coding}/{size}", {}, b"")
                assert (await transport.send(call, Timeout(20))).body == sample(size), (coding, size)
            with pytest.raises(ResponseTooLarge):
                await transport.send(HTTPCall(f"{server.url}/{coding}/{12 * MIB + 1}", {}, b""), Timeout(20))
    await transport.close()


@cache
def sample(size: int) -> bytes:
    """Bytes that are nowhere the same as a little further on."""
    words = b"".join(b"%d " % number for number in range(size // 6 + 10))
    return words[:size]


class Pausing:
    """A server whose first reply comes as far as `size` bytes and pauses; all others come whole."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.paused = asyncio.Event()

    async def behave(self, line: Line) -> None:
        head = OK + b"Content-Length: %d\r\n\r\n"
        if line.request.connection == 1:
            await line.send(head % (self.size + 1) + b" " * self.size)
            self.paused.set()
            await line.hung_up()
        else:
            await line.send(head % self.size + b" " * self.size)


async def both(make: Make, size: int) -> tuple[BaseException | None, BaseException | None]:
    """How a call for the pausing reply ends, and one that is made meanwhile."""
    transport, server = make(), Pausing(size)
    await transport.open(connections=2)
    async with FaultServer(server.behave) as there:
        call = HTTPCall(there.url, {}, b"")
        first = asyncio.create_task(transport.send(call, Timeout(3.0)))
        await server.paused.wait()
        second = asyncio.create_task(transport.send(call, Timeout(1.5, idle=0.75)))
        await asyncio.wait([first, second])
    await transport.close()
    return first.exception(), second.exception()


async def test_one_that_pauses_holds_up_no_other_of_usual_size(make: Make) -> None:
    """Some mebibytes each are read side by side."""
    first, second = await both(make, 2 * MIB)
    assert isinstance(first, RequestTimeout)
    assert second is None


async def test_deadlines_hold_while_waiting_for_a_turn(make: Make) -> None:
    """Behind a huge reply that pauses, the total passes; the pause is not laid at the other server's door."""
    first, second = await both(make, 20 * MIB)
    assert isinstance(first, RequestTimeout)
    assert isinstance(second, RequestTimeout)
    assert second.phase == "total"
