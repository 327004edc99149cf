"""The `diskcache` package, made to refuse pickles: the blocking side of `DiskCacheBackend`.

Every release of diskcache up to 5.6.3 unpickles what it finds in its directory (CVE-2025-69872), with its
own `JSONDisk` too. Here a subclass refuses: a row is bytes inside the database, or it is a miss.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from fastbatch.cache.base import CacheStats
from fastbatch.cache.filelock import FileLock
from fastbatch.cache.keys import checksum, pack
from fastbatch.errors import CacheError, MissingExtra

try:
    import diskcache
except ImportError as missing:
    raise MissingExtra("diskcache", "diskcache") from missing

__all__ = ["Shelf"]

logger = logging.getLogger(__name__)

_NEVER = float("-inf")

_HEADER = struct.Struct("<d8s")  # unix seconds of storing, checksum; before each value
_ALL_INLINE = 2**31 - 1  # bytes below which diskcache keeps a value in the database: no file names to trust
_LOCK = "fastbatch.lock"  # beside the database: orders our own processes better than SQLite does (`FileLock`)
_WAIT, _WAIT_CLOSING = 60.0, 1.0  # seconds, for another process
_REFUSED = object()  # in the place of a key or value that is not plain
_AGE_STEP = 500  # entries removed in one transaction
_SIZE_STEP = 10  # the same between two looks at the size, so that not many more go than must


class _PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores keys and bytes as they are; neither writes nor reads pickles or side files."""

    def put(self, key: Any) -> tuple[Any, bool]:
        if type(key) not in (bytes, str):
            raise TypeError(f"a key is bytes or str, not {type(key).__name__}")
        return super().put(key)  # type: ignore[no-any-return]

    def get(self, key: Any, raw: bool) -> Any:
        return super().get(key, True) if raw else _REFUSED

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> tuple[int, int, None, Any]:
        if type(value) is not bytes or read:
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        return super().store(value, False, key=key)  # type: ignore[no-any-return]

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        plain = mode == diskcache.core.MODE_RAW and filename is None and type(value) is bytes
        return value if plain else _REFUSED

    def remove(self, file_path: str) -> None:
        """Nothing: no row of ours has a file, and a planted name could lead anywhere."""


