"""The cache on disk: privacy, bounds, and who else is at the file."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from fastbatch.cache import DiskCache, store
from fastbatch.cache.filelock import FileLock
from fastbatch.errors import CacheError, ConfigError

NOW = 1_700_000_000.0


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., DiskCache]]:
    made: list[DiskCache] = []

    def build(**options: object) -> DiskCache:
        made.append(DiskCache(tmp_path / "c", time=lambda: NOW, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for cache in made:
        await cache.close()


def hashes(count: int) -> list[str]:
    return [f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in range(count)]


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


async def test_nothing_before_the_first_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor makes no file, thread or directory; it only puts the home directory in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    before = threading.active_count()
    cache = DiskCache("~/deep/down")
    assert cache.path.parent == tmp_path / "deep" / "down"
    assert names(tmp_path) == []
    await cache.put_many({"a": b"1"})
    assert cache.path.exists()
    await cache.close()
    assert threading.active_count() == before


async def test_directory_and_files_are_private(make: Callable[..., DiskCache]) -> None:
    """Answers may be confidential: directory 0700, every file 0600, the log and the lock too."""
    cache = make()
    await cache.put_many({"a": b"1"})
    directory = cache.path.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    assert len(names(directory)) == 4


def test_when_full_is_checked() -> None:
    """A misspelt policy is refused when it is given."""
    with pytest.raises(ConfigError, match="evict"):
        DiskCache("/nowhere", when_full="drop")  # type: ignore[arg-type]


async def test_a_full_cache_stops_with_one_warning(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture
) -> None:
    """Paid answers stay; new ones are counted as refused, and stored again once there is room."""
    cache = make(max_bytes=3_500)
    await cache.put_many(dict.fromkeys("abc", b"x" * 1_000))
    await cache.put_many({"d": b"x" * 1_000})
    await cache.put_many({"e": b"x" * 1_000, "small": b""})
    assert sorted(await cache.get_many(["a", "b", "c", "d", "e", "small"])) == ["a", "b", "c", "small"]
    stats = await cache.stats()
    assert (stats.entries, stats.puts, stats.refused, stats.max_bytes) == (4, 4, 2, 3_500)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    await cache.put_many({"a": b"y" * 900})
    assert await cache.prune(max_bytes=2_000) == 2
    await cache.put_many({"d": b"x" * 1_000})
    assert sorted(await cache.get_many(["a", "b", "c", "d"])) == ["a", "d"]
    assert len(caplog.records) == 1


async def test_a_full_cache_evicts_what_was_stored_first(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture
) -> None:
    """With `evict` the bound holds, storing again renews, reading does not, and the loss is logged."""
    caplog.set_level(logging.INFO)
    cache = make(max_bytes=3_500, when_full="evict")
    for key in "abc":
        await cache.put_many({key: b"x" * 1_000})
    await cache.put_many({"a": b"y" * 1_000})
    await cache.get_many(["b"])
    await cache.put_many({"d": b"x" * 1_000, "too large": b"x" * 4_000})
    assert sorted(await cache.get_many(["a", "b", "c", "d", "too large"])) == ["a", "c", "d"]
    stats = await cache.stats()
    assert stats.refused == 1
    assert stats.bytes <= 3_500
    evictions = [record for record in caplog.records if "dropped" in record.message]
    assert [record.levelno for record in evictions] == [logging.WARNING, logging.INFO]
    assert "1 answers dropped" in evictions[1].message


@pytest.mark.parametrize("when_full", ["stop", "evict"])
async def test_the_totals_are_exact(make: Callable[..., DiskCache], when_full: str) -> None:
    """After storing, replacing, refusing, evicting and pruning, the counted totals are those of the rows."""
    cache = make(max_bytes=60_000, when_full=when_full)
    keys = hashes(200)
    for step in range(30):
        start = step * 37 % 180
        await cache.put_many(
            {key: b"x" * ((step * 131 + n * 17) % 900) for n, key in enumerate(keys[start : start + 20])}
        )
        if step % 10 == 9:
            await cache.prune(max_bytes=30_000)
    await cache.close()
    with closing(sqlite3.connect(cache.path)) as db, db:
        rows = db.execute("SELECT count(*), sum(length(value) + 96) FROM entries").fetchone()
        assert db.execute("SELECT entries, bytes FROM totals").fetchone() == rows
        assert 0 < rows[1] <= 60_000
    db.close()


async def test_pruning_gives_space_back(make: Callable[..., DiskCache]) -> None:
    """The file shrinks with its content, and so does the log beside it."""
    cache = make()
    await cache.put_many(dict.fromkeys(hashes(2_000), b"x" * 2_000))
    await cache.prune(max_bytes=1_000_000)
    assert cache.path.stat().st_size < 1_500_000
    assert cache.path.with_name(cache.path.name + "-wal").stat().st_size == 0
    await cache.clear()
    assert cache.path.stat().st_size < 150_000


async def test_removed_while_in_use(make: Callable[..., DiskCache]) -> None:
    """`rm -r` on the directory costs the entries; what comes afterwards is kept in a new file."""
    cache = make()
    await cache.put_many({"a": b"1"})
    shutil.rmtree(cache.path.parent)
    await cache.put_many({"b": b"2"})
    assert await cache.get_many(["a", "b"]) == {"b": b"2"}
    await cache.close()
    assert await make().get_many(["b"]) == {"b": b"2"}


async def test_set_aside_by_another(make: Callable[..., DiskCache]) -> None:
    """When another object has set the file aside, the first goes over to the new file."""
    first, second = make(), make()
    await first.put_many(dict.fromkeys(hashes(500), b"x"))
    first.path.rename(first.path.with_name("answers.sqlite3.corrupt-1"))
    for side in ("-wal", "-shm"):
        first.path.with_name(first.path.name + side).rename(
            first.path.with_name("answers.sqlite3.corrupt-1" + side)
        )
    await second.put_many({"b": b"2"})
    await first.put_many({"a": b"1"})
    await first.close()
    assert await second.get_many(["a", "b", hashes(1)[0]]) == {"a": b"1", "b": b"2"}


async def test_cancelled_storing_is_done(make: Callable[..., DiskCache]) -> None:
    """Ctrl-C while answers are on their way to the disk does not lose them."""
    cache = make()
    entries = dict.fromkeys(hashes(3_000), b"x" * 500)
    task = asyncio.create_task(cache.put_many(entries))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await cache.get_many(list(entries))) == 3_000


async def test_the_loop_goes_on_while_the_disk_works(make: Callable[..., DiskCache]) -> None:
    """A verb that waits for another process's lock does not stop the event loop."""
    cache = make()
    await cache.put_many({"a": b"1"})
    held = FileLock(cache.path.with_name("answers.sqlite3.lock"), timeout=0)
    with held:
        task = asyncio.create_task(cache.put_many({"b": b"2"}))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        assert await make().get_many([]) == {}
    held.close()
    await task
    assert await cache.get_many(["b"]) == {"b": b"2"}


