"""Group commit: what comes while the disk is busy goes together and in order; a failure reaches everybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fastbatch.engine.journal import commit as commit_module
from fastbatch.engine.journal.commit import GroupCommit


class Disk:
    """Somewhere to write to: each batch waits until it is let through, unless `open`."""

    def __init__(self, *, open: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.begun = threading.Semaphore(0)
        self._turns = threading.Semaphore(10_000 if open else 0)
        self.broken: Exception | None = None

    def write(self, batch: list[str]) -> None:
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        self._turns.acquire()
        if self.broken is not None:
            raise self.broken
        self.batches.append(batch)

    def let(self, count: int = 1) -> None:
        self._turns.release(count)

    async def busy(self) -> None:
        """Wait until a batch is being written."""
        await asyncio.to_thread(self.begun.acquire)


class Told:
    """What the loop hears, in its order."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.lost: list[tuple[Exception, list[str]]] = []
        self.threads: set[int] = set()

    def on_written(self, batch: list[str]) -> None:
        self.threads.add(threading.get_ident())
        self.written.append(batch)

    def on_failed(self, error: Exception, items: list[str]) -> None:
        self.threads.add(threading.get_ident())
        self.lost.append((error, items))


Made = Callable[..., tuple[GroupCommit[str], Disk, Told]]


@pytest.fixture(autouse=True)
async def nothing_breaks_unheard() -> AsyncIterator[None]:
    """What a callback of the loop raises, nobody would see."""
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(context))
    yield
    assert broken == []


@pytest.fixture
async def make() -> Made:
    def build(*, open: bool = True) -> tuple[GroupCommit[str], Disk, Told]:
        disk, told = Disk(open=open), Told()
        return GroupCommit(disk.write, told.on_written, told.on_failed), disk, told

    return build


async def test_what_one_turn_brings_goes_together(make: Made) -> None:
    """One batch, in the order it came; told in the loop, written in a thread of its own."""
    commit, disk, told = make()
    for item in "abc":
        commit.add(item)
    assert disk.batches == []
    await commit.flush()
    assert disk.batches == told.written == [["a", "b", "c"]]
    assert told.threads == {threading.get_ident()}
    assert disk.threads == {"fastbatch-journal"}
    commit.close()


async def test_nobody_need_wait(make: Made) -> None:
    """What was added is written and told all the same."""
    commit, _, told = make()
    for count, item in enumerate("ab", 1):
        commit.add(item)
        while len(told.written) < count:  # noqa: ASYNC110  (nothing tells of it but the call itself)
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    commit.close()
    assert told.written == [["a"], ["b"]]


async def test_what_comes_while_the_disk_is_busy_is_the_next_batch(make: Made) -> None:
    """Batches gather while one is written, and none waits for a timer."""
    commit, disk, told = make(open=False)
    commit.add("a")
    await disk.busy()
    for item in "bcd":
        commit.add(item)
        await asyncio.sleep(0)
    assert told.written == []
    disk.let()
    await disk.busy()
    assert told.written in ([], [["a"]])
    commit.add("e")
    disk.let(2)
    await commit.flush()
    assert disk.batches == told.written == [["a"], ["b", "c", "d"], ["e"]]
    commit.close()


async def test_the_next_batch_is_under_way_while_the_last_one_is_told() -> None:
    """The disk does not idle while the loop works."""
    disk = Disk(open=False)
    begun: list[bool] = []

    def written(batch: list[str]) -> None:
        if batch == ["a"]:
            begun.append(disk.begun.acquire(timeout=10))
            disk.let()

    commit = GroupCommit(disk.write, written, lambda error, items: None)
    commit.add("a")
    await disk.busy()
    commit.add("b")
    disk.let()
    await commit.flush()
    assert begun == [True]
    assert disk.batches == [["a"], ["b"]]
    commit.close()


async def test_what_is_added_while_being_told_is_written_too() -> None:
    """Whoever hears of one thing may have the next one."""
    disk = Disk()
    written: list[str] = []

    def tell(batch: list[str]) -> None:
        written.extend(batch)
        if batch[-1] < "e":
            commit.add(chr(ord(batch[-1]) + 1))

    commit = GroupCommit(disk.write, tell, lambda error, items: None)
    commit.add("a")
    await commit.flush()
    assert written == list("abcde")
    commit.close()


