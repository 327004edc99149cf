"""The one thread in which a cache on disk works."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["PerProcess", "Worker"]

T = TypeVar("T")


class Worker:
    """Does one piece of work after another in a thread of its own, for any number of event loops.

    The thread starts with the first call and ends with `close`; a later call starts another one, which first
    waits for the end of its predecessor, so that there is never work in two of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # between submitting and closing; never held over an await
        self._pool: ThreadPoolExecutor | None = None
        self._ending: ThreadPoolExecutor | None = None

    async def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, done after everything that was handed in before it.

        Work handed in is done even when the waiting task is cancelled: it may be storing paid answers.
        """
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
                if self._ending is not None:
                    self._pool.submit(self._ending.shutdown)
            outcome = _submit(self._pool, work)
        return await asyncio.wrap_future(outcome)

    async def close(self, last: Callable[[], None]) -> None:
        """Do what was handed in before, then `last`, then end the thread; nothing if there is none."""
        with self._lock:
            if self._pool is None:
                return
            pool = self._ending = self._pool
            self._pool = None
            outcome = _submit(pool, last)
            pool.shutdown(wait=False)
        try:
            await asyncio.wrap_future(outcome)
        finally:
            if outcome.done():
                pool.shutdown()  # the queue is empty: this waits some microseconds for the thread's last step


def _submit(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # a cancelled waiter leaves it as it is, and it can be set
    pool.submit(_settle, outcome, work)
    return outcome


def _settle(outcome: Future[T], work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    # Whatever it is, it belongs to the waiting task; unset, that task would wait forever.
    except BaseException as error:  # noqa: BLE001
        outcome.set_exception(error)


class PerProcess(Generic[T]):
    """One `T` for each process, made on first use.

    After a fork the child must not use the parent's threads, locks and database connections, nor close them
    (https://www.sqlite.org/howtocorrupt.html, section 2.6). It makes its own and keeps the others untouched.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def here(self) -> T:
        """This process's own."""
        pid = os.getpid()
        # setdefault is one step under the GIL: two threads that come first together get the same one
        return self._made.get(pid) or self._made.setdefault(pid, self._make())