async def test_no_descriptor_stays_open(make: Callable[..., DiskCache]) -> None:
    """Opening, failing to open and closing leave as many descriptors as there were."""

    def open_now() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = open_now()
    for _ in range(3):
        cache = make()
        await cache.put_many({"a": b"1"})
        await cache.close()
        with closing(sqlite3.connect(cache.path)) as db, db:
            db.execute("PRAGMA user_version = 9")
        db.close()
        with pytest.raises(CacheError):
            await cache.get_many(["a"])
        await cache.close()
        shutil.rmtree(cache.path.parent)
    assert open_now() == before


async def test_a_second_lookup_looks_at_what_was_written_meanwhile(
    make: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who claims keys asks twice; the second time the index is left alone unless somebody has written."""
    cache, other = make(), make()
    keys = hashes(8)
    await other.put_many({keys[0]: b"zero"})
    asked: list[int] = []

    def select(columns: str, count: int, made: Callable[[str, int], str] = store._select) -> str:
        asked.append(count)
        return made(columns, count)

    monkeypatch.setattr(store, "_select", select)
    assert await cache.get_many(keys) == {keys[0]: b"zero"}
    assert asked == [8]
    assert await cache.get_many(keys[1:]) == {}
    assert await cache.get_many(keys) == {keys[0]: b"zero"}
    assert asked == [8, 1], "nobody has written, and yet what was absent is looked for again"

    await cache.put_many({keys[1]: b"one"})  # its own
    assert await cache.get_many(keys) == {keys[0]: b"zero", keys[1]: b"one"}
    await other.put_many({keys[2]: b"two"})  # another's
    assert await cache.get_many(keys[2:]) == {keys[2]: b"two"}
    await other.clear()
    assert await cache.get_many(keys) == {}
    assert (await cache.stats()).misses == sum((7, 7, 7, 6, 5, 8))  # of each lookup above


async def test_in_a_new_file_everything_is_looked_for(make: Callable[..., DiskCache]) -> None:
    """Its count of changes begins anew, and may stand where that of the old one stood."""
    cache, other = make(), make()
    for number, key in enumerate(hashes(4)):
        assert await cache.get_many([key]) == {}
        shutil.rmtree(cache.path.parent)
        await other.put_many({key: b"%d" % number})
        assert await cache.get_many([key]) == {key: b"%d" % number}
        shutil.rmtree(cache.path.parent)
