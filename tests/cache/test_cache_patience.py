"""How long anybody waits for a cache, with another process at it or a disk that hangs."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fastbatch.cache import DiskCache, DiskCacheBackend
from fastbatch.cache.filelock import FileLock
from fastbatch.cache.patience import hurry_by, is_cancelled, nap, within
from fastbatch.errors import CacheError

KINDS = {"disk": (DiskCache, "answers.sqlite3.lock"), "diskcache": (DiskCacheBackend, "fastbatch.lock")}
SOON = 20.0  # seconds in which what need not wait is over, on the slowest machine; all real bounds are longer


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another holder of the lock, as a process that is stopped would be."""
    lock = FileLock(path, timeout=0)
    try:
        with lock:
            yield
    finally:
        lock.close()


def test_a_nap_ends_when_the_thread_is_to_hurry() -> None:
    """At once, and it says so; a thread that nobody hurries sleeps."""
    assert nap(0) is False
    event, said = threading.Event(), []

    def work() -> None:
        hurry_by(event)
        said.append(nap(3600))

    thread = threading.Thread(target=work)
    thread.start()
    event.set()
    thread.join(SOON)
    assert said == [True]


async def test_within_gives_and_raises_what_comes_in_time() -> None:
    """Results, errors and futures go through."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert await within(SOON, future) == 7
    with pytest.raises(ZeroDivisionError):
        await within(SOON, asyncio.to_thread(lambda: 1 // 0))


async def test_within_cancels_what_comes_late() -> None:
    """After the time, and when the waiting task is cancelled; an error that comes later is nobody's."""
    told = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")
            raise ZeroDivisionError

    with pytest.raises(TimeoutError):
        await within(0, stubborn())
    assert told == ["cancelled"]
    task = asyncio.create_task(within(SOON, stubborn()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert told == ["cancelled"] * 2


async def test_a_task_knows_that_it_was_cancelled() -> None:
    """While it cleans up, and not before."""
    seen = []

    async def work() -> None:
        seen.append(is_cancelled())
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append(is_cancelled())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == [False, True]


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_to_close_ends_the_waiting(tmp_path: Path, kind: str) -> None:
    """What waits for another process fails then, the thread ends, and nothing that was stored is lost."""
    make, name = KINDS[kind]
    cache = make(tmp_path)
    await cache.put_many({"a": b"1"})
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("fastbatch-")]
    with held(tmp_path / name):
        storing = asyncio.create_task(cache.put_many({"b": b"2"}))
        await asyncio.sleep(0)
        closing_ = asyncio.create_task(cache.close())
        await asyncio.sleep(0)
        closing_.cancel()
        with pytest.raises(CacheError, match="another process held"):
            await asyncio.wait_for(storing, SOON)
        for thread in threads:
            await asyncio.to_thread(thread.join, SOON)
            assert not thread.is_alive()
    assert await cache.get_many(["a", "b"]) == {"a": b"1"}
    await cache.put_many({"b": b"2"})
    await cache.close()
    assert await cache.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}
    await cache.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_does_not_insist_on_the_lock(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is closed beside a stopped process is whole, and the thread is gone."""
    monkeypatch.setattr("fastbatch.cache.database._CLOSING", 0.01)
    monkeypatch.setattr("fastbatch.cache.shelf._WAIT_CLOSING", 0.01)
    make, name = KINDS[kind]
    cache = make(tmp_path)
    entries = {str(number): b"x" * 1000 for number in range(500)}
    await cache.put_many(entries)
    with held(tmp_path / name):
        await asyncio.wait_for(cache.close(), SOON)
    assert await cache.get_many(list(entries)) == entries
    await cache.close()


async def test_waiting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks at a run that stands still learns what it waits for, once."""
    cache = DiskCache(tmp_path)
    await cache.put_many({"a": b"1"})
    other = FileLock(tmp_path / "answers.sqlite3.lock", timeout=0)
    naps = []

    def nap_at_most_five_times(seconds: float) -> bool:
        naps.append(seconds)
        if len(naps) == 5:
            other.__exit__(None, None, None)
        return False

    monkeypatch.setattr("fastbatch.cache.filelock._SILENT", 0.0)
    monkeypatch.setattr("fastbatch.cache.filelock.nap", nap_at_most_five_times)
    other.__enter__()
    await cache.put_many({"b": b"2"})
    other.close()
    assert [record.message[:28] for record in caplog.records] == ["waiting for another process "]
    await cache.close()


async def test_a_foreign_writer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at the file with SQLite's own tool does not know our lock; the cache waits all the same."""
    cache = DiskCache(tmp_path)
    await cache.put_many({"a": b"1"})
    with closing(sqlite3.connect(cache.path, isolation_level=None, check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")
        naps = []

        def nap_at_most_twice(seconds: float) -> bool:
            naps.append(seconds)
            if len(naps) == 2:
                db.execute("COMMIT")
            return False

        monkeypatch.setattr("fastbatch.cache.schema.nap", nap_at_most_twice)
        await cache.put_many({"b": b"2"})
        assert len(naps) == 2
    assert await cache.get_many(["a", "b"]) == {"a": b"1", "b": b"2"}
    await cache.close()


async def test_a_foreign_writer_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time it is an error like others, and never said to be a locked database."""
    monkeypatch.setattr("fastbatch.cache.schema.BUSY_TIMEOUT", 0.0)
    cache = DiskCache(tmp_path)
    await cache.put_many({"a": b"1"})
    with closing(sqlite3.connect(cache.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(CacheError, match="another program holds it"):
            await cache.put_many({"b": b"2"})
        assert await cache.get_many(["a", "b"]) == {"a": b"1"}
    await cache.put_many({"b": b"2"})
    await cache.close()
