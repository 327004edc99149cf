"""How long anybody waits for a cache: its thread for other processes, and a run for its cache.

A thread waits as long as its work is worth it, and no longer than until it is told to hurry; a task that was
cancelled waits `LAST` seconds more, because what it waits for was paid for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["LAST", "hurry_by", "is_cancelled", "nap", "within"]

T = TypeVar("T")

LAST = 0.5  # seconds; nobody sees them pass, and a block of answers is stored in some hundredths

_here = threading.local()


def hurry_by(event: threading.Event) -> None:
    """From now on every `nap` of this thread ends when `event` is set."""
    _here.event = event


def nap(seconds: float) -> bool:
    """Sleep; True, at once, when this thread was told to hurry."""
    event: threading.Event | None = getattr(_here, "event", None)
    if event is None:
        time.sleep(seconds)
        return False
    return event.wait(seconds)


def is_cancelled() -> bool:
    """Whether somebody has cancelled the task that asks, which now cleans up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` returns; cancelled after `seconds`.

    Not `asyncio.timeout`: the first releases of Python 3.11 mistake it in a task that was cancelled before.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_heard)
    try:
        await asyncio.wait((task,), timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    await asyncio.sleep(0)  # so that it hears of it before the loop may be closed
    raise TimeoutError


def _heard(task: asyncio.Future[T]) -> None:
    """Take note of an error that comes when nobody waits any more, so that the loop does not complain."""
    if not task.cancelled():
        task.exception()
