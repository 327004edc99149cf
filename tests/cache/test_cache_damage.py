"""A damaged cache on disk: what is not whole is a miss, and what is no cache is set aside."""

from __future__ import annotations

import logging
import os
import pickle
import random
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from fastbatch.cache import DiskCache
from fastbatch.errors import CacheError

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


def flip(path: Path, what: bytes) -> None:
    """Change the last byte of `what` in the file, as a bad disk would."""
    content = path.read_bytes()
    assert content.count(what) == 1
    path.write_bytes(content.replace(what, what[:-1] + bytes([what[-1] ^ 1])))


def wreck(path: Path, table: str) -> None:
    """Overwrite the first page of a table or index, the rest staying whole."""
    with closing(sqlite3.connect(path)) as db, db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 16384)
        file.write(b"\xa5" * 16384)


async def test_flipped_bytes_are_a_miss(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture
) -> None:
    """A byte changed inside a value, which SQLite does not see, is seen and the row removed."""
    cache = make()
    await cache.put_many({"a": b"a paid answer", "b": b"another one"})
    size = (await cache.stats()).bytes
    await cache.close()
    flip(cache.path, b"a paid answer")
    assert await cache.get_many(["a", "b"]) == {"b": b"another one"}
    stats = await cache.stats()
    assert (stats.entries, stats.hits, stats.misses) == (1, 1, 1)
    assert stats.bytes == size - len(b"a paid answer") - 96
    assert await cache.get_many(["a"]) == {}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    await cache.put_many({"a": b"bought again"})
    assert await cache.get_many(["a"]) == {"a": b"bought again"}


@pytest.mark.parametrize(
    "change",
    [
        "(value, checksum) = (SELECT value, checksum FROM entries WHERE key = 'b')",
        "value = CAST(x'ff80' AS TEXT)",
        "value = 5",
        "checksum = 'text'",
        "checksum = x''",
    ],
    ids=["another key's answer", "text that is no UTF-8", "a number", "checksum as text", "no checksum"],
)
async def test_a_changed_row_is_never_an_answer(make: Callable[..., DiskCache], change: str) -> None:
    """Whatever somebody writes into a row, it is a miss, and the cache goes on."""
    cache = make()
    await cache.put_many({"a": b"1", "b": b"2"})
    with closing(sqlite3.connect(cache.path)) as db, db:
        db.execute(f"UPDATE entries SET {change} WHERE key = 'a'")
    db.close()
    assert await cache.get_many(["a", "b"]) == {"b": b"2"}
    assert (await cache.stats()).entries == 1


@pytest.mark.parametrize(
    "content",
    [b"no database at all, but long enough " * 50, b"short", b"SQLite format 3\0" + b"\xff" * 5_000],
)
async def test_what_is_no_database_is_set_aside(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """The file is renamed with the time, not removed, with one warning, and a new cache started."""
    cache = make()
    cache.path.parent.mkdir()
    cache.path.write_bytes(content)
    assert await cache.get_many(["a"]) == {}
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}
    aside = cache.path.with_name("answers.sqlite3.corrupt-1700000000")
    assert aside.read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert aside.name in caplog.text


async def test_an_empty_file_is_a_new_cache(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture
) -> None:
    """A process that died while it made the file leaves nothing to set aside."""
    cache = make()
    cache.path.parent.mkdir()
    cache.path.touch()
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}
    assert caplog.records == []


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE other (x)",
        "CREATE TABLE entries (id); CREATE TABLE totals (entries, bytes); PRAGMA user_version = 1",
        "CREATE TABLE other (x); PRAGMA user_version = 1",
        "CREATE TABLE other (x); PRAGMA user_version = -7",
    ],
)
async def test_a_foreign_database_is_set_aside(make: Callable[..., DiskCache], script: str) -> None:
    """A database without our tables is kept under another name."""
    cache = make()
    cache.path.parent.mkdir()
    with closing(sqlite3.connect(cache.path)) as db, db:
        db.executescript(script)
    db.close()
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}
    assert cache.path.with_name("answers.sqlite3.corrupt-1700000000").exists()


