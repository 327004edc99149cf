"""Answers kept by the hash of their request, so that none is paid for twice.

Laws:
- The cache speaks in `get_many` and `put_many`; there is no verb for one entry, because a thread hop or a
  transaction per row costs more than the row.
- A value is bytes, and it is given back exactly or not at all: what was stored on a disk carries a checksum
  over key and value, and a mismatch is a miss. Nothing is ever unpickled.
- A paid answer is never dropped without a word: a full cache refuses or evicts, and logs that it does.
- A broken cache never ends a run (`GuardedCache`) and never becomes a wrong answer.
- The event loop never waits for a disk: each cache on disk works in one thread of its own.
- Of several processes that share a cache on one machine, one asks: a key is claimed before it is looked up
  for the last time, and released after its answer is stored (`claims`). A claim ends with its process.
- Nobody waits long for a cache: not for another process that is stopped, not for a disk that hangs, and half
  a second once the run was cancelled (`patience`).

Deliberately absent: what the key is made of (`fastbatch.hashing`), what the value means (the engine), sharing
one call between identical requests of one run (the engine); claims in any cache but `DiskCache`.

Names load when they are first asked for; importing this package imports neither sqlite3 nor xxhash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbatch.cache.base import CacheProvider, CacheStats, Claiming
    from fastbatch.cache.disk import DiskCache
    from fastbatch.cache.diskcache import DiskCacheBackend
    from fastbatch.cache.guarded import GuardedCache
    from fastbatch.cache.memory import InMemoryCache

__all__ = [
    "CacheProvider",
    "CacheStats",
    "Claiming",
    "DiskCache",
    "DiskCacheBackend",
    "GuardedCache",
    "InMemoryCache",
]

_HOME = {
    "CacheProvider": "base",
    "CacheStats": "base",
    "Claiming": "base",
    "DiskCache": "disk",
    "DiskCacheBackend": "diskcache",
    "GuardedCache": "guarded",
    "InMemoryCache": "memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
