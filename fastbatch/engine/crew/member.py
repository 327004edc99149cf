"""A member's life: `python -m fastbatch.engine.crew.member FD`, started by the parent and by nobody else.

It hears of rows, runs a session of its own, and tells what became of them.
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
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastbatch.engine.bridge import new_loop
from fastbatch.engine.crew.asides import Teller, Warnings
from fastbatch.engine.crew.dealt import Dealt
from fastbatch.engine.crew.forms import write_error, write_picos
from fastbatch.engine.crew.link import FORM, Head, Link
from fastbatch.engine.crew.orders import Orders, unpacked
from fastbatch.engine.crew.reached import Reached
from fastbatch.engine.crew.reports import Reports
from fastbatch.engine.purse import OutOfMoney
from fastbatch.engine.run import Run
from fastbatch.engine.session import Session
from fastbatch.errors import FastbatchError, RunStopped, StorageError, UsageError


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
        self._reached = Reached(lambda number: self._link.send(["reached", number]))
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
            if head[1] != FORM:
                raise RuntimeError(f"the parent speaks form {head[1]} of the crew's language, this is {FORM}")
            _, _, concurrency, retries, reached, path = head
            self._reached.hear(reached)
            sys.path[:] = path
            self._given = unpacked(raw)
            self._dealt.reads, self._dealt.shape = self._given.reads, self._given.shape
            await self._work(self._given, concurrency, retries)
        except asyncio.CancelledError:  # told to; what there was has been saved
            self._reports.tell()
        except OutOfMoney as end:
            self._reports.tell()
            self._link.send(["poor", write_picos(end.least)])
        except Exception as error:  # noqa: BLE001  (the parent raises it; nobody looks at a member)
            self._reports.tell()
            self._link.send(["ended", *_reason(error)])
        self._leaving = True
        self._link.send(["bye"])
        self._link.close()
        await self._over

    async def _work(self, given: Orders, concurrency: int, retries: float) -> None:
        teller = Teller(self._link, self._reached)
        settings = given.settings(teller, concurrency=concurrency, retries=retries)
        self._reached.begin([lane for place in settings.addresses for lane in place.lanes])
        try:
            async with Session(settings, title=given.title) as session:
                self._reports.asks, self._reports.counters = given.asks, session.counters
                session.record_with(self._reports)
                self._run = session.run(self._dealt.blocks())
                if self._drains:
                    self._run.drain()
                async with aclosing(self._run.blocks()) as finished:
                    async for _ in finished:
                        pass  # everything there is to do with them is done by the reports
        finally:
            if settings.cache is not None:
                await settings.cache.close()

    def _hear(self, head: Head, raw: bytes) -> None:
        what = head[0]
        if what == "rows":
            self._dealt.add(head[1], raw)
        elif what == "sent":
            self._reports.allowed(head[1], head[2])
        elif what == "reached":
            self._reached.hear(head[1])
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