async def test_few_wait_for_company(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is enough all of it goes at once; before that the disk has nothing to do."""
    monkeypatch.setattr(commit_module, "_MOMENT", 3600.0)
    commit, disk, told = make()
    commit.add("a", enough=False)
    commit.add("b", enough=False)
    for _ in range(20):
        await asyncio.sleep(0)
    assert disk.batches == []
    commit.enough()
    commit.add("c", enough=False)
    while not told.written:  # noqa: ASYNC110  (nothing tells of it but the call itself)
        await asyncio.sleep(0)
    assert told.written == [["a", "b", "c"]]
    commit.close()


async def test_few_that_came_while_the_disk_was_busy_wait_as_well(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch waits for company, until somebody flushes: then nobody does."""
    monkeypatch.setattr(commit_module, "_MOMENT", 3600.0)
    commit, disk, told = make(open=False)
    commit.add("a", enough=False)
    commit.add("b")
    await disk.busy()
    commit.add("c", enough=False)
    disk.let(10)
    while not told.written:  # noqa: ASYNC110  (nothing tells of it but the call itself)
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert told.written == [["a", "b"]]
    await commit.flush()
    assert told.written == [["a", "b"], ["c"]]
    commit.close()


async def test_company_is_waited_for_no_longer_than_a_moment(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stays alone goes alone, first of all and after others."""
    monkeypatch.setattr(commit_module, "_MOMENT", 0.0)
    commit, _, told = make()
    for count, item in enumerate("abc", 1):
        commit.add(item, enough=False)
        while len(told.written) < count:  # noqa: ASYNC110  (nothing tells of it but the call itself)
            await asyncio.sleep(0)
    assert told.written == [["a"], ["b"], ["c"]]
    commit.close()


async def test_closing_waits_for_nobody(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for company is dropped, as everything is that was not handed over."""
    monkeypatch.setattr(commit_module, "_MOMENT", 0.0)
    commit, disk, _ = make()
    commit.add("a", enough=False)
    commit.close()
    await asyncio.sleep(0)
    assert disk.batches == []


async def test_flush_waits_for_everything(make: Made) -> None:
    """Also for what was added and not handed over; several may wait; with nothing to do nobody waits."""
    commit, disk, told = make(open=False)
    await commit.flush()
    commit.add("a")
    waiting = [asyncio.ensure_future(commit.flush()) for _ in range(3)]
    await disk.busy()
    commit.add("b")
    assert not any(each.done() for each in waiting)
    disk.let()
    await disk.busy()
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting), "b is not written"
    disk.let()
    await asyncio.gather(*waiting)
    assert told.written == [["a"], ["b"]]
    commit.close()


async def test_one_who_stops_waiting_does_not_wake_the_others(make: Made) -> None:
    """A cancelled flush leaves the others waiting, and the writing going."""
    commit, disk, told = make(open=False)
    commit.add("a")
    first, second = (asyncio.ensure_future(commit.flush()) for _ in range(2))
    await disk.busy()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done()
    disk.let()
    await second
    assert told.written == [["a"]]
    commit.close()


async def test_a_failure_reaches_everybody(make: Made) -> None:
    """Those in the batch and those behind it are lost, in their order, and told once; flush ends."""
    commit, disk, told = make(open=False)
    disk.broken = OSError("full")
    commit.add("a")
    commit.add("b")
    await disk.busy()
    commit.add("c")
    flushing = asyncio.ensure_future(commit.flush())
    disk.let()
    await flushing
    assert told.lost == [(disk.broken, ["a", "b", "c"])]
    assert (told.written, disk.batches) == ([], [])
    assert told.threads == {threading.get_ident()}
    await commit.flush()
    commit.close()


async def test_nothing_is_written_after_a_failure(make: Made) -> None:
    """A disk that failed once is not tried again, even if it would work by now."""
    commit, disk, told = make()
    disk.broken = ValueError("anything at all")
    commit.add("a")
    await commit.flush()
    disk.broken = None
    commit.add("b")
    await commit.flush()
    await asyncio.sleep(0)
    await commit.flush()
    commit.close()
    assert (disk.batches, told.written, len(told.lost)) == ([], [], 1)


async def test_closing_finishes_what_is_being_written(make: Made) -> None:
    """And drops what was added since; the thread is gone afterwards."""
    commit, disk, _ = make(open=False)
    commit.add("a")
    await disk.busy()
    commit.add("b")
    closing = asyncio.ensure_future(asyncio.to_thread(commit.close))
    while not commit._batches.qsize():  # noqa: ASYNC110  (it has said that it closes)
        await asyncio.sleep(0)
    disk.let(2)
    await closing
    assert disk.batches == [["a"]]
    assert not commit._thread.is_alive()


async def test_closing_at_once_drops_everything(make: Made) -> None:
    """What was not handed over is not written."""
    commit, disk, _ = make()
    commit.add("a")
    commit.close()
    await asyncio.sleep(0)
    assert disk.batches == []


def test_a_loop_that_is_closed_too_early_is_no_trouble() -> None:
    """A run that nobody ended properly leaves a thread that ends quietly when it is told to."""
    disk, told = Disk(open=False), Told()

    async def begin() -> GroupCommit[str]:
        commit = GroupCommit(disk.write, told.on_written, told.on_failed)
        commit.add("a")
        await disk.busy()
        return commit

    loop = asyncio.new_event_loop()
    commit = loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    disk.let()
    commit.close()
    assert (disk.batches, told.written) == ([["a"]], [])


async def test_the_thread_does_not_keep_the_process_alive(make: Made) -> None:
    """A program that ends without closing ends."""
    commit, _, _ = make()
    assert commit._thread.daemon
    commit.close()


async def test_many_items_all_arrive_once_and_in_order(make: Made) -> None:
    """Whatever the interleaving of loop and thread."""
    commit, disk, told = make()
    names = [str(number) for number in range(3000)]
    for number, name in enumerate(names):
        commit.add(name)
        if number % 7 == 0:
            await asyncio.sleep(0)
    await commit.flush()
    assert [name for batch in told.written for name in batch] == names
    assert disk.batches == told.written
    commit.close()
