"""A cache on the `diskcache` package, for those who already look after such directories."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastbatch.cache.base import CacheStats, positive
from fastbatch.cache.shelf import Shelf
from fastbatch.cache.worker import PerProcess, Worker

__all__ = ["DiskCacheBackend"]


class DiskCacheBackend:
    """Answers in a `diskcache.Cache`, in a `directory` of its own (made with mode 0700).

    Needs the extra `diskcache`. Do not share the directory with other programs: what they stored is a miss
    here, and is removed.

    Slower than `DiskCache` (one statement for each entry) and without its guard against a damaged database
    file, which raises `CacheError` here. Nothing is evicted: at the bound new entries are refused.

    Args:
        directory: where diskcache keeps its database; `~` is understood.
        ttl: seconds after which an entry is a miss for this object; None for never.
        max_bytes: bound on the size on the disk, judged before each `put_many`; None for none.
        time: a clock in unix seconds.

    Raises:
        MissingExtra: diskcache is not installed (when this module is imported).
        ConfigError: `ttl` or `max_bytes` is not above zero.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        ttl: float | None = None,
        max_bytes: int | None = None,
        time: Callable[[], float] = clock.time,
    ) -> None:
        positive("ttl", ttl)
        positive("max_bytes", max_bytes)
        self._directory = Path(directory).expanduser()
        self._given = (ttl, max_bytes, time)
        self._rooms = PerProcess(
            lambda: (Worker("fastbatch-diskcache"), Shelf(self._directory, ttl, max_bytes, time))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same directory for itself."""
        ttl, max_bytes, time = self._given
        return partial(DiskCacheBackend, self._directory, ttl=ttl, max_bytes=max_bytes, time=time), ()

    def __repr__(self) -> str:
        return f"DiskCacheBackend({str(self._directory)!r})"

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those `keys` that are stored, plain bytes, whole and not expired."""
        worker, shelf = self._rooms.here()
        return await worker.call(partial(shelf.get, tuple(keys)))

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Store `entries` in one transaction."""
        worker, shelf = self._rooms.here()
        await worker.call(partial(shelf.put, list(entries.items())))

    async def stats(self) -> CacheStats:
        """Entries, the size on the disk, and this object's own hits, misses, puts and refusals."""
        worker, shelf = self._rooms.here()
        return await worker.call(shelf.stats)

    async def clear(self) -> int:
        """Remove everything, foreign entries of the same directory too."""
        worker, shelf = self._rooms.here()
        return await worker.call(shelf.clear)

    async def prune(self, *, older_than: float | None = None, max_bytes: int | None = None) -> int:
        """Remove expired, old and damaged entries, then the first stored down to `max_bytes` on disk."""
        worker, shelf = self._rooms.here()
        return await worker.call(partial(shelf.prune, older_than, max_bytes))

    async def close(self) -> None:
        """Close the database and end the thread."""
        worker, shelf = self._rooms.here()
        await worker.close(shelf.close)
