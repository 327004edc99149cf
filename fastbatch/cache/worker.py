"""The one thread in which a cache on disk works."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

from fastbatch.cache.patience import hurry_by

__all__ = ["PerProcess", "Worker"]

T = TypeVar("T")

# Seconds that a cache which nobody closed has to store what it was given, and then to drop the rest.
_AT_EXIT, _IN_A_HURRY = 0.5, 0.1


class Worker:
    """Does one piece of work after another in a thread of its own, for any number of event loops.

    The thread starts with the first call and ends with `close`; a later call starts another one, which first
    waits for the end of its predecessor, so that there is never work in two of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # between submitting and closing; never held over an await
        self._thread: _Thread | None = None
        self._ending: _Thread | None = None

    async def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, done after everything that was handed in before it.

        Work handed in is done even when the waiting task is cancelled: it may be storing paid answers.
        """
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self._name, self._ending)
                self._forgotten = weakref.finalize(self, self._thread.finish)
                self._forgotten.atexit = False  # `_end_all` sees to that
            outcome = self._thread.submit(work)
        return await asyncio.wrap_future(outcome)

    async def close(self, last: Callable[[], None]) -> None:
        """Do what was handed in before, then `last`, then end the thread; nothing if there is none.

        Cancelling it makes the thread hurry: what would have to wait for another process fails instead.
        """
        with self._lock:
            if self._thread is None:
                return
            thread = self._ending = self._thread
            self._thread = None
            self._forgotten.detach()
            outcome = thread.submit(last)
            thread.finish()
        try:
            await asyncio.wrap_future(outcome)
        except asyncio.CancelledError:
            thread.hurry.set()
            raise
        finally:
            if outcome.done():
                thread.join()  # the queue is empty: this waits some microseconds for the thread's last step


class _Thread(threading.Thread):
    """Does what is in its queue; started when it is made.

    A daemon, so that no program waits for a disk at its end; `_end_all` gives it a moment.
    """

    def __init__(self, name: str, predecessor: _Thread | None) -> None:
        super().__init__(name=name, daemon=True)
        self.hurry = threading.Event()
        self._predecessor = predecessor
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.start()
        _threads.add(self)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Put `work` into the queue."""
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()  # a cancelled waiter leaves it as it is, and it can be set

        def settle() -> None:
            try:
                outcome.set_result(work())
            # Whatever it is, it belongs to the waiting task; unset, that task would wait forever.
            except BaseException as error:  # noqa: BLE001
                outcome.set_exception(error)

        self._queue.put(settle)
        return outcome

    def finish(self) -> None:
        """End when the queue is empty."""
        self._queue.put(None)

    def run(self) -> None:
        """Work until told to finish."""
        hurry_by(self.hurry)
        if self._predecessor is not None:
            self._predecessor.join()
            self._predecessor = None
        while (step := self._queue.get()) is not None:
            step()
            del step  # what it holds may be large, and the next one may be long in coming


_threads: weakref.WeakSet[_Thread] = weakref.WeakSet()


def _end_all() -> None:
    """Let the threads of caches that nobody closed store what they were given, if that is quickly done."""
    threads = list(_threads)
    for thread in threads:
        thread.finish()
    _join([thread for thread in threads if not thread.hurry.is_set()], _AT_EXIT)
    for thread in threads:
        thread.hurry.set()
    _join(threads, _IN_A_HURRY)


def _join(threads: Iterable[threading.Thread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _forget_all() -> None:
    """In a forked child: the parent's threads are not here."""
    _threads.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)


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
