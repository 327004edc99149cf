"""Where requests go: routes, and the lanes that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastbatch.engine.endpoint import Route, SharedService
from fastbatch.engine.hedge import spare
from fastbatch.engine.lane import Lane, LimitsByModel
from fastbatch.limits.budget import AT_FIRST
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True, slots=True)
class Addresses(Generic[ResponseT]):
    """Endpoints and keys of equal worth; `model` is what a fallback's requests name instead of their own."""

    lanes: tuple[Lane[ResponseT], ...]
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Routes, the first of them where rows belong and the others its fallbacks, and what holds for all.

    Attributes:
        retries: how many retries that may be billed there are at first.
    """

    routes: tuple[Route, ...]
    limits: LimitsByModel
    concurrency: int
    hedge: float
    max_outage: float
    max_wait: float
    shared: bool
    retries: float = AT_FIRST

    def open(self) -> tuple[Addresses[Any], ...]:
        """Lanes, new ones; each endpoint and key has the limits to itself."""
        known: dict[tuple[str, str], Lane[Any]] = {}
        return tuple(self._opened(route, known) for route in self.routes)

    def _opened(self, route: Route, known: dict[tuple[str, str], Lane[Any]]) -> Addresses[Any]:
        service = route.service
        providers = (route.provider, *route.others)
        lanes = []
        for number, provider in enumerate(providers, 1):
            account = provider.identity, provider.credential
            lane = Lane(
                provider,
                name=_called(provider, number, len(providers)),
                service=None if service is None else SharedService(service),
                limits=self.limits,
                concurrency=self.concurrency if service is None else service.slots(self.concurrency),
                spare=spare(self.concurrency, self.hedge) if service is None else 0,
                max_outage=self.max_outage,
                max_wait=self.max_wait,
                # A local model runs in this process, for nobody else.
                shared=self.shared and service is None,
                retries=self.retries,
                beside=known.get(account),
            )
            known.setdefault(account, lane)
            lanes.append(lane)
        return Addresses(tuple(lanes), route.model)


def _called(provider: Provider[Any], number: int, count: int) -> str:
    """What people call one of several endpoints or keys."""
    return provider.name if count == 1 else f"{provider.name} {number} of {count}"
