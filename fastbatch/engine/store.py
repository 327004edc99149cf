"""Answers kept for next time: the engine's way to a cache, in blocks; `kept` says what a value holds."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from fastbatch.cache.base import Claiming
from fastbatch.cache.patience import LAST, is_cancelled, within

logger = logging.getLogger(__name__)

# A transaction writes most pages of the cache's index anew, whose order is that of hashes: of two hundred
# answers each costs twice what it costs of a thousand. So they are waited for while there are few, or small
# ones, but not for long: an answer is in the output, or at the caller, before that, and yet a process that is
# killed takes what it has not stored with it, and whoever shares the cache buys it again.
_GATHER, _MANY, _MUCH = 0.05, 1000, 8 * 1024 * 1024  # seconds, entries, bytes
_MOST = 4 * _MUCH  # bytes that may wait for the cache: some ten thousand usual answers
_SILENT = 2.0  # seconds that a finished run waits for its cache without a word
_ENTRY_BYTES = 250  # what CPython keeps beside a value's own bytes: its key, two headers, a dictionary's slot


class Keeper(Protocol):
    """What this module needs of a cache."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]: ...  # noqa: D102

    async def put_many(self, entries: Mapping[str, bytes]) -> None: ...  # noqa: D102


class RecentAnswers:
    """The latest answers of a run without a cache, at most `max_bytes` of them; older ones go without a word.

    Not the cache in memory: nobody asked for one, so nobody is to be warned that it is full.
    """

    def __init__(self, max_bytes: int) -> None:
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._room = max_bytes

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is left of `keys`; it is the latest again."""
        found = {key: value for key in keys if (value := self._values.get(key)) is not None}
        for key in found:
            self._values.move_to_end(key)
        return found

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Keep `entries`, which are new."""
        for key, value in entries.items():
            self._values[key] = value
            self._room -= len(value) + _ENTRY_BYTES
        while self._room < 0:
            _, value = self._values.popitem(last=False)
            self._room += len(value) + _ENTRY_BYTES


class Claimed(NamedTuple):
    """What came of claiming: keys that were free, and the answers of those that were stored by then."""

    mine: set[str]
    found: dict[str, bytes]


class AnswerStore:
    """A cache as one run uses it: looks up whole blocks, and stores behind the run's back in blocks.

    Answers that come within `_GATHER` seconds are stored in one put, and what comes while one block is being
    stored makes the next; failed rows are never handed in. What does not fit into `_MOST` bytes is not kept:
    a cache that waits for another process must not cost the memory of all that comes meanwhile.

    Where the cache knows claims, a key that this run is asking is claimed from before its second lookup,
    until its answer is stored, or it is released because there will be none.
    """

    def __init__(self, cache: Keeper) -> None:
        self._cache = cache
        self._pending: dict[str, bytes] = {}
        self._stored: list[str] = []  # since somebody asked
        self._room = _MOST
        self._dropped = 0
        self._writer: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._flushing = False
        self._given_up = False
        self._claiming = cache if isinstance(cache, Claiming) else None
        self.claims = self._claiming is not None  # what the cache does not hold is claimed before it is sent
        self._claimed: set[str] = set()

    async def claim(self, keys: Collection[str]) -> Claimed | None:
        """Claim what is free of `keys`, and look that up again; None where there are no claims after all.

        Nobody can have stored a key between its claim and its lookup: one without an answer is ours to ask.
        """
        mine = None if self._claiming is None else self._claiming.claim_many(keys)
        if mine is None:
            self.claims = False
            return None
        self._claimed |= mine
        found = await self.get_many(list(mine))
        self.release(found)
        return Claimed(mine, found)

    def release(self, keys: Collection[str]) -> None:
        """Let others ask what this run has claimed of `keys`."""
        if self._claimed and (claimed := self._claimed.intersection(keys)):
            assert self._claiming is not None
            self._claimed -= claimed
            self._claiming.release_many(claimed)

    def release_all(self) -> None:
        """Let go of everything: nobody is going to ask."""
        self.release(self._claimed)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What the cache holds of `keys`."""
        return await self._cache.get_many(keys) if keys else {}

    def put(self, key: str, value: bytes) -> bool:
        """Store an answer soon; a key that is already waiting has one. False: there is no room for it."""
        if key in self._pending:
            return True
        size = len(value) + _ENTRY_BYTES
        if size > self._room:
            self._dropped += 1
            if self._dropped == 1:
                logger.warning("the cache is too slow for the answers that come: some are not stored")
            self.release((key,))
            return False
        self._room -= size
        self._pending[key] = value
        self._wake()
        return True

    def put_many(self, entries: Mapping[str, bytes]) -> bool:
        """As `put`, for several answers; False: one of them waits already, or there is no room for all."""
        size = sum(map(len, entries.values())) + len(entries) * _ENTRY_BYTES
        if size > self._room or not self._pending.keys().isdisjoint(entries):
            return False
        self._room -= size
        self._pending.update(entries)
        self._wake()
        return True

    def _wake(self) -> None:
        if self._gathered():
            self._enough.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def _gathered(self) -> bool:
        return len(self._pending) >= _MANY or self._room <= _MOST - _MUCH

    def stored(self) -> list[str]:
        """What was put and would now be found by a lookup, each key once."""
        stored, self._stored = self._stored, []
        return stored

    async def _write(self) -> None:
        try:
            await self._write_all()
        except asyncio.CancelledError:
            if self._given_up:
                raise
            # The loop ends, and cancels whatever it finds. What is stored in these moments was paid for.
            self._flushing = True
            try:
                await within(LAST, self._write_all())
            except TimeoutError:
                self._say_late()
            raise

    async def _write_all(self) -> None:
        while self._pending:
            if not self._gathered() and not self._flushing:
                timer = asyncio.get_running_loop().call_later(_GATHER, self._enough.set)
                await self._enough.wait()
                timer.cancel()
            self._enough.clear()
            block = dict(islice(self._pending.items(), _MANY))
            await self._cache.put_many(block)
            for key, value in block.items():
                del self._pending[key]
                self._room += len(value) + _ENTRY_BYTES
            self._stored += block
            self.release(block)

    async def flush(self) -> None:
        """Wait until everything put so far is stored.

        In a task that was cancelled, and from the moment in which it is, for `LAST` seconds at most: whoever
        has pressed Ctrl-C a second time does not wait for a cache. What is not stored then is said.
        """
        try:
            if not is_cancelled():
                if not await self._written(_SILENT):
                    logger.warning(
                        "the run is over; waiting for the cache to take %d answers", len(self._pending)
                    )
                    await self._written(None)
                return
        except asyncio.CancelledError:
            await self._leave()
            raise
        await self._leave()

    async def _leave(self) -> None:
        if not await self._written(LAST):
            self._say_late()
            assert self._writer is not None
            self._given_up = True
            self._writer.cancel()

    def _say_late(self) -> None:
        logger.warning("the cache did not take %d answers in time", len(self._pending))

    async def _written(self, seconds: float | None) -> bool:
        """Wait for the writer, which is not cancelled when this is; whether everything is stored."""
        writer = self._writer
        if writer is None:
            return True
        self._flushing = True
        self._enough.set()
        try:
            await asyncio.wait((writer,), timeout=seconds)
        finally:
            self._flushing = False
        if writer.done() and not writer.cancelled():
            writer.result()
        return writer.done()