@pytest.mark.parametrize("table", ["entries", "entries_key", "totals"])
async def test_damaged_pages_are_set_aside(
    make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """Pages that make no sense are found on opening or by the verb that meets them, which is done again."""
    cache = make()
    await cache.put_many(dict.fromkeys(hashes(2_000), b"x" * 200))
    await cache.close()
    wreck(cache.path, table)
    await cache.put_many({"new": b"1"})
    assert await cache.get_many([*hashes(2_000), "new"]) == {"new": b"1"}
    assert len([name for name in names(cache.path.parent) if name.endswith(".corrupt-1700000000")]) == 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("words", "damaged"),
    [
        (b"CREATE TABLE totals", b"CREATE TABLE \xff\xfetals"),
        (b"CREATE TABLE totals (", b"CREATE TABLE totals \x9e"),
        (b"tabletotalstotals", b"table\xfe\xfetalstotals"),
        (b"tabletotalstotals", b"\xfe\xfebletotalstotals"),
    ],
)
async def test_a_scheme_that_is_no_text_is_set_aside(
    make: Callable[..., DiskCache], words: bytes, damaged: bytes
) -> None:
    """SQLite quotes what it cannot read, and Python cannot read the quotation: damage all the same."""
    cache = make()
    await cache.put_many({"a": b"1"})
    await cache.close()
    content = cache.path.read_bytes()
    assert content.count(words) == 1
    cache.path.write_bytes(content.replace(words, damaged))
    assert await cache.get_many(["a"]) == {}
    assert cache.path.with_name("answers.sqlite3.corrupt-1700000000").exists()


async def test_two_damaged_files_in_a_second(make: Callable[..., DiskCache]) -> None:
    """Setting aside never overwrites what was set aside before."""
    cache = make()
    for content in (b"first " * 200, b"second " * 200):
        await cache.close()
        cache.path.parent.mkdir(exist_ok=True)
        cache.path.write_bytes(content)
        await cache.get_many(["a"])
    stem = "answers.sqlite3.corrupt-"
    assert cache.path.with_name(f"{stem}1700000000").read_bytes() == b"first " * 200
    assert cache.path.with_name(f"{stem}1700000001").read_bytes() == b"second " * 200


async def test_a_newer_scheme_is_refused(make: Callable[..., DiskCache]) -> None:
    """A file of a later fastbatch is neither misread nor set aside."""
    cache = make()
    await cache.put_many({"a": b"1"})
    await cache.close()
    with closing(sqlite3.connect(cache.path)) as db, db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(CacheError, match="newer fastbatch"):
        await cache.get_many(["a"])
    assert names(cache.path.parent) == ["answers.sqlite3", "answers.sqlite3.lock"]


async def test_file_system_errors_are_cache_errors(tmp_path: Path) -> None:
    """No `sqlite3` or `OSError` comes out; the message names the file."""
    (tmp_path / "file").write_text("")
    (tmp_path / "d" / "answers.sqlite3").mkdir(parents=True)
    for directory in (tmp_path / "file", tmp_path / "d"):
        cache = DiskCache(directory)
        with pytest.raises(CacheError, match=str(directory)):
            await cache.get_many(["a"])
        await cache.close()


# What somebody wrote into the tables -> whether the file is set aside for it.
STRANGE = {
    "no totals": ("DELETE FROM totals", True),
    "totals twice": ("INSERT INTO totals VALUES (1, 1)", True),
    "totals as text": ("UPDATE totals SET bytes = 'many'", True),
    "totals as bytes": ("UPDATE totals SET entries = x'ff'", True),
    "totals with a fraction": ("UPDATE totals SET bytes = 1.5", True),
    "totals below zero": ("UPDATE totals SET entries = -7, bytes = -5", True),
    "totals at the bound": ("UPDATE totals SET entries = 9223372036854775807, bytes = entries", True),
    "no index": ("DROP INDEX entries_key", True),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END", True),
    "a view": ("ALTER TABLE entries RENAME TO e; CREATE VIEW entries AS SELECT * FROM e", True),
    "a time as text": ("UPDATE entries SET stored = 'soon'", False),
    "a time as bytes": ("UPDATE entries SET stored = x'00'", False),
    "values as numbers": ("UPDATE entries SET value = 5.5", False),
    "a key as a number": ("UPDATE entries SET key = 5 WHERE key = 'a'", False),
    "a key that is no text": ("UPDATE entries SET key = CAST(x'ff80' AS TEXT) WHERE key = 'a'", False),
    "the largest id": ("UPDATE entries SET id = 9223372036854775807 WHERE key = 'a'", False),
    "a column more": ("ALTER TABLE entries ADD COLUMN more NOT NULL DEFAULT 1", False),
    "a table more": ("CREATE TABLE more (x)", False),
}


