"""The database file: its scheme, how a connection to it begins, and what its errors mean.

    entries  id (order of storing), key (packed, unique), stored (unix seconds), checksum (8 bytes), value
    totals   one row: entries, bytes; changed in the same transaction as the entries

Measured with 1 KB values: a rowid table with a unique index stores at 3 µs a row where WITHOUT ROWID needs
26, because only the small index is shuffled by the hashes and the values are appended.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from fastbatch.cache.patience import nap
from fastbatch.errors import CacheError

__all__ = ["BUSY_TIMEOUT", "SCHEME", "Busy", "Damaged", "connect", "patiently", "totals", "translated"]

T = TypeVar("T")

SCHEME = 1  # PRAGMA user_version; raise it with every change that an older fastbatch would misread

BUSY_TIMEOUT = 60.0  # seconds; our own transactions take milliseconds, so only a stopped process gets there
_BUSY_STEP = 0.1  # seconds that SQLite itself waits, which nothing can interrupt

_OF_A_NEW_FILE = (
    "PRAGMA page_size = 16384",  # fewer and larger steps for values of some KB
    # Pruning gives space back without rewriting the file. Set again it would be written again, and a full
    # disk could not even be read.
    "PRAGMA auto_vacuum = INCREMENTAL",
)

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # after a power cut the last transactions may be gone, the file is whole
    # The log grows to 64 MB before it is carried over: hashes touch most pages of the index in each
    # transaction, and the default of 1,000 pages wrote the same ones again and again (20 to 25 µs a row at
    # 200,000 rows; 15 with 4,000).
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -4096",  # KiB; more took memory and saved no time at 100,000 rows
    "PRAGMA temp_store = MEMORY",
    # What is in the file may have been written by anybody (https://www.sqlite.org/security.html): pages are
    # checked as they are read, and nothing in the scheme may call a function with effects.
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)

_OURS = {("table", "entries"), ("index", "entries_key"), ("table", "totals")}

_SCHEMA = (
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, key BLOB NOT NULL, stored REAL NOT NULL,"
    " checksum BLOB NOT NULL, value BLOB NOT NULL)",
    "CREATE UNIQUE INDEX entries_key ON entries (key)",
    "CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    f"PRAGMA user_version = {SCHEME}",
)


class Damaged(CacheError):
    """The file is no database, not ours, or contradicts itself; it must be set aside."""


class Busy(CacheError):
    """Another program holds the file at this moment; between ourselves `FileLock` sees to that."""


# A part of the file that must be there is missing: somebody cut it off. The other errors of reading and
# writing are the disk's, and say nothing about the file.
_CUT_OFF = sqlite3.SQLITE_IOERR_SHORT_READ


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into ours; this is the only place that does.

    Raises:
        Damaged: the file must be set aside.
        Busy: another program holds it.
        CacheError: anything else: disk full, no permission, no locks on this file system.
    """
    try:
        yield
    except sqlite3.Error as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF  # the low byte is the primary code
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy(f"the cache {path}: another program holds it") from error
        damage = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or extended == _CUT_OFF
        raise (Damaged if damage else CacheError)(f"the cache {path}: {error}") from error
    except UnicodeDecodeError as error:  # in place of an error whose message quotes what is no text
        raise Damaged(f"the cache {path}: its scheme is damaged") from error
    except OSError as error:
        raise CacheError(f"the cache {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise CacheError(f"the cache {path}: out of memory") from error


def patiently(path: Path, work: Callable[[], T]) -> T:
    """The result of `work`, done again while another program holds the database at `path`.

    Raises:
        Busy: it was held for `BUSY_TIMEOUT`, or this thread was told to hurry.
        CacheError: as `translated`.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            with translated(path):
                return work()
        except Busy:
            if time.monotonic() >= deadline or nap(0.01):
                raise


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at `path`, made with mode 0600 if it is not there. The caller holds the lock.

    Raises:
        CacheError: it was written by a newer fastbatch, or cannot be opened.
        Damaged: it must be set aside.
    """
    with translated(path):
        with suppress(FileExistsError):
            # Only ever to create it: opening an existing database beside SQLite, and closing that descriptor,
            # drops the locks of this process's other connections to it (howtocorrupt.html, section 2.2).
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, timeout=_BUSY_STEP, isolation_level=None)
        try:
            # Only a damaged row holds text that is no UTF-8, and its checksum will say so.
            db.text_factory = lambda text: text.decode("utf-8", "replace")
            if _is_new(db, path):
                _prepare(db, _OF_A_NEW_FILE + _SETTINGS)
                _create(db)
            else:
                _prepare(db, _SETTINGS)
                _probe(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEME:
        raise CacheError(
            f"the cache {path} was written by a newer fastbatch (scheme {version}, this one knows {SCHEME});"
            " update fastbatch, or name another directory"
        )
    objects = set(db.execute("SELECT type, name FROM sqlite_master"))
    # An index or a table more does no harm; a trigger or a view would do what somebody else has thought of.
    strange = any(kind not in ("table", "index") for kind, _ in objects)
    if objects and (version != SCHEME or strange or not objects >= _OURS):
        raise Damaged(f"the cache {path}: a database, but not one of fastbatch")
    return not objects


def _prepare(db: sqlite3.Connection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        db.execute(setting).fetchall()


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute("COMMIT")


def _probe(db: sqlite3.Connection, path: Path) -> None:
    try:
        db.execute("SELECT id, key, stored, checksum, value FROM entries LIMIT 1").fetchall()
        totals(db)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise  # the plain code is "no such table" or "no such column"; others are not about the file
        raise Damaged(f"the cache {path}: {error}") from error


def totals(db: sqlite3.Connection) -> tuple[int, int]:
    """How many entries there are, and their bytes.

    Raises:
        Damaged: that is not known any more.
    """
    rows = db.execute("SELECT entries, bytes FROM totals").fetchall()
    for entries, size in rows if len(rows) == 1 else ():
        if type(entries) is int and type(size) is int and entries >= 0 and size >= 0:
            return entries, size
    raise Damaged("the cache is damaged: its totals are lost")
