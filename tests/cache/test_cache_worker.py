"""The thread of a cache on disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

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


def test_one_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process gets the same object, another process another one."""
    made = PerProcess(object)
    mine = made.here()
    assert made.here() is mine
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert made.here() is not mine