@pytest.mark.parametrize("options", [{}, {"max_bytes": 250, "when_full": "evict"}, {"max_bytes": 10_000}])
@pytest.mark.parametrize("opened", [False, True], ids=["shut", "open"])
@pytest.mark.parametrize("strange", STRANGE)
async def test_strange_content_costs_entries_only(
    make: Callable[..., DiskCache],
    caplog: pytest.LogCaptureFixture,
    strange: str,
    opened: bool,
    options: dict[str, object],
) -> None:
    """Whatever stands in the tables: every verb goes on, and what is found is what was stored."""
    script, aside = STRANGE[strange]
    stored = {"a": b"1", "b": b"2", "new": b"3"}
    cache = make(**options)
    await cache.put_many({"a": b"1", "b": b"2"})
    if not opened:
        await cache.close()
    with closing(sqlite3.connect(cache.path)) as db:
        db.executescript(script)
    for _ in range(2):
        assert (await cache.get_many([*stored])).items() <= stored.items()
        try:
            await cache.put_many({"new": b"3"})
        except CacheError:
            assert opened  # of a scheme that changed meanwhile it is told when the cache is opened again
        stats = await cache.stats()
        assert (type(stats.entries), type(stats.bytes)) == (int, int)
        assert stats.oldest in (None, NOW)
        await cache.close()
    assert (await cache.get_many(["new"])).items() <= {"new": b"3"}.items()
    found = list(cache.path.parent.glob("*.corrupt-1700000000"))
    assert len(found) == (1 if aside else 0)
    assert len([record for record in caplog.records if "set aside" in record.message]) == len(found)
    assert await cache.prune(max_bytes=0) >= 0
    assert await cache.clear() == 0
    await cache.put_many({"a": b"1"})
    assert await cache.get_many(["a"]) == {"a": b"1"}


def renumber(path: Path, old: int, new: int) -> None:
    """Give an entry another id without moving it, which only damage can do; all are small and on one page."""
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'").fetchone()
    content = bytearray(path.read_bytes())
    page = (root - 1) * 16384
    assert content[page] == 13  # a leaf of a table
    for cell in range(int.from_bytes(content[page + 3 : page + 5])):
        start = page + int.from_bytes(content[page + 8 + 2 * cell : page + 10 + 2 * cell])
        if content[start + 1] == old:  # after the length, both of one byte
            content[start + 1] = new
    path.write_bytes(content)


@pytest.mark.parametrize("bounds", [{"older_than": -1}, {"max_bytes": 0}], ids=["by age", "by size"])
async def test_pruning_ends(make: Callable[..., DiskCache], bounds: dict[str, int]) -> None:
    """Entries that do not stand in their order set the file aside; walking them would go round for ever."""
    cache = make()
    await cache.put_many(dict.fromkeys(hashes(60), b"x"))
    await cache.close()
    renumber(cache.path, 60, 5)
    assert await cache.prune(**bounds) == 0
    assert cache.path.with_name("answers.sqlite3.corrupt-1700000000").exists()


async def test_evicting_from_disorder_sets_aside(make: Callable[..., DiskCache]) -> None:
    """Making room is a walk as well."""
    cache = make(max_bytes=6_000, when_full="evict")
    await cache.put_many(dict.fromkeys(hashes(60), b"x"))
    await cache.close()
    renumber(cache.path, 60, 5)
    await cache.put_many({"new": b"x" * 5_900})
    assert await cache.get_many(["new"]) == {"new": b"x" * 5_900}
    assert cache.path.with_name("answers.sqlite3.corrupt-1700000000").exists()


async def filled(cache: DiskCache) -> dict[str, bytes]:
    """What is stored in a cache of about twenty pages, closed again."""
    stored = {key: key.encode() * 40 for key in hashes(200)}
    await cache.put_many(stored)
    await cache.close()
    return stored


