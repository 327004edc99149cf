"""A cache in this process's memory."""

from __future__ import annotations

import logging
import threading
import time as clock
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from fastbatch.cache.base import CacheStats, positive

__all__ = ["InMemoryCache"]

logger = logging.getLogger(__name__)

# What CPython 3.11 keeps beside the characters and bytes themselves: str 49, bytes 33, float 24, tuple 56,
# and about 140 for the slot in the ordered dictionary.
_ENTRY_BYTES = 300


class InMemoryCache:
    """Answers kept in memory, the least recently used dropped first; gone when the process ends.

    Args:
        max_bytes: bound on values, keys and their overhead, in bytes.
        ttl: seconds after which an entry is a miss; None for never.
        time: a clock in unix seconds.

    Raises:
        ConfigError: `max_bytes` or `ttl` is not above zero.
    """

    def __init__(
        self,
        max_bytes: int = 256 * 1024**2,
        ttl: float | None = None,
        time: Callable[[], float] = clock.time,
    ) -> None:
        positive("max_bytes", max_bytes)
        positive("ttl", ttl)
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._time = time
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()  # event loops may run in several threads; never held over an await
        self._bytes = 0
        self._hits = self._misses = self._puts = self._refused = 0
        self._evicts = False

    def __reduce__(self) -> NoReturn:
        """Say that it stays here; a copy elsewhere would know nothing of what comes later."""
        raise TypeError("it is kept in the memory of this process; DiskCache can be shared")

    def __repr__(self) -> str:
        return f"InMemoryCache(max_bytes={self._max_bytes})"

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of the stored `keys`; they are now the most recently used."""
        found: dict[str, bytes] = {}
        with self._lock:
            expired = self._expiry()
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                if entry[1] <= expired:
                    self._drop(key)
                    continue
                self._entries.move_to_end(key)
                found[key] = entry[0]
            hits = sum(key in found for key in keys)
            self._hits += hits
            self._misses += len(keys) - hits
        return found

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Store `entries`; a value that alone exceeds the bound is refused."""
        evicted = 0
        with self._lock:
            now = self._time()
            for key, value in entries.items():
                size = _size(key, value)
                if size > self._max_bytes:
                    self._refused += 1
                    continue
                self._drop(key)
                self._entries[key] = (value, now)
                self._bytes += size
                self._puts += 1
                evicted += self._shrink(self._max_bytes)
            first, self._evicts = evicted > 0 and not self._evicts, self._evicts or evicted > 0
        if first:
            logger.warning(
                "the cache in memory is full (%d bytes): the least recently used answers are dropped",
                self._max_bytes,
            )

    async def stats(self) -> CacheStats:
        """Size and use of the cache."""
        with self._lock:
            return CacheStats(
                entries=len(self._entries),
                bytes=self._bytes,
                max_bytes=self._max_bytes,
                hits=self._hits,
                misses=self._misses,
                puts=self._puts,
                refused=self._refused,
                oldest=min((stored for _, stored in self._entries.values()), default=None),
                location="memory",
            )

    async def clear(self) -> int:
        """Remove everything."""
        with self._lock:
            removed = len(self._entries)
            self._entries.clear()
            self._bytes = 0
        return removed

    async def prune(self, *, older_than: float | None = None, max_bytes: int | None = None) -> int:
        """Remove expired and old entries, then the least recently used down to `max_bytes`."""
        with self._lock:
            before = len(self._entries)
            expired = self._expiry()
            cutoff = float("-inf") if older_than is None else self._time() - older_than
            for key, (_, stored) in list(self._entries.items()):
                if stored <= expired or stored < cutoff:
                    self._drop(key)
            if max_bytes is not None:
                self._shrink(max_bytes)
            return before - len(self._entries)

    async def close(self) -> None:
        """Nothing to let go of: what is stored stays until the object goes."""

    def _expiry(self) -> float:
        return float("-inf") if self._ttl is None else self._time() - self._ttl

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[0])

    def _shrink(self, bound: int) -> int:
        dropped = 0
        while self._bytes > bound and self._entries:
            key, (value, _) = self._entries.popitem(last=False)
            self._bytes -= _size(key, value)
            dropped += 1
        return dropped


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _ENTRY_BYTES
