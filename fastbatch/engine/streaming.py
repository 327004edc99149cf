"""A stream: its run in a task of its own, and what its taker is given.

Whoever leaves a generator by `break` closes it later, if ever: `asyncio.run` may end before that, and cancels
a closing that has not begun, which Python 3.11 ends in the middle. A task that has begun hears of its
cancellation, and is waited for. So everything that has to be closed lives in one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence, Sized
from contextlib import aclosing
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastbatch.engine.job import Job
from fastbatch.engine.journal.journal import Durability
from fastbatch.engine.remembered import RememberedStream
from fastbatch.engine.session import Settings
from fastbatch.engine.sessions import open_session
from fastbatch.engine.source import JobSource, Rows
from fastbatch.engine.uncertain import OnUncertain
from fastbatch.formats.rows import RowSettings

ResponseT = TypeVar("ResponseT")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_left: set[asyncio.Task[None]] = set()  # nobody waits for them; the loop itself does not keep its tasks


async def blocks(
    settings: Settings[ResponseT],
    rows: Rows,
    row_settings: RowSettings,
    *,
    title: str,
    journal: str | Path | None,
    on_uncertain: OnUncertain,
    durability: Durability,
) -> AsyncGenerator[Sequence[Job[ResponseT]], None]:
    """The finished jobs of `rows`, in a session of their own; the arguments are `RequestManager.stream`'s.

    Raises:
        RunStopped, OutputError, StorageError: as `RequestManager.stream`.
    """
    on_lost = on_uncertain if on_uncertain in ("retry", "skip") else "retry"
    async with open_session(settings, title=title, on_lost=on_lost) as session:
        if isinstance(rows, Sized):
            session.counters.total = len(rows)
        source = JobSource(settings, row_settings)
        finished: AsyncGenerator[Sequence[Job[ResponseT]], None]
        if journal is None:
            finished = session.run(source.blocks(rows)).blocks()
        else:
            remembered = RememberedStream(
                settings,
                session,
                source,
                Path(journal),
                title=title,
                durability=durability,
                on_uncertain=on_uncertain,
            )
            finished = remembered.blocks(rows)
        async with aclosing(finished):
            async for block in finished:
                yield block


class Driven(Generic[T]):
    """A generator in a task of its own, which takes a step when somebody asks for one.

    Args:
        source: not begun yet; its items are not None.
    """

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[bool] | None = None  # True: for another item, False: nobody will ask
        self._given: asyncio.Future[T | None]
        self._leaving = False

    async def next(self) -> T | None:
        """The next item; None after the last one.

        Raises:
            Exception: whatever the generator raises.
        """
        loop = asyncio.get_running_loop()
        self._given = loop.create_future()
        if self._task is None:
            self._task = loop.create_task(self._drive())
        else:
            assert self._asked is not None
            self._asked.set_result(True)
        return await self._given

    def leave(self) -> None:
        """Have the generator closed, without waiting for it."""
        self._leaving = True
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(False)
        if self._task is not None and not self._task.done():
            _left.add(self._task)
            self._task.add_done_callback(_closed)

    async def close(self) -> None:
        """Close the generator; returns when it is closed. Cancelling this cancels what it still does.

        Raises:
            Exception: what the generator raises while it is closed.
        """
        task = self._task
        if task is None or task.done():
            return
        self._leaving = True
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(False)
        elif self._given.cancelled():
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                cancelled = error
                task.cancel()
        if not task.cancelled():
            task.result()
        if cancelled is not None:
            raise cancelled

    async def _drive(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with aclosing(self._source) as items:
                async for item in items:
                    if self._leaving:
                        return
                    self._asked = loop.create_future()
                    self._give(item)
                    if not await self._asked:
                        return
        except Exception as error:
            if self._given.done():
                raise
            self._given.set_exception(error)
        except asyncio.CancelledError:
            self._given.cancel()
            raise
        else:
            self._give(None)

    def _give(self, item: T | None) -> None:
        if not self._given.done():
            self._given.set_result(item)


def _closed(task: asyncio.Task[Any]) -> None:
    """A generator that nobody waits for is closed."""
    _left.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("a stream that was left did not end well: %s", error)
