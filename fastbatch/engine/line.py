"""A queue before the gate: requests of one group and model, and the accounts that may let them through."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from fastbatch.engine.lane import Group, Way
from fastbatch.errors import RateLimited
from fastbatch.limits.cost import Cost
from fastbatch.limits.ledger import Ledger, Part, Reservation

ResponseT = TypeVar("ResponseT")

# Seconds that a request waits for its own endpoint rather than go to the fallback at once.
_LOYAL = 10.0

FREE = Cost()
"""What a request costs where nobody counts tokens."""


class Admission(NamedTuple):
    """Leave to send: where, and the room that was granted there."""

    way: Way[Any]
    ledger: Ledger
    reservation: Reservation
    probe: bool


class Waiting:
    """One request in a queue; what it costs is found out when somebody asks."""

    __slots__ = ("_cost", "_weigh", "number", "stays", "turn")

    def __init__(self, weigh: Callable[[], Cost], number: int = 0, stays: bool = False) -> None:
        self.stays = stays
        self._weigh = weigh
        self.number = number  # in the order of coming, over all queues
        self._cost: Cost | None = None
        self.turn: asyncio.Future[Admission] | None = None

    def cost(self, counted: bool) -> Cost:
        """What it takes of the limits; nothing where nobody counts that."""
        if not counted:
            return FREE
        if self._cost is None:
            self._cost = self._weigh()
        return self._cost


class Line(Generic[ResponseT]):
    """The queue of one group and model, and the accounts that may let its head through."""

    def __init__(
        self, group: Group[ResponseT], model: str | None, before: Sequence[Group[ResponseT]] = ()
    ) -> None:
        self.group = group
        self.before = before
        self.model = model
        self.accounts = [(way, way.lane.ledger(model)) for way in group.ways]
        self._only = self.accounts[0] if len(self.accounts) == 1 else None
        self.queue: deque[Waiting] = deque()

    def costs(self, most: int) -> list[Cost]:
        """What the first `most` of those who wait will take."""
        return [waiting.cost(self.counts_tokens) for waiting in islice(self.queue, most)]

    @property
    def only(self) -> tuple[Way[ResponseT], Ledger] | None:
        """The one account there is; None where there are several."""
        return self._only

    @property
    def counts_tokens(self) -> bool:
        """Whether somebody looks at costs."""
        if self._only is not None:
            return self._only[1].counts_tokens
        return any(ledger.counts_tokens for _, ledger in self.accounts)

    def admit(self, cost: Cost, now: float, kept: Sequence[Part] = ()) -> Admission | None:
        """Room for a request of this cost, at the account with the most of it; None: nowhere yet.

        What is `kept` is for somebody who waits for longer.
        """
        for way, ledger in (self._only,) if self._only is not None else self._by_room(now):
            if way.closed is not None or (kept and any(map(ledger.shares, kept))):
                continue
            lane = way.lane
            with lane.lock:
                weather = lane.weather
                if weather.parked and not weather.allows(now):
                    continue
                if (granted := ledger.reserve(cost, now)) is not None:
                    return Admission(way, ledger, granted, weather.parked and weather.left())
        return None

    def scarce(self, now: float) -> list[Part]:
        """What the head of the queue waits for and others may share: none of them may pass it there."""
        cost = self.queue[0].cost(self.counts_tokens)
        found = []
        for way, ledger in self.accounts:
            if way.closed is None:
                with way.lane.lock:
                    if way.lane.weather.allows(now) and (part := ledger.scarce(cost, now)) is not None:
                        found.append(part)
        return found

    def next_change(self, waiting: Waiting, now: float, kept: Sequence[Part] = ()) -> float:
        """When it is worth asking again; what is `kept` for others changes when they leave."""
        cost = waiting.cost(self.counts_tokens)
        soonest = float("inf")
        for way, ledger in self.accounts:
            if way.closed is None and not (kept and any(map(ledger.shares, kept))):
                with way.lane.lock:
                    due = max(way.lane.weather.next_change(now), ledger.next_change(cost, now))
                soonest = min(soonest, due)
        return soonest

    def used_up(self, now: float) -> str:
        """Why nobody here can leave for longer than anybody should wait; empty where somebody can, or may.

        What a provider's replies state is taken for its word, as if it had refused a request.
        """
        cost = self.queue[0].cost(self.counts_tokens)
        reason, shortest = "", float("inf")
        for way, ledger in self.accounts:
            if way.closed is None:
                with way.lane.lock:
                    ledger.give_up(cost, now, way.lane.max_wait)
                    wait = ledger.paused(now)
                    if wait <= way.lane.max_wait:
                        return ""
                    if wait < shortest:
                        reason, shortest = f"{ledger.paused_for(now)} for {wait:.0f} s", wait
        return reason

    def close(self, reason: str) -> None:
        """Nothing more is sent to this group; whoever waits has somewhere else to go."""
        for way in self.group.ways:
            if way.closed is None:
                way.closed = RateLimited(reason)

    def to_be_left(self, now: float) -> bool:
        """Whether nobody gets through for a good while and a fallback should answer; or nobody ever."""
        return not self.group.open or (self.group.has_next and self._away(now))

    def going_back(self, now: float) -> int:
        """How many should wait no longer for a fallback that is away: where they came from takes so many."""
        return max((other.takes(now) for other in self.before), default=0) if self._away(now) else 0

    def _away(self, now: float) -> bool:
        """Whether all that is open here is in an outage, or in a long pause."""
        for way, ledger in self.accounts:
            if way.closed is None:
                with way.lane.lock:
                    weather = way.lane.weather
                    if (not weather.parked or weather.allows(now)) and ledger.paused(now) <= _LOYAL:
                        return False
        return True

    def waiting_reason(self, now: float) -> str:
        """Why the head of the queue stands still, by the account that will let it through first."""
        reasons = []
        cost = self.queue[0].cost(self.counts_tokens)
        for way, ledger in self.accounts:
            if way.closed is None:
                with way.lane.lock:
                    weather = way.lane.weather
                    reason = weather.waiting_reason(now) or ledger.waiting_reason(cost, now)
                    due = max(weather.next_change(now), ledger.next_change(cost, now))
                reasons.append((due, reason))
        return min(reasons, default=(0.0, ""))[1]

    def _by_room(self, now: float) -> Sequence[tuple[Way[ResponseT], Ledger]]:
        unclosed = [account for account in self.accounts if account[0].closed is None]
        return sorted(unclosed, key=lambda account: _load(account, now))


def _load(account: tuple[Way[Any], Ledger], now: float) -> float:
    way, ledger = account
    with way.lane.lock:  # it lets go of what has left a window
        return ledger.load(now)
