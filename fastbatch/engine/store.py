"""Answers kept for next time: the engine's way to a cache, in blocks, and the form a kept answer has.

A kept answer is data only: one line of JSON, `[form, status, provider's request id, [prompt, cached,
completion, reasoning tokens]]`, then the reply's body as it arrived. What cannot be read is a miss.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import orjson

from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage

ResponseT = TypeVar("ResponseT")

_FORM = 1
_BLOCK = 500  # entries in one put: the transaction size that measured best
# A transaction costs the same for one answer as for a hundred: waiting this long while there are only a few
# took 11 of 126 microseconds off a request. An answer is in the output, or at the caller, before that.
_GATHER, _FEW = 0.02, 200
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


def encode(outcome: ResponseWrapper[ResponseT]) -> bytes:
    """An answer as bytes to keep."""
    head = [_FORM, outcome.status, outcome.provider_request_id, list(outcome.tokens)]
    return orjson.dumps(head) + b"\n" + outcome.raw


def decode(value: bytes, reader: ReplyReader[ResponseT], provider: str) -> ResponseWrapper[ResponseT] | None:
    """The answer that `encode` kept, marked as cached; None for bytes that are no answer of this form."""
    head, newline, raw = value.partition(b"\n")
    try:
        form, status, request_id, tokens = orjson.loads(head)
        if form != _FORM or not newline or not raw:
            return None
        outcome = ResponseWrapper(
            reader,
            provider=provider,
            status=int(status),
            raw=raw,
            tokens=Usage(*tokens),
            provider_request_id=request_id,
        )
    except (ValueError, TypeError):
        return None
    outcome.cached = True
    return outcome


class AnswerStore:
    """A cache as one run uses it: looks up whole blocks, and stores behind the run's back in blocks.

    Answers that come within `_GATHER` seconds are stored in one put, and what comes while one block is being
    stored makes the next; failed rows are never handed in.
    """

    def __init__(self, cache: Keeper) -> None:
        self._cache = cache
        self._pending: dict[str, bytes] = {}
        self._writer: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What the cache holds of `keys`."""
        return await self._cache.get_many(keys) if keys else {}

    def put(self, key: str, value: bytes) -> None:
        """Store an answer soon."""
        self._pending[key] = value
        if len(self._pending) >= _FEW:
            self._enough.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def stored(self, key: str) -> bool:
        """Whether a lookup of `key` would see what was put."""
        return key not in self._pending

    async def _write(self) -> None:
        while self._pending:
            if not self._enough.is_set():
                timer = asyncio.get_running_loop().call_later(_GATHER, self._enough.set)
                await self._enough.wait()
                timer.cancel()
            self._enough.clear()
            block = dict(islice(self._pending.items(), _BLOCK))
            await self._cache.put_many(block)
            for key in block:
                del self._pending[key]

    async def flush(self) -> None:
        """Wait until everything put so far is stored."""
        while self._writer is not None and not self._writer.done():
            self._enough.set()
            await asyncio.shield(self._writer)
