"""The way in from synchronous code: a loop of its own in a thread of its own.

So `manager.run(batch)` works in a script, inside a running loop and in a notebook, and nothing is patched.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's where it is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


_LOOK = 0.5  # seconds


def run_sync(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work()` to its end in a new loop in a new thread, and return or raise what it does.

    Ctrl-C while waiting cancels the work, waits until it has cleaned up, and raises `KeyboardInterrupt`.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []
    begun, over = threading.Event(), threading.Event()

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:

                async def main() -> T:
                    task = asyncio.current_task()
                    assert task is not None
                    started.append((asyncio.get_running_loop(), task))
                    begun.set()
                    return await work()

                outcome.append(runner.run(main()))
        except BaseException as error:  # noqa: BLE001  (carried over to the thread that waits, all of it)
            failure.append(error)
        finally:
            begun.set()
            over.set()

    worker = threading.Thread(target=thread, name="fastbatch-run", daemon=True)
    worker.start()
    try:
        # Not `join`: one that Ctrl-C interrupts takes the thread for ended from then on (CPython below 3.13).
        # Not for ever: a signal that the system gives to another thread wakes nobody here.
        while not over.wait(_LOOK):
            pass
    except KeyboardInterrupt:
        begun.wait()
        for loop, task in started:
            with suppress(RuntimeError):  # it ended in the meantime and its loop is closed
                loop.call_soon_threadsafe(task.cancel)
        over.wait()
        worker.join()
        raise
    worker.join()
    if failure:
        raise failure[0]
    return outcome[0]
