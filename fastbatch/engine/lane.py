"""A lane: one endpoint with one key, and everything that is known about sending there."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from fastbatch.engine.endpoint import Endpoint, SharedService
from fastbatch.errors import RequestError
from fastbatch.ledgers.base import name_of, new_holder
from fastbatch.limits.budget import AT_FIRST, RetryBudget
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.leased import LeasedLimits
from fastbatch.limits.ledger import Ledger
from fastbatch.limits.options import Limits
from fastbatch.limits.weather import MAX_OUTAGE, Weather
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")

LimitsByModel = Limits | Mapping[str, Limits]
"""Limits of everything that is sent with a key, or of each model (`"*"`: of each that is not named)."""

# Models with an account of their own, beside those that are named in the limits. The input may name models
# without end, and memory is bounded by the window: all further ones have one account together.
_MODELS = 256
_OTHERS = "other models"


class Account(NamedTuple):
    """An account shared with other processes: its name, ours in it, and what we leased."""

    name: str
    holder: str
    leased: LeasedLimits


class Lane(Generic[ResponseT]):
    """Shared by all runs of a manager, in whatever loop or thread: take `lock` for every look at it.

    Args:
        provider: the endpoint.
        name: what people call it beside others.
        service: what must run before it can be asked.
        limits: as declared for it.
        concurrency: requests in flight at most.
        spare: how many there may be beyond that, second requests of stragglers.
        max_outage: seconds that it may be away.
        max_wait: seconds that its limits may make everybody wait.
        shared: the limits are leased from an account of several processes.
        retries: how many retries that may be billed there are at first.
        beside: another lane to the same endpoint with the same key, a fallback's: what is declared holds for
            both together, and they have one lock.
    """

    def __init__(
        self,
        provider: Provider[ResponseT],
        *,
        name: str = "",
        service: SharedService | None = None,
        limits: LimitsByModel = Limits(),  # noqa: B008  (immutable)
        concurrency: int = 64,
        spare: int = 0,
        max_outage: float = MAX_OUTAGE,
        max_wait: float = float("inf"),
        shared: bool = False,
        retries: float = AT_FIRST,
        beside: Lane[Any] | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.service = service
        self.concurrency = concurrency
        self.max_wait = max_wait
        self._ceiling = concurrency + spare
        self.lock: Lock = Lock() if beside is None else beside.lock
        self.weather = Weather(max_outage)
        self.budget = RetryBudget(retries)
        self._limits = limits
        self._shared = shared
        self._declared: dict[str | None, DeclaredLimits] = {} if beside is None else beside._declared
        self._accounts: dict[str | None, Account] = {} if beside is None else beside._accounts
        self._ledgers: dict[str | None, Ledger] = {}

    def known_as(self, model: str | None) -> str | None:
        """The name of a model's account: its own, or that of all models beyond a number."""
        if model in self._ledgers or len(self._ledgers) < _MODELS:
            return model
        return model if isinstance(self._limits, Mapping) and model in self._limits else _OTHERS

    def ledger(self, model: str | None) -> Ledger:
        """The account of one model; takes the lock itself, since other runs go through all accounts."""
        model = self.known_as(model)
        ledger = self._ledgers.get(model)
        if ledger is None:
            with self.lock:
                ledger = self._ledgers.get(model)
                if ledger is None:
                    ledger = self._ledgers[model] = self._opened(model)
        return ledger

    def ledgers(self) -> Mapping[str | None, Ledger]:
        """All accounts that were ever asked for."""
        return self._ledgers

    def account(self, model: str | None) -> Account | None:
        """The account that a model's ledger leases from, None where nothing is shared."""
        model = self.known_as(model)
        self.ledger(model)
        return self._accounts.get(model) or self._accounts.get(None)

    def _account(self, model: str | None, limits: Limits) -> Account:
        if (account := self._accounts.get(model)) is None:
            provider = self.provider
            name = name_of(provider.identity, provider.credential, model)
            account = self._accounts[model] = Account(name, new_holder(), LeasedLimits(limits))
        return account

    def _opened(self, model: str | None) -> Ledger:
        if isinstance(self._limits, Limits):
            limits, name = self._limits, None
        else:
            limits, name = self._limits.get(model or "") or self._limits.get("*") or Limits(), model
        declared = self._declared.get(name)
        if declared is None:
            declared = self._declared[name] = DeclaredLimits(limits)
        # What is declared for all models is one account; what is learned, or declared by model, is one each.
        whole = isinstance(self._limits, Limits) and bool(limits.declared())
        account = self._account(None if whole else model, limits) if self._shared else None
        return Ledger(
            declared,
            shared=None if account is None else account.leased,
            teach=not whole,
            ceiling=self._ceiling,
            # A local model is ours: what it takes is known, and it refuses nobody.
            slow_start=self.service is None and not limits.declared(),
            transit=limits.transit,
        )


class Way(Generic[ResponseT]):
    """A lane as one run uses it: its endpoint opened, or closed to the run because of an error."""

    def __init__(self, lane: Lane[ResponseT], name: str = "") -> None:
        self.lane = lane
        self.name = name
        self.endpoint = Endpoint(lane.provider, lane.service, lane.concurrency)
        self.closed: RequestError | None = None
        self._away_before = lane.weather.away(float("-inf"))

    def away(self, now: float) -> float:
        """Seconds of outage in this run."""
        with self.lane.lock:
            return self.lane.weather.away(now) - self._away_before


class Group(Generic[ResponseT]):
    """Ways of equal worth, over which requests are balanced; behind them, perhaps, the fallback.

    Attributes:
        model: what its requests name instead of their own model; None leaves theirs.
    """

    def __init__(
        self,
        ways: list[Way[ResponseT]],
        *,
        model: str | None = None,
        fallback: Group[ResponseT] | None = None,
    ) -> None:
        self.ways = ways
        self.model = model
        self.fallback = fallback

    @property
    def provider(self) -> Provider[ResponseT]:
        """What names and identifies the group: its first way's provider."""
        return self.ways[0].lane.provider

    @property
    def open(self) -> bool:
        """Whether anything may be sent here."""
        return any(way.closed is None for way in self.ways)

    def known_as(self, model: str | None) -> str | None:
        """The name of the queue that a model's requests stand in."""
        return self.ways[0].lane.known_as(model)

    def takes(self, now: float) -> int:
        """How many requests of others could come now: none in a pause, one in an outage as its probe."""
        most = 0
        for way in self.ways:
            lane = way.lane
            if way.closed is None:
                with lane.lock:
                    if lane.weather.allows(now) and not any(
                        each.paused(now) for each in lane.ledgers().values()
                    ):
                        most = max(most, 1 if lane.weather.parked else lane.concurrency)
        return most

    @property
    def has_next(self) -> bool:
        """Whether there is a group behind it to which anything may be sent."""
        return self.fallback is not None and (self.fallback.open or self.fallback.has_next)
