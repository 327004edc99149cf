"""Where a run's requests go: a provider, and the local service behind it where there is one."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastbatch.errors import FastbatchError
from fastbatch.providers.base import Provider
from fastbatch.services.base import Service

ResponseT = TypeVar("ResponseT")

_LOOK_AGAIN = 0.02  # seconds; two runs meet here only while a model loads or unloads


@dataclass(frozen=True, slots=True)
class Route:
    """What a name such as `local:smollm2` stands for.

    `model` is the default model for requests that name none; `service` is what must run before the provider
    can be asked, None for an endpoint that runs by itself. `others` serve the same model at other endpoints
    or with other keys.
    """

    provider: Provider[Any]
    model: str | None = None
    service: Service | None = None
    others: tuple[Provider[Any], ...] = ()


class SharedService:
    """A service and how many runs use it: started by the first that needs it, stopped after the last.

    The runs of one manager may live in different loops and threads, so taking turns is a lock of threads;
    nobody waits in it: starting and stopping take a moment, and meanwhile the others look again.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = threading.Lock()
        self._users = 0

    async def enter(self, slots: int) -> str:
        """Use the service: its base URL, once it runs.

        Raises:
            FastbatchError: it cannot be started.
        """
        await self._take_turn()
        try:
            base_url = await self._service.start(slots=slots)
            self._users += 1
            return base_url
        finally:
            self._turn.release()

    async def leave(self) -> None:
        """Use it no more."""
        await self._take_turn()
        try:
            self._users -= 1
            if not self._users:
                await self._service.stop()
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        while not self._turn.acquire(blocking=False):  # noqa: ASYNC110  (the other one may be in another loop)
            await asyncio.sleep(_LOOK_AGAIN)


class Endpoint(Generic[ResponseT]):
    """The provider of one run; its service is started by the first request that is really sent.

    So a run that the cache answers starts no model, and fetches none.
    """

    def __init__(self, provider: Provider[ResponseT], service: SharedService | None, slots: int) -> None:
        self.provider = provider
        self.ready = service is None
        self._service = service
        self._slots = slots
        self._starting = asyncio.Lock()
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
                try:
                    base_url = await self._service.enter(self._slots)
                except FastbatchError as failed:
                    self._failed = failed
                    raise
                self.provider = self.provider.at(base_url)
                self.ready = True
        return self.provider

    async def close(self) -> None:
        """Let the service go, if this run came to use it."""
        if self.ready and self._service is not None:
            self.ready = False
            await self._service.leave()
