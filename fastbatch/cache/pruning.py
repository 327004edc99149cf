"""Removing entries from the database, and counting them off."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from fastbatch.cache.admission import ENTRY_BYTES
from fastbatch.cache.database import Database
from fastbatch.cache.schema import Damaged, totals

__all__ = ["GROW", "SIZE", "drop_first", "drop_old", "drop_to"]

# Not below zero: the size of a damaged entry is not what was counted when it came.
GROW = "UPDATE totals SET entries = max(0, entries + ?), bytes = max(0, bytes + ?)"
SIZE = f"coalesce(length(value), 0) + {ENTRY_BYTES}"  # bytes of one entry, overhead included

_OLD = "(stored <= ? OR stored < ?)"  # expired, or older than asked for
_DISORDER = "the cache is damaged: its entries do not stand in their order"
_BLOCK = 2000  # entries in one transaction, so that others can write in between


def drop_first(db: sqlite3.Connection, need: int, most: int | None = None) -> tuple[int, int]:
    """Remove the entries stored first, at most `most` of them, until `need` bytes are free.

    For use inside a transaction; the totals are left to the caller. Returns how many went, and their bytes.

    Raises:
        Damaged: the entries do not stand in their order.
    """
    count = freed = last = 0
    with closing(db.execute(f"SELECT id, {SIZE} FROM entries ORDER BY id")) as rows:
        for number, size in rows:
            if freed >= need or count == most:
                break
            count, freed, last = count + 1, freed + size, number
    if count:
        _remove(db, "WHERE id <= ?", (last,), count)
    return count, freed


def drop_old(database: Database, expired: float, cutoff: float) -> int:
    """Remove entries stored at `expired` or before, or before `cutoff` (unix seconds); how many there were.

    The whole table is looked through, outside a transaction: a clock that was set back has left younger
    entries in front of older ones.
    """
    removed = last = 0
    select = f"SELECT id FROM entries WHERE id > ? AND {_OLD} ORDER BY id LIMIT {_BLOCK}"
    while found := database.connection.execute(select, (last, expired, cutoff)).fetchall():
        span = (found[0][0], found[-1][0], expired, cutoff)
        where = f"WHERE id BETWEEN ? AND ? AND {_OLD}"  # asked again: others may have written since
        with database.transaction() as db:
            counted = db.execute(f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM entries {where}", span)
            count, size = counted.fetchone()
            _remove(db, where, span, count)
            db.execute(GROW, (-count, -size))
        removed += count
        if found[-1][0] <= last:  # or this would go round and round
            raise Damaged(_DISORDER)
        last = found[-1][0]
    return removed


def drop_to(database: Database, max_bytes: int) -> int:
    """Remove the entries stored first until at most `max_bytes` are left; how many there were."""
    removed = 0
    while True:
        with database.transaction() as db:
            _, total = totals(db)
            count, freed = drop_first(db, total - max_bytes, _BLOCK)
            db.execute(GROW, (-count, -freed))
        removed += count
        if not count:
            return removed


def _remove(db: sqlite3.Connection, where: str, values: Sequence[float], count: int) -> None:
    if db.execute(f"DELETE FROM entries {where}", values).rowcount != count:
        raise Damaged(_DISORDER)
