"""The batches of an account, or of one output, outside of any run: to be looked at, and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastbatch.engine.batches.caller import Caller
from fastbatch.engine.clock import SystemClock
from fastbatch.engine.events import Counters
from fastbatch.errors import ConfigError
from fastbatch.providers.base import Provider
from fastbatch.providers.batches import Batching, BatchStatus, NativeBatches
from fastbatch.transport.base import Transport

_PAGES = 1000  # a provider that never comes to an end is not followed for ever


class Account:
    """What a provider has of ours; each call is made once, and its errors are `RequestError`s."""

    def __init__(self, caller: Caller, native: NativeBatches) -> None:
        self._caller = caller
        self._native = native

    async def batches(self) -> list[BatchStatus]:
        """All of them, the newest first."""
        found: list[BatchStatus] = []
        after, seen = "", {""}
        for _ in range(_PAGES):
            page = await self._caller.once(self._native.listed(after))
            found += page.batches
            after = page.next
            if after in seen:
                break
            seen.add(after)
        return found

    async def batch(self, id: str) -> BatchStatus:
        """One of them."""
        return await self._caller.once(self._native.look(id))

    async def cancel(self, id: str) -> BatchStatus:
        """Have one cancelled; how it is then."""
        return await self._caller.once(self._native.cancel(id))


@asynccontextmanager
async def open_account(provider: Provider[Any], transport: Callable[[], Transport]) -> AsyncIterator[Account]:
    """The account that a provider's key belongs to.

    Raises:
        ConfigError: the provider has no batch API.
    """
    native = provider.batches if isinstance(provider, Batching) else None
    if native is None:
        raise ConfigError("has no batch API that is known here", key="provider", value=provider.name)
    sending = transport()
    await sending.open(connections=1)
    try:
        yield Account(Caller(sending, provider, SystemClock(), Counters()), native)
    finally:
        await sending.close()
