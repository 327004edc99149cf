"""The backend on diskcache never unpickles and never follows a file name."""

from __future__ import annotations

import importlib
import os
import pickle
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fastbatch.cache import DiskCacheBackend
from fastbatch.errors import CacheError, MissingExtra

diskcache = pytest.importorskip("diskcache")
PICKLE, BINARY = 4, 2  # diskcache's modes


class Bomb:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (str(self.path),)


@pytest.fixture
def exploded(tmp_path: Path) -> Iterator[Path]:
    """A path that exists if anything was unpickled during the test."""
    path = tmp_path / "exploded"
    yield path
    assert not path.exists()


def plant(directory: Path, *, key: object, raw: int, mode: int, filename: str | None, value: object) -> None:
    with closing(sqlite3.connect(directory / "cache.db")) as db, db:
        db.execute("DELETE FROM Cache WHERE key = ?", (key,))
        db.execute(
            "INSERT INTO Cache (key, raw, store_time, mode, filename, value) VALUES (?, ?, 0, ?, ?, ?)",
            (key, raw, mode, filename, value),
        )
    db.close()


async def test_a_planted_value_is_a_miss(tmp_path: Path, exploded: Path) -> None:
    """A row in the pickle mode is not read but removed; the entries beside it stay."""
    cache = DiskCacheBackend(tmp_path / "c")
    await cache.put_many({"good": b"1", "bad": b"2"})
    bomb = pickle.dumps(Bomb(exploded))
    plant(tmp_path / "c", key="bad", raw=1, mode=PICKLE, filename=None, value=bomb)
    assert await cache.get_many(["good", "bad"]) == {"good": b"1"}
    assert (await cache.stats()).entries == 1
    await cache.close()


async def test_a_planted_key_is_passed_over(tmp_path: Path, exploded: Path) -> None:
    """Going through all keys, for statistics and pruning, does not unpickle one; clearing removes it."""
    cache = DiskCacheBackend(tmp_path / "c")
    await cache.put_many({"good": b"1"})
    bomb = pickle.dumps(Bomb(exploded))
    plant(tmp_path / "c", key=bomb, raw=0, mode=PICKLE, filename=None, value=bomb)
    assert (await cache.stats()).entries == 2
    assert await cache.prune(older_than=1e9, max_bytes=1 << 30) == 0
    assert await cache.get_many(["good"]) == {"good": b"1"}
    assert await cache.clear() == 2
    await cache.close()


async def test_a_planted_pickle_file_is_not_opened(tmp_path: Path, exploded: Path) -> None:
    """Pickles beside the database are refused like those inside."""
    cache = DiskCacheBackend(tmp_path / "c")
    await cache.put_many({"bad": b"1"})
    (tmp_path / "c" / "x.val").write_bytes(pickle.dumps(Bomb(exploded)))
    plant(tmp_path / "c", key="bad", raw=1, mode=PICKLE, filename="x.val", value=None)
    assert await cache.get_many(["bad"]) == {}
    await cache.close()


async def test_a_planted_file_name_reads_and_removes_nothing(tmp_path: Path) -> None:
    """A row that names a file elsewhere gives neither its content nor deletes it."""
    (tmp_path / "precious").write_bytes(b"precious")
    cache = DiskCacheBackend(tmp_path / "c")
    await cache.put_many({"bad": b"1"})
    for verb in (lambda: cache.get_many(["bad"]), cache.clear, lambda: cache.put_many({"bad": b"2"})):
        plant(tmp_path / "c", key="bad", raw=1, mode=BINARY, filename="../precious", value=None)
        assert await verb() in ({}, 1, None)
        assert (tmp_path / "precious").read_bytes() == b"precious"
    assert await cache.get_many(["bad"]) == {"bad": b"2"}
    await cache.close()


async def test_a_flipped_byte_is_a_miss(tmp_path: Path) -> None:
    """Values carry their own checksum here too."""
    cache = DiskCacheBackend(tmp_path / "c")
    await cache.put_many({"a": b"an answer"})
    with closing(sqlite3.connect(tmp_path / "c" / "cache.db")) as db, db:
        db.execute("UPDATE Cache SET value = CAST(replace(value, CAST('answer' AS BLOB), 'answex') AS BLOB)")
    db.close()
    assert await cache.get_many(["a"]) == {}
    assert (await cache.stats()).entries == 0
    await cache.close()


async def test_a_full_cache_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the bound nothing is evicted; new entries are refused with one warning."""
    cache = DiskCacheBackend(tmp_path / "c", max_bytes=200_000)
    await cache.put_many({"a": b"x" * 300_000})
    await cache.put_many({"b": b"y"})
    await cache.put_many({"c": b"z"})
    assert list(await cache.get_many(["a", "b", "c"])) == ["a"]
    assert (await cache.stats()).refused == 2
    assert len(caplog.records) == 1
    await cache.close()


async def test_the_directory_is_private(tmp_path: Path) -> None:
    """Only the owner may look into the directory, whatever diskcache would have made."""
    cache = DiskCacheBackend(tmp_path / "c")
    assert not (tmp_path / "c").exists()
    await cache.put_many({"a": b"1"})
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    await cache.close()


async def test_failures_are_cache_errors(tmp_path: Path) -> None:
    """A damaged database and an impossible directory are told as `CacheError`."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cache.db").write_bytes(b"no database" * 500)
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "c", tmp_path / "file"):
        cache = DiskCacheBackend(directory)
        with pytest.raises(CacheError, match=str(directory)):
            await cache.get_many(["a"])
        await cache.close()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    for name in ("fastbatch.cache.diskcache", "fastbatch.cache.shelf"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diskcache", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fastbatch\[diskcache\]'"):
        importlib.import_module("fastbatch.cache.diskcache")