async def test_cut_off_anywhere(make: Callable[..., DiskCache], caplog: pytest.LogCaptureFixture) -> None:
    """A file of any length below its own gives what is whole, is set aside once at most, and used again."""
    cache = make()
    stored = await filled(cache)
    whole = cache.path.read_bytes()
    dice = random.Random(5)
    for length in [0, 1, 16, 99, 100, 512, 16_383, 16_384, *(dice.randrange(len(whole)) for _ in range(30))]:
        caplog.clear()
        cache.path.write_bytes(whole[:length])
        assert (await cache.get_many(list(stored))).items() <= stored.items()
        await cache.put_many({"new": b"1"})
        assert await cache.get_many(["new"]) == {"new": b"1"}
        assert len(caplog.records) <= 1
        await cache.close()


async def test_a_log_cut_off_in_use(make: Callable[..., DiskCache]) -> None:
    """What is missing under an open cache is damage, not a disk that fails: it goes on with a new file."""
    first, second = make(), make()
    stored = {key: key.encode() * 40 for key in hashes(200)}
    await first.put_many(stored)
    await second.get_many(["a"])
    os.truncate(first.path.with_name(first.path.name + "-wal"), 5_000)
    for cache in (second, first, second):
        assert (await cache.get_many(list(stored))).items() <= stored.items()
        await cache.put_many({"new": b"1"})
        assert await cache.get_many(["new"]) == {"new": b"1"}
    assert first.path.with_name("answers.sqlite3.corrupt-1700000000").exists()


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"SQLite format 3\0"])
async def test_any_page_overwritten(make: Callable[..., DiskCache], filling: bytes) -> None:
    """Whichever page is lost, what is found is right, and what is stored afterwards is found."""
    cache = make()
    stored = await filled(cache)
    whole = cache.path.read_bytes()
    for start in range(0, len(whole), 16_384):
        page = (filling * 16_384)[:16_384]
        cache.path.write_bytes(whole[:start] + page + whole[start + 16_384 :])
        assert (await cache.get_many(list(stored))).items() <= stored.items()
        await cache.put_many({"new": b"1"})
        assert await cache.get_many(["new"]) == {"new": b"1"}
        await cache.close()


IN_PLACE: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere": lambda path: path.symlink_to("no/such/file"),
    "a full disk": lambda path: path.symlink_to("/dev/full"),
}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
@pytest.mark.parametrize("thing", IN_PLACE)
async def test_something_else_in_a_files_place(
    make: Callable[..., DiskCache], thing: str, suffix: str
) -> None:
    """What is no file is a `CacheError` that names the place, at once, or does no harm."""
    if thing == "a full disk" and not suffix:
        pytest.skip("the log would stand beside the device")
    cache = make()
    await filled(cache)
    path = cache.path.with_name(cache.path.name + suffix)
    path.unlink(missing_ok=True)
    IN_PLACE[thing](path)
    try:
        await cache.put_many({"a": b"1"})
        assert await cache.get_many(["a"]) == {"a": b"1"}
    except CacheError as error:
        assert str(cache.path.parent) in str(error)
    else:
        assert suffix in ("-shm", ".lock")
    await cache.close()


async def test_a_socket_in_its_place(make: Callable[..., DiskCache], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a socket a database."""
    cache = make()
    cache.path.parent.mkdir()
    monkeypatch.chdir(cache.path.parent)  # the length of a socket's path has a bound
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(cache.path.name)
        with pytest.raises(CacheError):
            await cache.get_many(["a"])


class Bomb:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("column", ["key", "value", "stored", "checksum"])
async def test_a_planted_pickle_is_bytes(make: Callable[..., DiskCache], tmp_path: Path, column: str) -> None:
    """A pickle in any column, and beside the file, is a miss or opaque bytes; it is never run."""
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    cache = make()
    await cache.put_many({"a": b"1", "bomb": bomb})
    with closing(sqlite3.connect(cache.path)) as db, db:
        db.execute(f"UPDATE entries SET {column} = ? WHERE key = 'a'", (bomb,))
    for name in ("a.pkl", "answers.pickle", "cache.db"):
        (cache.path.parent / name).write_bytes(bomb)
    found = await cache.get_many(["a", "bomb"])
    assert found.pop("bomb") == bomb
    assert found in ({}, {"a": b"1"})
    await cache.stats()
    await cache.prune(older_than=-1)
    await cache.clear()
    assert not (tmp_path / "exploded").exists()
