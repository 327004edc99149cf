"""A cache that may break without breaking the run."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from fastbatch.cache.base import CacheProvider, CacheStats, Claiming
from fastbatch.cache.patience import is_cancelled, within
from fastbatch.errors import CacheError

__all__ = ["GuardedCache"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE = 90.0  # seconds; more than a cache on disk itself waits for another process
_CLOSING = 0.2  # seconds, where nothing is left to be stored or nobody waits any more


class GuardedCache:
    """The cache `inner` until its first error; from then on a cache that is empty and stores nothing.

    The error is logged once, as a warning. `broken` says what it was, or is None. A verb that takes longer
    than `patience` seconds is an error too: a disk or a server that hangs must not hold up a run.
    """

    def __init__(self, inner: CacheProvider, *, patience: float = _PATIENCE) -> None:
        self._inner = inner
        self._patience = patience
        self.broken: str | None = None

    def __repr__(self) -> str:
        return f"GuardedCache({self._inner!r})"

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What `inner` finds, or nothing."""

        async def checked() -> dict[str, bytes]:
            found = await self._inner.get_many(keys)
            if not isinstance(found, dict) or not _are_bytes(found.values()):
                raise CacheError("get_many gave something else than a dictionary of bytes")
            return found

        return await self._try(checked, {})

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Store in `inner`, if it still works."""
        await self._try(lambda: self._inner.put_many(entries), None)

    def claim_many(self, keys: Collection[str]) -> set[str] | None:
        """What `inner` lets us claim; None when it knows no claims, or does not work any more."""
        if self.broken is not None or not isinstance(self._inner, Claiming):
            return None
        try:
            return self._inner.claim_many(keys)
        except Exception as error:  # noqa: BLE001  (a plug-in, as in `_try`)
            self._break(error)
            return None

    def release_many(self, keys: Collection[str]) -> None:
        """Release in `inner`, broken or not: others may be waiting for these keys."""
        if isinstance(self._inner, Claiming):
            try:
                self._inner.release_many(keys)
            except Exception as error:  # noqa: BLE001  (a plug-in, as in `_try`)
                self._break(error)

    async def stats(self) -> CacheStats:
        """What `inner` says, or zeros with the cause in `location`."""
        found: CacheStats | None = await self._try(self._inner.stats, None)
        if found is not None:
            return found
        location = f"{self._inner!r}, not used: {self.broken}"
        return CacheStats(0, 0, None, hits=0, misses=0, puts=0, refused=0, oldest=None, location=location)

    async def clear(self) -> int:
        """Clear `inner`, if it still works."""
        return await self._try(self._inner.clear, 0)

    async def prune(self, *, older_than: float | None = None, max_bytes: int | None = None) -> int:
        """Prune `inner`, if it still works."""
        return await self._try(lambda: self._inner.prune(older_than=older_than, max_bytes=max_bytes), 0)

    async def close(self) -> None:
        """Close `inner`, broken or not: it may still hold a file or a thread.

        A cancelled task waits a moment only, and then leaves `inner` to itself.
        """
        cancelled = is_cancelled()
        brief = cancelled or self.broken is not None
        try:
            await self._bounded(self._inner.close, _CLOSING if brief else self._patience)
        # A plug-in may raise anything, and a cache that does not close is no reason to fail a finished run.
        except Exception as error:  # noqa: BLE001
            if not cancelled:
                self._break(error)

    async def _bounded(self, verb: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            return await within(seconds, verb())
        except TimeoutError as error:
            raise CacheError(str(error) or f"{self._inner!r} took more than {seconds:g} s") from error

    async def _try(self, verb: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if self.broken is not None:
            return otherwise
        try:
            return await self._bounded(verb, self._patience)
        # A plug-in may raise anything, and whatever it is, the answers can still be bought.
        except Exception as error:  # noqa: BLE001
            self._break(error)
            return otherwise

    def _break(self, error: Exception) -> None:
        if self.broken is None:  # calls that were under way together fail together; one of them speaks
            self.broken = str(error) or type(error).__name__
            logger.warning("the cache does not work and is not used any more: %s", self.broken)


def _are_bytes(values: Iterable[object]) -> bool:
    return all(issubclass(kind, bytes) for kind in set(map(type, values)))
