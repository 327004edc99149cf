"""A member's life: `python -m fastbatch.engine.crew.member FD`, started by the parent and by nobody else.

It hears rows, runs a session of its own, and tells what became of them. What a turn of the loop brings rides
one frame: outcomes first, then what cost nothing after all, then what is about to leave; in this order, so
that at no moment more requests are on record as open than there may be in flight.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastbatch.engine.bridge import new_loop
from fastbatch.engine.crew.forms import RowForm, read_row, write_error, write_outcome
from fastbatch.engine.crew.link import FORM, Head, Link
from fastbatch.engine.crew.orders import Orders, unpacked
from fastbatch.engine.crew.pictures import write_picture
from fastbatch.engine.events import Event, Notice, Outage, Progressed, RunFinished
from fastbatch.engine.job import Job
from fastbatch.engine.run import Run
from fastbatch.engine.session import Session
from fastbatch.errors import FastbatchError, RunStopped, StorageError, UsageError

_GATHER = 0.002  # seconds in which outcomes gather that nobody waits for; a frame costs as much as ten rows


class Dealt:
    """The rows that the parent deals, as the source of a run."""

    def __init__(self) -> None:
        self._blocks: deque[list[Job[Any]]] = deque()
        self._over = False
        self._bell: asyncio.Future[None] | None = None

    def add(self, forms: list[RowForm], raw: bytes) -> None:
        """Take in a frame of rows."""
        block, at = [], 0
        for form in forms:
            length = form[3]
            block.append(read_row(form, raw[at : at + length]))
            at += length
        self._blocks.append(block)
        self._ring()

    def end(self, *, drop: bool = False) -> None:
        """No more rows come; those that nobody has looked at yet are dropped where they shall be."""
        self._over = True
        if drop:
            self._blocks.clear()
        self._ring()

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def blocks(self) -> AsyncGenerator[list[Job[Any]], None]:
        """The rows, until there are no more."""
        while True:
            while self._blocks:
                yield self._blocks.popleft()
            if self._over:
                return
            self._bell = asyncio.get_running_loop().create_future()
            await self._bell


class Reports:
    """What is told of rows, gathered into frames; the recorder of a run that asks before it sends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._outcomes: list[Job[Any]] = []
        self._back: list[int] = []
        self._leaving: list[tuple[int, int, int]] = []
        self._asked: deque[tuple[Job[Any], asyncio.Future[None]]] = deque()
        self._soon = False
        self._recorded: Callable[[list[Job[Any]]], None] = _nothing

    def start(self, recorded: Callable[[list[Job[Any]]], None], failed: Callable[[Exception], None]) -> None:
        """Begin; a failure to write is the parent's to tell."""
        self._recorded = recorded

    async def sent(self, job: Job[Any], prompt_tokens: int) -> None:
        """Return when the parent has it on disk that the row's request is about to leave."""
        answered = self._loop.create_future()
        self._asked.append((job, answered))
        self._leaving.append((job.index, job.attempts + 1, prompt_tokens))
        self._flush_soon()
        await answered

    def allowed(self, count: int, billed: list[int]) -> None:
        """The next `count` requests may leave; those of the rows `billed` an earlier run may have bought."""
        for _ in range(count):
            job, answered = self._asked.popleft()
            job.maybe_billed = job.maybe_billed or job.index in billed
            if not answered.done():
                answered.set_result(None)

    def back(self, job: Job[Any]) -> None:
        """The row's request cost nothing."""
        self._back.append(job.index)
        self._flush_soon()

    def record(self, job: Job[Any]) -> None:
        """A row has its outcome."""
        self._outcomes.append(job)
        self._flush_soon()
        self._recorded([job])

    async def flush(self) -> None:
        """Tell what has gathered."""
        self.tell()

    def tell(self) -> None:
        """Tell what has gathered."""
        self._soon = False
        if not (self._outcomes or self._back or self._leaving):
            return
        forms, raws = [], []
        for job in self._outcomes:
            form, raw = write_outcome(job)
            forms.append(form)
            raws.append(raw)
        self._link.send(["work", forms, self._back, self._leaving], b"".join(raws))
        self._outcomes, self._back, self._leaving = [], [], []

    def add(self, block: list[Job[Any]]) -> None:
        """Finished jobs of a run that asks nobody."""
        self._outcomes += block
        self.tell()

    def _flush_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self.tell)


