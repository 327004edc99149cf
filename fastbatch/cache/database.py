"""The open file: one connection, and the lock that orders those who write."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from fastbatch.cache.filelock import FileLock
from fastbatch.cache.schema import BUSY_TIMEOUT, Damaged, connect, patiently, translated
from fastbatch.errors import CacheError

__all__ = ["Database"]

logger = logging.getLogger(__name__)

_SIDE_FILES = ("", "-wal", "-shm")
_CLOSING = 1.0  # seconds to wait for the lock
_VACUUM_PAGES = 2000  # pages given back in one step, 32 MB, so that others can write in between


class Database:
    """The database at `path`, opened; its directory is made with mode 0700. For one thread.

    A damaged file is set aside as `<name>.corrupt-<unix time>` with one warning, and a new one started. It is
    renamed and not removed, because what is in it was paid for and SQLite's `.recover` may get it back.

    Raises:
        CacheError: it cannot be opened, or was written by a newer fastbatch.
    """

    def __init__(self, path: Path, time: Callable[[], float]) -> None:
        self._path = path
        self._time = time
        with translated(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(path.with_name(path.name + ".lock"), BUSY_TIMEOUT)
            try:
                with self._lock:
                    try:
                        self._db = patiently(path, partial(connect, path))
                    except Damaged as error:
                        self._rename(error)
                        self._db = patiently(path, partial(connect, path))
                    self._identity = _identity(path)
            except BaseException:
                self._lock.close()
                raise

    @property
    def connection(self) -> sqlite3.Connection:
        """For reading; whoever writes goes through `transaction`."""
        return self._db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection inside a transaction that nobody else writes beside; undone on any exception."""
        with self._lock:
            patiently(self._path, partial(self._db.execute, "BEGIN IMMEDIATE"))
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has undone it by itself after some errors
                    self._db.execute("ROLLBACK")
                raise

    def shrink(self) -> None:
        """Give free pages back to the file system."""
        free = 1
        while free:
            with self._lock:
                self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
                (left,) = self._db.execute("PRAGMA freelist_count").fetchone()
            free = left if left != free else 0  # a file of another making may not be able to shrink
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def written_by_others(self) -> int:
        """A number that changes when any other connection has written."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(version)

    def moved(self) -> bool:
        """Whether the path no longer leads to this file: removed, or set aside by another process."""
        return _identity(self._path) != self._identity

    def set_aside(self, error: Damaged) -> None:
        """Close, and set the file aside, unless another process already has."""
        try:
            with self._lock:
                self._db.close()
                if not self.moved():
                    self._rename(error)
        finally:
            self._db.close()
            self._lock.close()

    def close(self) -> None:
        """Close; the last connection to a file carries its log over, so this too is done under the lock.

        Where that is not to be had soon, without it: whoever holds it has the file open, and this is not the
        last connection, or is about to open it, and goes on when SQLite has finished here.
        """
        self._lock.timeout = _CLOSING
        try:
            with suppress(CacheError), self._lock:
                self._db.close()
        finally:
            self._db.close()
            self._lock.close()

    def _rename(self, error: Damaged) -> None:
        number = int(self._time())
        while (target := self._path.with_name(f"{self._path.name}.corrupt-{number}")).exists():
            number += 1
        for side in _SIDE_FILES:
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + side).rename(target.with_name(target.name + side))
        logger.warning("%s; it was set aside as %s and a new cache started", error, target.name)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
