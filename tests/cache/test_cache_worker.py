"""The thread of a cache on disk."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from fastbatch.cache.patience import nap
from fastbatch.cache.worker import PerProcess, Worker


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """What a worker's thread waits for; set in the end, so that a failing test does not hang."""
    event = threading.Event()
    yield event
    event.set()


async def test_work_is_done_in_order_in_one_thread() -> None:
    """Calls that are under way together run one after another, in the order of the calls."""
    worker, done = Worker("order"), []
    names = await asyncio.gather(
        *(worker.call(lambda n=n: (done.append(n), threading.current_thread().name)[1]) for n in range(50))
    )
    assert done == list(range(50))
    assert set(names) == {"order"}
    await worker.close(lambda: None)


async def test_errors_reach_the_caller() -> None:
    """What the work raises is raised where it is awaited, and the thread goes on."""
    worker = Worker("errors")
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)
    assert await worker.call(lambda: 5) == 5
    await worker.close(lambda: None)


async def test_cancelled_waiting_does_not_cancel_the_work(go: threading.Event) -> None:
    """Work that was handed in is done, also when it had not begun as its waiter was cancelled."""
    worker, begun, done = Worker("cancelled"), threading.Event(), []
    first = asyncio.create_task(worker.call(lambda: (begun.set(), go.wait())))
    second = asyncio.create_task(worker.call(lambda: done.append("second")))
    await asyncio.to_thread(begun.wait)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert second.cancelled()
    assert done == []
    go.set()
    await worker.call(lambda: None)
    assert done == ["second"]
    await worker.close(lambda: None)


async def test_close_does_the_rest_and_ends_the_thread() -> None:
    """Closing waits for what was handed in, does the last step in the thread, and leaves no thread."""
    worker, done = Worker("close"), []
    calls = [asyncio.create_task(worker.call(lambda n=n: done.append(n))) for n in range(10)]
    await asyncio.sleep(0)
    await worker.close(lambda: done.append(threading.current_thread().name))
    assert done == [*range(10), "close"]
    assert threads("close") == []
    await asyncio.gather(*calls)


async def test_close_without_a_thread_does_nothing() -> None:
    """The last step belongs to a thread that ran; without one it is not done."""
    worker, done = Worker("none"), []
    await worker.close(lambda: done.append("last"))
    assert done == []


async def test_a_new_thread_waits_for_the_old_one(go: threading.Event) -> None:
    """A call made while closing is under way runs after the last step of the old thread."""
    worker, done = Worker("again"), []
    await worker.call(lambda: None)
    closing = asyncio.create_task(worker.close(lambda: (go.wait(), done.append("closed"))))
    await asyncio.sleep(0)
    calling = asyncio.create_task(worker.call(lambda: done.append("opened")))
    await asyncio.sleep(0)
    assert done == []
    go.set()
    await asyncio.gather(closing, calling)
    assert done == ["closed", "opened"]
    await worker.close(lambda: None)


async def test_cancelling_to_close_makes_it_hurry() -> None:
    """Work that would wait for somebody else is told; what was handed in behind it is still begun."""
    worker, done = Worker("hurry"), []
    first = asyncio.create_task(worker.call(lambda: done.append(nap(3600))))
    closing = asyncio.create_task(worker.close(lambda: done.append("last")))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(first, closing, return_exceptions=True)
    await worker.call(lambda: done.append(nap(0)))  # by a new thread, which is in no hurry
    assert done == [True, "last", False]
    await worker.close(lambda: None)


async def test_a_forgotten_worker_ends_its_thread() -> None:
    """What nobody closes and nobody knows any more does not stay, but does what it was given."""
    worker, done = Worker("forgotten"), []
    await worker.call(lambda: done.append("first"))
    (thread,) = threads("forgotten")
    task = asyncio.create_task(worker.call(lambda: done.append("second")))
    await asyncio.sleep(0)
    await task
    del worker, task
    gc.collect()
    await asyncio.to_thread(thread.join, 20)
    assert done == ["first", "second"]
    assert not thread.is_alive()


def test_a_forked_child_leaves_the_parents_threads_alone(go: threading.Event) -> None:
    """At its end it waits for none of them: they are not there."""
    worker = Worker("parent")
    asyncio.run(worker.call(lambda: None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        child = os.fork()
    if not child:
        from fastbatch.cache import worker as module

        os._exit(0 if not module._threads else 1)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(worker.close(lambda: None))


EXITS = {
    "what is quickly done is done": ("worker.call(lambda: (sum(range(10**7)), print('done')))", "done\n"),
    "what waits for another is told": ("worker.call(lambda: print(nap(3600)))", "True\n"),
    "what hangs is left": ("worker.call(threading.Event().wait)", ""),
}


@pytest.mark.parametrize("name", EXITS)
def test_the_end_of_a_program(name: str) -> None:
    """A program that did not close its cache ends within a second or so, with everything done that can be."""
    call, out = EXITS[name]
    script = f"""
import asyncio, threading
from fastbatch.cache.patience import nap
from fastbatch.cache.worker import Worker
worker = Worker("w")
async def main():
    task = asyncio.create_task({call})
    await asyncio.sleep(0)
asyncio.run(main())
"""
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, out, "")


def test_one_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process gets the same object, another process another one."""
    made = PerProcess(object)
    mine = made.here()
    assert made.here() is mine
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert made.here() is not mine
