"""A process that is stopped and goes on later: what came meanwhile is read before deadlines are judged."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from faultserver import FaultServer, Line
from transports import MAKE

TESTS = Path(__file__).resolve().parents[1]

CLIENT = (
    MAKE
    + """
import asyncio, sys, time
import uvloop
from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPCall
from fastbatch.transport.timeout import Timeout

url, loop, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def call(transport):
    try:
        reply = await transport.send(HTTPCall(url, {}, b"{}"), Timeout(0.9, idle=0.8))
    except RequestError as error:
        return type(error).__name__
    return f"{reply.status} {len(reply.body)}"

async def main():
    transport = make()
    await transport.open(connections=calls)
    for outcome in sorted(await asyncio.gather(*(call(transport) for _ in range(calls)))):
        print(outcome)
    await transport.close()

with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
    runner.run(main())
"""
)


class Stopped:
    """A client that is stopped when all its requests are there, and goes on when they are answered."""

    def __init__(self, reply: bytes, calls: int) -> None:
        self.reply = reply
        self.calls = calls
        self.arrived = asyncio.Event()
        self.stopped = asyncio.Event()
        self.answered = 0

    async def behave(self, line: Line) -> None:
        if line.request.connection == self.calls:
            self.arrived.set()
        await self.stopped.wait()
        line.writer.write(self.reply)  # what the client's socket cannot take yet, it takes when it goes on
        self.answered += 1

    async def run(self, kind: str, loop: str) -> list[str]:
        async with FaultServer(self.behave) as server:
            arguments = (sys.executable, "-c", CLIENT, server.url, loop, str(self.calls), kind)
            client = await asyncio.create_subprocess_exec(
                *arguments, stdout=asyncio.subprocess.PIPE, cwd=TESTS
            )
            await self.arrived.wait()
            os.kill(client.pid, signal.SIGSTOP)
            self.stopped.set()
            # The one place where time has to pass: the client's deadlines, while it cannot look.
            await asyncio.sleep(1.3)
            assert self.answered == self.calls
            os.kill(client.pid, signal.SIGCONT)
            told, _ = await client.communicate()
        assert client.returncode == 0
        return told.decode().splitlines()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("size", "calls"), [(2, 1), (2, 60), (200_000, 8), (3_000_000, 1)])
async def test_replies_that_came_during_a_stop_are_taken(kind: str, loop: str, size: int, calls: int) -> None:
    """Both deadlines are long over when the process goes on, but the replies are there: none is lost."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    assert await Stopped(head + b" " * size, calls).run(kind, loop) == [f"200 {size}"] * calls


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_without_a_reply_the_deadline_holds(kind: str, loop: str) -> None:
    """A process that goes on does not wait for ever for what did not come."""
    assert await Stopped(b"HTTP/1.1 200 OK\r\n", 3).run(kind, loop) == ["RequestTimeout"] * 3
