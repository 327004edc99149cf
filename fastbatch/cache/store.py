"""The entries of a cache on disk, as plain blocking code for one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from fastbatch.cache.admission import ENTRY_BYTES, WhenFull, admit
from fastbatch.cache.base import CacheStats
from fastbatch.cache.database import Database
from fastbatch.cache.keys import checksum, pack_many
from fastbatch.cache.pruning import GROW, SIZE, drop_first, drop_old, drop_to
from fastbatch.cache.schema import Damaged, patiently, totals, translated

__all__ = ["Store"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READ_BLOCK = 512  # keys in one SELECT, the engine's own step, so that its call is one statement
_WRITE_BLOCK = 1000  # entries in one transaction: 3 µs a row where one by one needs 34 and more
_ABSENT = 20_000  # keys that are remembered as not stored

_NEVER = float("-inf")

Row = tuple[bytes | str, float, bytes, bytes]  # packed key, stored, checksum, value
Bound = tuple[bytearray | str, float, bytearray, bytearray]

_INSERT = "INSERT INTO entries (key, stored, checksum, value) VALUES (?, ?, ?, ?)"
_INSERT_NEW = "INSERT OR IGNORE INTO entries (key, stored, checksum, value) VALUES (?, ?, ?, ?)"


def _bound(rows: Sequence[Row]) -> list[Bound]:
    """Rows as parameters.

    For `bytes` the `sqlite3` module looks for an adapter, and fails to find one by an exception inside; for
    `bytearray` it does not (`need_adapt` in CPython's Modules/_sqlite/statement.c). A copy costs less.
    """
    copy = bytearray
    return [
        (copy(key) if type(key) is bytes else key, stored, copy(expected), copy(value))  # type: ignore[misc]
        for key, stored, expected, value in rows
    ]


@cache  # by the number of keys: at most a thousand texts, and SQLite keeps what it compiled by the text
def _select(columns: str, keys: int) -> str:
    return f"SELECT {columns} FROM entries WHERE key IN ({','.join('?' * keys)})"


class Store:
    """One SQLite file, opened by the first verb; every verb may raise `CacheError`.

    Damage costs entries and not the run: the file is set aside, and the verb done again with a new one.
    """

    def __init__(
        self,
        path: Path,
        ttl: float | None,
        max_bytes: int | None,
        when_full: WhenFull,
        time: Callable[[], float],
    ) -> None:
        self._path = path
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._time = time
        self._database: Database | None = None
        self._hits = self._misses = self._puts = self._refused = 0
        self._absent: set[str] = set()  # not stored when they were looked up, nor by this object since then
        self._seen = -1  # what others had written when that was
        self._said: set[str] = set()

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The stored values of `keys` that are neither expired nor damaged.

        What was not there is not looked for again while nobody writes: who claims keys asks twice.
        """
        found = self._run(lambda database: patiently(self._path, partial(self._get, database, keys)))
        hits = sum(map(found.__contains__, keys))
        self._hits += hits
        self._misses += len(keys) - hits
        return found

    def put(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Store `entries` (distinct keys), 1,000 in a transaction.

        In the order of their keys, so that each page of a large index is written once.
        """
        now = self._time()
        entries = sorted(entries)
        self._absent.difference_update([key for key, _ in entries])
        for start in range(0, len(entries), _WRITE_BLOCK):
            rows: list[Row] = []
            block = entries[start : start + _WRITE_BLOCK]
            keys = pack_many([key for key, _ in block])
            for packed, (_, value) in zip(keys, block, strict=True):
                rows.append((packed, now, checksum(packed, value), value))
            refused = self._run(partial(self._put, rows=rows))
            self._puts += len(rows) - refused
            self._refused += refused

    def stats(self) -> CacheStats:
        """Size and use."""
        return self._run(lambda database: patiently(self._path, partial(self._stats, database)))

    def clear(self) -> int:
        """Remove everything and give the space back."""
        return self._run(self._clear)

    def prune(self, older_than: float | None, max_bytes: int | None) -> int:
        """Remove expired and old entries, then the first stored down to `max_bytes`; give the space back."""
        return self._run(partial(self._prune, older_than=older_than, max_bytes=max_bytes))

    def close(self) -> None:
        """Close the file if it is open."""
        database, self._database = self._database, None
        if database is not None:
            with translated(self._path):
                database.close()

    def _run(self, work: Callable[[Database], T]) -> T:
        try:
            return self._once(work)
        except Damaged as error:
            database, self._database = self._database, None
            if database is not None:
                with translated(self._path):
                    database.set_aside(error)
            return self._once(work)

    def _once(self, work: Callable[[Database], T]) -> T:
        with translated(self._path):
            # What is written to a file that was removed or set aside meanwhile would be lost; a stat is 2 µs.
            if self._database is not None and self._database.moved():
                self.close()
            if self._database is None:
                self._database = Database(self._path, self._time)
                self._absent.clear()
            return work(self._database)

    def _expiry(self) -> float:
        return _NEVER if self._ttl is None else self._time() - self._ttl

    def _get(self, database: Database, keys: Sequence[str]) -> dict[str, bytes]:
        absent, written = self._absent, database.written_by_others()
        if written != self._seen or len(absent) > _ABSENT:
            self._seen = written
            absent.clear()
        keys = [key for key in keys if key not in absent] if absent else keys
        if not keys:
            return {}
        wanted = dict(zip(pack_many(keys), keys, strict=True))
        packed = list(wanted)
        expired = self._expiry()
        found: dict[str, bytes] = {}
        damaged: list[int] = []
        for start in range(0, len(packed), _READ_BLOCK):
            block = packed[start : start + _READ_BLOCK]
            sql = _select("key, checksum, value, id", len(block)) + " AND stored > ?"
            asked = [bytearray(key) if type(key) is bytes else key for key in block]  # as `_bound`
            for key, expected, value, number in database.connection.execute(sql, [*asked, expired]):
                if type(value) is bytes and checksum(key, value) == expected:
                    found[wanted[key]] = value
                else:
                    damaged.append(number)
        if damaged:
            self._discard(database, damaged)
        absent.update(keys)
        absent.difference_update(found)
        return found

    def _discard(self, database: Database, damaged: Sequence[int]) -> None:
        with database.transaction() as db:
            for number in damaged:
                # looked at again: since it was read, another process may have stored it anew
                found = db.execute(
                    f"SELECT key, checksum, value, {SIZE} FROM entries WHERE id = ?", (number,)
                )
                for key, expected, value, size in found.fetchall():
                    if (
                        type(key) in (bytes, str)
                        and type(value) is bytes
                        and checksum(key, value) == expected
                    ):
                        continue
                    db.execute("DELETE FROM entries WHERE id = ?", (number,))
                    db.execute(GROW, (-1, -size))
        self._warn_once("the cache %s: damaged entries were found, and removed", self._path)

    def _put(self, database: Database, rows: Sequence[Row]) -> int:
        """Store what there is room for; how many were refused."""
        if self._put_new(database, rows):
            return 0
        position = {row[0]: number for number, row in enumerate(rows)}
        with database.transaction() as db:
            ids: dict[int, int] = {}
            replaced: dict[int, int] = {}
            for key, number, size in db.execute(_select(f"key, id, {SIZE}", len(rows)), list(position)):
                ids[position[key]] = number
                replaced[position[key]] = size
            _, total = totals(db)
            sizes = [len(row[3]) + ENTRY_BYTES for row in rows]
            plan = admit(sizes, replaced, total, self._max_bytes, self._when_full)
            stored = plan.stored
            gone = [(ids[number],) for number in stored if number in ids]
            db.executemany("DELETE FROM entries WHERE id = ?", gone)
            evicted, freed = drop_first(db, plan.evict) if plan.evict else (0, 0)
            db.executemany(_INSERT, _bound(rows if not plan.refused else [rows[number] for number in stored]))
            db.execute(GROW, (len(stored) - len(gone) - evicted, plan.growth - freed))
        if plan.refused:
            self._warn_once(
                "the cache %s is full (%d bytes of %d): answers are not stored; raise max_bytes, or run"
                " `fastbatch cache prune`",
                self._path,
                total,
                self._max_bytes,
            )
        if evicted:
            self._warn_once("the cache %s is full (%d bytes): old answers are dropped", self._path, total)
            logger.info("the cache %s: %d answers dropped to make room", self._path, evicted)
        return plan.refused

    def _put_new(self, database: Database, rows: Sequence[Row]) -> bool:
        """Store `rows` where all of them are new and there is room, as nearly always; else store nothing."""
        grown = sum([len(row[3]) for row in rows]) + len(rows) * ENTRY_BYTES
        with database.transaction() as db:
            _, total = totals(db)
            if self._max_bytes is not None and total + grown > self._max_bytes:
                return False
            db.execute("SAVEPOINT new")
            if db.executemany(_INSERT_NEW, _bound(rows)).rowcount != len(rows):
                db.execute("ROLLBACK TO new")
                return False
            db.execute(GROW, (len(rows), grown))
        return True

    def _stats(self, database: Database) -> CacheStats:
        db = database.connection
        entries, size = totals(db)
        first = db.execute("SELECT stored FROM entries ORDER BY id LIMIT 1").fetchone()
        return CacheStats(
            entries=entries,
            bytes=size,
            max_bytes=self._max_bytes,
            hits=self._hits,
            misses=self._misses,
            puts=self._puts,
            refused=self._refused,
            oldest=first[0] if first and type(first[0]) is float else None,
            location=str(self._path),
        )

    def _clear(self, database: Database) -> int:
        with database.transaction() as db:
            removed = db.execute("DELETE FROM entries").rowcount
            db.execute("UPDATE totals SET entries = 0, bytes = 0")
        database.shrink()
        return removed

    def _prune(self, database: Database, older_than: float | None, max_bytes: int | None) -> int:
        cutoff = _NEVER if older_than is None else self._time() - older_than
        removed = drop_old(database, self._expiry(), cutoff)
        if max_bytes is not None:
            removed += drop_to(database, max_bytes)
        if removed:
            database.shrink()
        return removed

    def _warn_once(self, text: str, *values: object) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.warning(text, *values)
