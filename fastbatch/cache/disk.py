"""The standard cache: one SQLite file in a directory of its own."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastbatch.cache.admission import WhenFull
from fastbatch.cache.base import CacheStats, positive
from fastbatch.cache.claims import Claims
from fastbatch.cache.store import Store
from fastbatch.cache.worker import PerProcess, Worker
from fastbatch.errors import ConfigError

__all__ = ["FILE_NAME", "DiskCache"]

FILE_NAME = "answers.sqlite3"
_CLAIMS = "answers.claims"


class DiskCache:
    """Answers kept in `directory`, for any number of runs, event loops and processes at once.

    Nothing is touched before the first verb, which makes the directory (mode 0700) and the file (0600).

    Args:
        directory: where the file is; `~` is understood.
        ttl: seconds after which an entry is a miss for this object; None for never.
        max_bytes: bound on `stats().bytes`; None for none.
        when_full: "stop" refuses new entries with one warning; "evict" drops those stored longest ago, with a
            warning as well.
        time: a clock in unix seconds.

    Raises:
        ConfigError: `ttl`, `max_bytes` or `when_full` has an impossible value.

    >>> cache = DiskCache("~/.cache/fastbatch", ttl=30 * 86400)
    >>> cache.path.name
    'answers.sqlite3'
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        ttl: float | None = None,
        max_bytes: int | None = None,
        when_full: WhenFull = "stop",
        time: Callable[[], float] = clock.time,
    ) -> None:
        positive("ttl", ttl)
        positive("max_bytes", max_bytes)
        self._given = (ttl, max_bytes, when_full, time)
        if when_full not in ("stop", "evict"):
            raise ConfigError('must be "stop" or "evict"', key="when_full", value=when_full)
        self.path = Path(directory).expanduser() / FILE_NAME
        self._rooms = PerProcess(
            lambda: (Worker("fastbatch-cache"), Store(self.path, ttl, max_bytes, when_full, time))
        )
        self._claims = PerProcess(lambda: Claims(self.path.with_name(_CLAIMS)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same directory for itself."""
        ttl, max_bytes, when_full, time = self._given
        folder = self.path.parent
        return partial(DiskCache, folder, ttl=ttl, max_bytes=max_bytes, when_full=when_full, time=time), ()

    def __repr__(self) -> str:
        return f"DiskCache({str(self.path.parent)!r})"

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those `keys` that are stored, not expired and not damaged.

        Raises:
            CacheError: the file cannot be read.
        """
        if not keys:
            return {}
        worker, store = self._rooms.here()
        claims = self._claims.here()

        def look() -> dict[str, bytes]:
            found = store.get(tuple(keys))
            claims.open()  # in this thread: it makes files, which `claim_many` seldom has to
            return found

        return await worker.call(look)

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Store `entries`, 1,000 in a transaction; done even when the waiting task is cancelled.

        Raises:
            CacheError: the file cannot be written.
        """
        if not entries:
            return
        worker, store = self._rooms.here()
        await worker.call(partial(store.put, list(entries.items())))

    def claim_many(self, keys: Collection[str]) -> set[str] | None:
        """Those of `keys` that nobody else who shares this directory is asking, and the caller from now on.

        None where there are no such locks: on systems other than Linux, and on some file systems.
        """
        return self._claims.here().take(keys)

    def release_many(self, keys: Collection[str]) -> None:
        """Let go of `keys`, which the caller had claimed."""
        self._claims.here().release(keys)

    async def stats(self) -> CacheStats:
        """Size of the file's content, and this object's own hits, misses, puts and refusals.

        Raises:
            CacheError: the file cannot be read.
        """
        worker, store = self._rooms.here()
        return await worker.call(store.stats)

    async def clear(self) -> int:
        """Remove all entries and give the space back to the file system.

        Raises:
            CacheError: the file cannot be written.
        """
        worker, store = self._rooms.here()
        return await worker.call(store.clear)

    async def prune(self, *, older_than: float | None = None, max_bytes: int | None = None) -> int:
        """Remove expired entries, those stored more than `older_than` seconds ago, then those stored first
        until `stats().bytes <= max_bytes`, and give the space back.

        Raises:
            CacheError: the file cannot be written.
        """
        worker, store = self._rooms.here()
        return await worker.call(partial(store.prune, older_than, max_bytes))

    async def close(self) -> None:
        """Close the file and end the thread, after everything that was handed in.

        Claims are kept until they are released: they belong to runs that go on.
        """
        worker, store = self._rooms.here()
        claims = self._claims.here()
        claims.close()

        def last() -> None:
            store.close()
            claims.close()  # a lookup that nobody waited for may have opened them again

        await worker.close(last)
