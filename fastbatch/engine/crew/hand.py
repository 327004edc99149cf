"""The parent's hold on one member: its process, the line to it, and the rows that it has."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import fastbatch
from fastbatch.engine.crew.forms import write_row
from fastbatch.engine.crew.link import FORM, Head, Link
from fastbatch.engine.job import Job
from fastbatch.engine.looked import Known
from fastbatch.hashing import wire_bytes

_SPARE = 448  # rows that a member has beside those that may be in flight, so that it never waits for the next
_FRAME = 1024 * 1024  # bytes of bodies in one frame, about
_SILENT = 60  # seconds; a member that is well tells how things are four times a second
_BUFFER = 1 << 20  # bytes that the system keeps of what one end says, at most


class Row:
    """A row that a member has; where it is `leaving`, an `attempt` at it is on record as sent."""

    __slots__ = ("attempt", "job", "leaving", "prompt_tokens", "size")

    def __init__(self, job: Job[Any], size: int) -> None:
        self.job = job
        self.size = size
        self.leaving = False
        self.attempt = 0
        self.prompt_tokens = 0


class Hand:
    """One place in the crew, whichever process fills it.

    Args:
        number: which.
        concurrency: requests that a member may have in flight here.
        space: bytes of bodies that it may have.

    Attributes:
        window: rows that it may have.
        backlog: rows that it will be dealt.
        rows: those that it has, by their index, and their `size` in bytes.
        worked: one who was here has told of a row.
        deaths: members who died here in a row, without telling of one.
        silence: seconds since it said something, as many as this process has seen go by.
        link: to whoever is here; None where there is nobody.
        bye: it has said that it is about to end.
        over: done when there is no process, and there will be none.
    """

    def __init__(self, number: int, concurrency: int, space: int) -> None:
        self.number = number
        self.concurrency = concurrency
        self.window = 2 * concurrency + _SPARE
        self._space = space
        self.backlog: deque[Job[Any]] = deque()
        self.rows: dict[int, Row] = {}
        self.size = 0
        self.worked = False
        self.deaths = 0
        self.silence = 0
        self.bye = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.link: Link | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(
        self,
        orders: bytes,
        retries: float,
        reached: Set[int],
        heard: Callable[[Head, bytes], None],
        ended: Callable[[], None],
    ) -> None:
        """Start a process and give it its orders, with which endpoints have been `reached` until then."""

        def lost() -> None:
            self.link = None
            ended()

        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        ours.setblocking(False)
        with theirs:
            self._process = _started(theirs.fileno())
        self.bye = False
        self.silence = 0
        link = Link(heard, lost, ours.dup())
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
        self.link = link
        link.send(["orders", FORM, self.concurrency, retries, sorted(reached), sys.path], orders)

    def deal(self, *, lines: bool) -> None:
        """Fill its window from the backlog, where that is worth a frame; `lines`: it makes output lines."""
        backlog = self.backlog
        room = self.window - len(self.rows)
        if not backlog or self.link is None or self.bye or room < min(len(backlog), self.window // 4):
            return
        forms: list[Any] = []
        bodies: list[bytes] = []
        length = 0
        while backlog and room > 0 and (self.size < self._space or not self.rows):
            job = backlog.popleft()
            row = job.tag
            body = row.line if isinstance(row, Known) else wire_bytes(job.request.body, checked=True)
            forms.append(write_row(job, len(body), lines=lines))
            bodies.append(body)
            self.rows[job.index] = Row(job, len(body))
            self.size += len(body)
            length += len(body)
            room -= 1
            if length >= _FRAME:
                self.send("rows", forms, raw=b"".join(bodies))
                forms, bodies, length = [], [], 0
        if forms:
            self.send("rows", forms, raw=b"".join(bodies))

    def send(self, *head: Any, raw: bytes = b"") -> None:
        """Tell it something, if it still listens."""
        if self.link is not None:
            self.link.send([*head], raw)

    def silenced(self) -> bool:
        """A second has gone by; whether it has said nothing for so many that it is taken to be stuck."""
        if self.link is None or self.bye:
            return False
        self.silence += 1
        return self.silence == _SILENT

    def end(self) -> None:
        """End the process, whose line ends by that."""
        if self._process is not None:
            self._process.kill()

    def kill(self) -> None:
        """End it at once, if there is one, and bury it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def process(self) -> int:
        """The id of its process; 0 where there is none."""
        return 0 if self._process is None else self._process.pid

    async def ending(self) -> int:
        """How its process ended, once it has: its exit code, below zero by which signal."""
        process = self._process
        code = 0 if process is None else await asyncio.to_thread(process.wait)
        self._process = None
        return code


def _started(line: int) -> subprocess.Popen[bytes]:
    """A member at the other end of a line, in a group of its own: Ctrl-C at a terminal is for the parent."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "fastbatch.engine.crew.member", str(line)],
        pass_fds=(line,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=_environment(),
        process_group=0,
    )


def _environment() -> dict[str, str]:
    """This process's environment, in which the package is found where it was found here."""
    here = str(Path(fastbatch.__file__).parent.parent)
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": here if not before else f"{here}{os.pathsep}{before}"}


def told_end(code: int) -> str:
    """How a process ended, for people."""
    return f"signal {-code}: {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