class Shelf:
    """The verbs of a cache, blocking, for one thread; each may raise `CacheError`."""

    def __init__(
        self, directory: Path, ttl: float | None, max_bytes: int | None, time: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._time = time
        self._cache: Any = None
        self._lock: FileLock | None = None
        self._hits = self._misses = self._puts = self._refused = 0
        self._said_full = False

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The open cache, for reading; whoever writes uses `_locked`."""
        try:
            if self._lock is None:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = FileLock(self._directory / _LOCK, _WAIT)
            if self._cache is None:
                with self._lock:
                    self._cache = diskcache.Cache(
                        str(self._directory),
                        timeout=_WAIT,
                        disk=_PlainDisk,
                        disk_min_file_size=_ALL_INLINE,
                        eviction_policy="none",
                        cull_limit=0,
                    )
            yield self._cache
        except CacheError:
            raise
        # On damaged rows diskcache raises whatever its code runs into.
        except Exception as error:
            why = "another program holds it" if isinstance(error, diskcache.Timeout) else error
            raise CacheError(f"the cache {self._directory}: {why or type(error).__name__}") from error

    @contextmanager
    def _locked(self) -> Iterator[Any]:
        with self._open() as cache:
            assert self._lock is not None
            with self._lock:
                yield cache

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of `keys` that are plain bytes, whole and not expired; what is not whole is removed."""
        found: dict[str, bytes] = {}
        damaged: list[bytes | str] = []
        with self._open() as cache:
            expired = self._expiry()
            for key in keys:
                packed = pack(key)
                entry = cache.get(packed)
                if entry is None:
                    continue
                read = _read(packed, entry)
                if read is None:
                    damaged.append(packed)
                elif read[0] > expired:
                    found[key] = read[1]
        if damaged:
            self._delete(damaged, lambda packed, entry: _read(packed, entry) is None)
        hits = sum(key in found for key in keys)
        self._hits += hits
        self._misses += len(keys) - hits
        return found

    def put(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Store `entries` in one transaction, or refuse them all when the bound is reached."""
        with self._locked() as cache:
            if self._max_bytes is not None and cache.volume() >= self._max_bytes:
                self._refused += len(entries)
                if not self._said_full:
                    self._said_full = True
                    logger.warning(
                        "the cache %s is full (bound %d bytes): answers are not stored",
                        self._directory,
                        self._max_bytes,
                    )
                return
            now = self._time()
            with cache.transact():
                for key, value in entries:
                    packed = pack(key)
                    cache.set(packed, _HEADER.pack(now, checksum(packed, value)) + value)
            self._puts += len(entries)

    def stats(self) -> CacheStats:
        """Size and use."""
        with self._open() as cache:
            first = next((cache.get(key) for key in cache if key is not _REFUSED), None)
            return CacheStats(
                entries=len(cache),
                bytes=cache.volume(),
                max_bytes=self._max_bytes,
                hits=self._hits,
                misses=self._misses,
                puts=self._puts,
                refused=self._refused,
                oldest=_HEADER.unpack_from(first)[0] if _has_header(first) else None,
                location=str(self._directory),
            )

    def clear(self) -> int:
        """Remove everything."""
        with self._open() as cache:
            return int(cache.clear())

    def prune(self, older_than: float | None, max_bytes: int | None) -> int:
        """Remove expired, old and damaged entries, then the first stored down to `max_bytes` on disk."""
        expired = self._expiry()
        cutoff = _NEVER if older_than is None else self._time() - older_than

        def goes(packed: bytes | str, entry: object) -> bool:
            read = _read(packed, entry)
            return read is None or read[0] <= expired or read[0] < cutoff

        with self._open() as cache:
            removed = 0
            keys = (key for key in cache if key is not _REFUSED)
            for block in _blocks((key for key in keys if goes(key, cache.get(key))), _AGE_STEP):
                removed += self._delete(block, goes)
            if max_bytes is not None:
                for block in _blocks((key for key in cache if key is not _REFUSED), _SIZE_STEP):
                    if cache.volume() <= max_bytes:
                        break
                    removed += self._delete(block, lambda packed, entry: True)
            return removed

    def close(self) -> None:
        """Close the database if it is open."""
        cache, self._cache = self._cache, None
        lock, self._lock = self._lock, None
        if lock is None:
            return
        lock.timeout = _WAIT_CLOSING
        try:
            if cache is not None:
                with suppress(CacheError), lock:
                    cache.close()
                cache.close()  # also without the lock, as `Database.close`
        finally:
            lock.close()

    def _delete(self, keys: Sequence[bytes | str], goes: Callable[[bytes | str, object], bool]) -> int:
        """Remove those that still go: since they were read, another process may have stored them anew."""
        with self._locked() as cache, cache.transact():
            return sum(cache.delete(key) for key in keys if goes(key, cache.get(key)))

    def _expiry(self) -> float:
        return _NEVER if self._ttl is None else self._time() - self._ttl


def _has_header(entry: object) -> TypeGuard[bytes]:
    return type(entry) is bytes and len(entry) >= _HEADER.size


def _read(packed: bytes | str, entry: object) -> tuple[float, bytes] | None:
    """Time of storing and value; None for what is not ours or not whole."""
    if not _has_header(entry):
        return None
    stored, expected = _HEADER.unpack_from(entry)
    value = entry[_HEADER.size :]
    return (stored, value) if checksum(packed, value) == expected else None


def _blocks(keys: Iterable[bytes | str], size: int) -> Iterator[list[bytes | str]]:
    """Lists of `size` keys, the last one shorter."""
    rest = iter(keys)
    while block := list(islice(rest, size)):
        yield block
