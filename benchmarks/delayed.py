"""A server that takes its time: `python delayed.py SECONDS` answers every request so long after it has come.

One queue and one timer for all connections, since each request waits as long as the others; so that it costs
this process a few microseconds a request, and a thousand in flight are no load.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

import uvloop
from load import reply

_BODY = reply()
_REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY
)


class Answers:
    """Replies that are due, in the order of their requests."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, asyncio.Transport]] = deque()

    def add(self, transport: asyncio.Transport) -> None:
        """Answer a request that has just come whole."""
        if not self._due:
            self._loop.call_later(self._seconds, self._answer)
        self._due.append((self._loop.time() + self._seconds, transport))

    def _answer(self) -> None:
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            self._due.popleft()[1].write(_REPLY)
        if self._due:
            self._loop.call_later(max(0.0, self._due[0][0] - now), self._answer)


class Connection(asyncio.Protocol):
    """Reads requests: a head, and as many bytes as it says."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go there."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Find the ends of requests."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            _, named, length = head.partition(b"content-length:")
            whole = end + 4 + (int(length.partition(b"\r\n")[0]) if named else 0)
            if len(self._read) < whole:
                return
            self._read = self._read[whole:]
            self._answers.add(self._transport)


async def main(seconds: float) -> None:
    """Serve until the process is ended."""
    answers = Answers(seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
