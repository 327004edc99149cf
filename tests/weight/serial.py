"""One thing after the other: what makes a run of several threads execute the same twice.

Which requests share a group commit depends on when a thread is given a core. Here whoever hands work to a
thread waits until it is done, and every turn of the loop takes a millisecond, whatever a busy machine makes
of it. Imported, and `install` called, before anything of fastbatch.
"""

from __future__ import annotations

import asyncio
import queue
import selectors
import time
from collections import deque
from collections.abc import Callable
from threading import Semaphore, Thread
from typing import Any

_PATIENCE = 60.0  # real seconds after which a thread is taken for dead
_TURN = 0.001


class _Hands:
    """The clock of everything here, in seconds."""

    now = 1000.0

    @classmethod
    def time(cls) -> float:
        return cls.now


class Handover:
    """A `SimpleQueue` whose `put` returns when the one thread behind it asks for more.

    None tells a thread to end, which is not waited for.
    """

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._there = Semaphore(0)
        self._done = Semaphore(0)
        self._working = False

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._there.release()
        if item is not None and not self._done.acquire(timeout=_PATIENCE):
            raise RuntimeError("a thread does not come back for more")

    def get(self) -> Any:
        if self._working:
            self._done.release()
        self._working = True
        self._there.acquire()
        return self._items.popleft()


def install() -> None:
    """From now on threads are handed their work this way, and the monotonic clocks are ours."""
    queue.SimpleQueue = Handover  # type: ignore[assignment, misc]
    time.monotonic = time.perf_counter = _Hands.time


class SerialLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on this clock, whose threads work while it waits; counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(_Selector())
        self.tasks = self.futures = self.callbacks = 0

    def time(self) -> float:
        return _Hands.now

    def create_future(self) -> asyncio.Future[Any]:
        self.futures += 1
        return super().create_future()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self.tasks += 1
        return super().create_task(coro, **options)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        self.callbacks += 1
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self.callbacks += 1
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self.callbacks += 1
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        outcome = self.create_future()

        def work() -> None:
            try:
                outcome.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  (whatever it is, it belongs to the waiting task)
                outcome.set_exception(error)

        thread = Thread(target=work)
        thread.start()
        thread.join(_PATIENCE)
        if thread.is_alive():
            raise RuntimeError("a thread does not come to its end")
        return outcome


class _Selector(selectors.DefaultSelector):
    """Waits for nobody: every thread is done when the loop asks."""

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if timeout is None and not events:
            raise RuntimeError("the loop would wait for ever")
        _Hands.now += max(timeout or 0.0, _TURN)
        return events
