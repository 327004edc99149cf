"""What every cache can do, and what it says about itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fastbatch.errors import ConfigError

__all__ = ["CacheProvider", "CacheStats", "Claiming", "positive"]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The state of a cache at one moment.

    Attributes:
        entries: how many answers are stored, expired ones included.
        bytes: what they take: values plus a fixed overhead for each entry.
        max_bytes: the bound on `bytes`, or None.
        hits, misses: keys that this object found or did not find; an expired or damaged entry is a miss. What
            a run is about to send was looked up twice, before and after it was claimed.
        puts: entries that this object stored.
        refused: entries that this object did not store because there was no room.
        oldest: when the longest stored entry came, unix seconds; None when there is none.
        location: where the entries are, for a person.
    """

    entries: int
    bytes: int
    max_bytes: int | None
    hits: int
    misses: int
    puts: int
    refused: int
    oldest: float | None
    location: str


@runtime_checkable
class CacheProvider(Protocol):
    """A store of answers. Any `str` is a key and any `bytes` a value; nothing looks inside them.

    A cache may be used from several event loops, one after another or at once. All verbs raise
    `CacheError` when the store cannot be read or written.
    """

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those `keys` that are stored and not expired; the others are left out."""
        ...

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Store `entries`, replacing what is there; entries without room are counted as refused."""
        ...

    async def stats(self) -> CacheStats:
        """Size and use of the cache."""
        ...

    async def clear(self) -> int:
        """Remove everything; the number of entries removed."""
        ...

    async def prune(self, *, older_than: float | None = None, max_bytes: int | None = None) -> int:
        """Remove expired entries, those stored more than `older_than` seconds ago, and then the ones that go
        first in this cache until `stats().bytes <= max_bytes`; the number of entries removed.
        """
        ...

    async def close(self) -> None:
        """Let go of files and threads. May be called twice; the next use opens the cache again."""
        ...


@runtime_checkable
class Claiming(Protocol):
    """What a cache may do besides: tell those who share it who is asking what, so that one of them asks.

    A claim holds until it is released or its process ends, however it ends. Whoever has claimed a key and
    then does not find it may be sure that nobody stores it meanwhile; whoever could not claim one tries
    again until it is released, and looks it up then; so do two who came in the same instant, if neither got
    it. Neither verb waits for others, or raises.
    """

    def claim_many(self, keys: Collection[str]) -> set[str] | None:
        """Those of `keys` that nobody else holds, and the caller from now on; None where nobody can tell."""
        ...

    def release_many(self, keys: Collection[str]) -> None:
        """Let go of `keys`, each of which the caller had claimed: stored by now, or not to be had."""
        ...


def positive(key: str, value: float | None) -> None:
    """Refuse an option that is given and not above zero.

    Raises:
        ConfigError: it is zero or negative.
    """
    if value is not None and not value > 0:
        raise ConfigError("must be above zero; leave it out for no bound", key=key, value=value)