class Teller:
    """The listener of a member's session: pictures and what else concerns people go to the parent."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def notify(self, event: Event) -> None:
        """Pass on one event."""
        if isinstance(event, Progressed | RunFinished):
            self._link.send(["picture", write_picture(event.snapshot)])
        elif isinstance(event, Notice):
            self._link.send(["notice", event.text])
        elif isinstance(event, Outage):
            self._link.send(["outage", event.where, event.lasted, event.over])


class Warnings(logging.Handler):
    """Warnings of the library are the parent's to show."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one warning."""
        self._link.send(["warning", record.name, record.getMessage()])


class Member:
    """One member, from its orders to its end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = Link(self._hear, self._orphaned)
        self._orders: asyncio.Future[tuple[Head, bytes]] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._given: Orders | None = None
        self._dealt = Dealt()
        self._reports = Reports(self._link)
        self._run: Run[Any] | None = None
        self._drains = False
        self._leaving = False
        self._task = asyncio.current_task()

    async def live(self, line: socket.socket) -> None:
        """Until the parent lets go."""
        await self._loop.create_unix_connection(lambda: self._link, sock=line)
        logging.getLogger("fastbatch").addHandler(Warnings(self._link))
        try:
            head, raw = await self._orders
            _, form, concurrency, retries, path = head
            if form != FORM:
                raise RuntimeError(f"the parent speaks form {form} of the crew's language, this is {FORM}")
            sys.path[:] = path
            self._given = unpacked(raw)
            await self._work(self._given, concurrency, retries)
        except asyncio.CancelledError:  # told to; what there was has been saved
            self._reports.tell()
        except Exception as error:  # noqa: BLE001  (the parent raises it; nobody looks at a member)
            self._reports.tell()
            self._link.send(["ended", *_reason(error)])
        self._leaving = True
        self._link.send(["bye"])
        self._link.close()
        await self._over

    async def _work(self, given: Orders, concurrency: int, retries: float) -> None:
        settings = given.settings(Teller(self._link), concurrency=concurrency, retries=retries)
        try:
            async with Session(settings, title=given.title) as session:
                if given.asks:
                    session.record_with(self._reports)
                self._run = session.run(self._dealt.blocks())
                if self._drains:
                    self._run.drain()
                async with aclosing(self._run.blocks()) as finished:
                    async for block in finished:
                        if not given.asks:
                            self._reports.add(block)
                            await asyncio.sleep(_GATHER)
        finally:
            if settings.cache is not None:
                await settings.cache.close()

    def _hear(self, head: Head, raw: bytes) -> None:
        what = head[0]
        if what == "rows":
            self._dealt.add(head[1], raw)
        elif what == "sent":
            self._reports.allowed(head[1], head[2])
        elif what == "orders":
            self._orders.set_result((head, raw))
        elif what == "end":
            self._dealt.end()
        elif what == "drain":
            self._drains = True
            self._dealt.end(drop=True)
            if self._run is not None:
                self._run.drain()
        elif what == "cancel" and self._task is not None:
            self._task.cancel()

    def _orphaned(self) -> None:
        """The parent is gone, or has let go."""
        if not self._leaving:
            if self._given is not None and isinstance(self._given.shared, Path):
                shutil.rmtree(self._given.shared, ignore_errors=True)
            os._exit(1)  # at once: what is in flight is on record as uncertain
        if not self._over.done():
            self._over.set_result(None)


def _reason(error: Exception) -> tuple[str, str, Any]:
    """Why a run ended, as data: the kind of error, its words, and the request's error behind it."""
    if isinstance(error, RunStopped):
        return "stopped", error.message, None if error.cause is None else write_error(error.cause)
    if isinstance(error, UsageError | StorageError):
        return ("usage" if isinstance(error, UsageError) else "storage"), error.message, None
    if isinstance(error, FastbatchError):
        return "error", error.message, None
    return "broken", "".join(traceback.format_exception(error)), None


def _nothing(*_: Any) -> None:
    """Stands where no run listens yet."""


def main() -> None:
    """Serve the parent at the other end of the descriptor that it passed on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is the parent that is meant; its end is ours
    line = socket.socket(fileno=int(sys.argv[1]))

    async def live() -> None:
        await Member().live(line)

    gc.freeze()  # as the command line does: a process of our own
    gc.set_threshold(10_000, 20, 20)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(live())


if __name__ == "__main__":
    main()
