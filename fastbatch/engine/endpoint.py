"""Where a run's requests go: a provider, and the local service behind it where there is one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastbatch.errors import FastbatchError
from fastbatch.providers.base import Provider
from fastbatch.services.base import Service

ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True, slots=True)
class Route:
    """What a name such as `local:smollm2` stands for.

    `model` is the default model for requests that name none; `service` is what must run before the provider
    can be asked, None for an endpoint that runs by itself.
    """

    provider: Provider[Any]
    model: str | None = None
    service: Service | None = None


class Endpoint(Generic[ResponseT]):
    """The provider of one run; its service is started by the first request that is really sent.

    So a run that the cache answers starts no model, and fetches none.
    """

    def __init__(self, provider: Provider[ResponseT], service: Service | None, slots: int) -> None:
        self.provider = provider
        self.ready = service is None
        self._service = service
        self._slots = slots
        self._starting = asyncio.Lock()
        self._begun = False
        self._failed: FastbatchError | None = None

    async def open(self) -> Provider[ResponseT]:
        """The provider, reachable.

        Raises:
            FastbatchError: the service cannot be started; said to everybody who asks, tried once.
        """
        async with self._starting:
            if self._failed is not None:
                raise self._failed
            if not self.ready and self._service is not None:
                self._begun = True
                try:
                    base_url = await self._service.start(slots=self._slots)
                except FastbatchError as failed:
                    self._failed = failed
                    raise
                self.provider = self.provider.at(base_url)
                self.ready = True
        return self.provider

    async def close(self) -> None:
        """Stop the service, also one whose start was cancelled half-way."""
        if self._begun and self._failed is None and self._service is not None:
            await self._service.stop()
