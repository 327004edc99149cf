"""Virtual time, servers that state their limits, and a client that knows nothing but what they state.

Servers judge each request when it arrives. The client sends as much as `LearnedLimits` allows: until the
first reply a handful (8, doubling every 0.2 s), then whatever fits, at most `concurrency` at once. A refused
request is sent again like any other; nobody pauses, so that every refusal is the learner's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, floor
from random import Random
from typing import Any, Protocol

from fastbatch.limits.cost import Cost, Quantity
from fastbatch.limits.learned import LearnedLimits
from fastbatch.limits.stated import Stated

_INFINITY = float("inf")


class Meter(Protocol):
    """How a server keeps one limit."""

    limit: int
    per: float

    def used(self, now: float) -> float:
        """What counts now."""

    def take(self, amount: int, now: float) -> None:
        """Count an arrival."""

    def reset(self, now: float) -> float:
        """Seconds until all of it is free."""


class Sliding:
    """Counts what arrived in the last `per` seconds."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._entries: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now: float) -> float:
        """All arrivals of one window."""
        entries = self._entries
        while entries and entries[0][0] + self.per <= now:
            self._used -= entries.popleft()[1]
        return self._used

    def take(self, amount: int, now: float) -> None:
        """Remember it for one window."""
        self._entries.append((now, amount))
        self._used += amount

    def reset(self, now: float) -> float:
        """When the newest arrival leaves."""
        return self._entries[-1][0] + self.per - now if self._entries else 0.0


class Bucket:
    """Starts full and refills evenly."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._used, self._at = 0.0, 0.0

    def used(self, now: float) -> float:
        """What is missing from the bucket."""
        self._used = max(0.0, self._used - (now - self._at) * self.limit / self.per)
        self._at = now
        return self._used - 1e-9

    def take(self, amount: int, now: float) -> None:
        """Pour out."""
        self._used += amount

    def reset(self, now: float) -> float:
        """When it is full."""
        return max(0.0, self.used(now)) * self.per / self.limit


class Fixed:
    """Counts from boundary to boundary of the clock, which the client meets somewhere in the middle."""

    def __init__(self, limit: int, per: float, begun: float = 0.37) -> None:
        self.limit, self.per = limit, per
        self._used, self._window, self._shift = 0, -1.0, begun * per

    def used(self, now: float) -> float:
        """What arrived since the boundary."""
        window = (now + self._shift) // self.per
        if window != self._window:
            self._used, self._window = 0, window
        return self._used

    def take(self, amount: int, now: float) -> None:
        """Count it."""
        self._used += amount

    def reset(self, now: float) -> float:
        """The next boundary."""
        return self.per - (now + self._shift) % self.per


METERS: dict[str, Callable[[int, float], Meter]] = {"sliding": Sliding, "bucket": Bucket, "fixed": Fixed}
ROUNDINGS: dict[str, Callable[[float], float]] = {
    "exact": lambda seconds: seconds,
    "ms": lambda seconds: ceil(seconds * 1000 - 1e-6) / 1000,
    "s up": lambda seconds: float(ceil(seconds - 1e-6)),
    "s down": lambda seconds: float(floor(seconds + 1e-6)),
}


@dataclass
class Server:
    """Several limits of one kind, and how it words them."""

    kind: str
    limits: dict[Quantity, int]
    per: float
    rounding: str = "ms"
    at_reply: bool = False  # whether headers are written with the reply rather than at the decision
    states_per: bool = False
    meters: dict[Quantity, Meter] = field(init=False)
    refused: int = 0
    counted: dict[Quantity, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.meters = {what: METERS[self.kind](limit, self.per) for what, limit in self.limits.items()}
        self.counted = dict.fromkeys(self.limits, 0)
        self._round = ROUNDINGS[self.rounding]

    def admit(self, cost: Cost, now: float) -> bool:
        """Count a request in every limit, or in none."""
        amounts = [(what, cost.of(what), meter) for what, meter in self.meters.items()]
        for _, amount, meter in amounts:
            if meter.used(now) + amount > meter.limit:
                return False
        for what, amount, meter in amounts:
            meter.take(amount, now)
            self.counted[what] += amount
        return True

    def states(self, now: float) -> tuple[Stated, ...]:
        """The headers of a reply."""
        return tuple(
            [
                Stated(
                    what,
                    meter.limit,
                    max(0, floor(meter.limit - meter.used(now))),
                    self._round(meter.reset(now)),
                    self.per if self.states_per else None,
                )
                for what, meter in self.meters.items()
            ]
        )


@dataclass
class World:
    """One run in virtual time; call `run`, then read what was counted."""

    server: Server
    concurrency: int = 64
    latency: tuple[float, float] = (0.05, 0.1)  # of the answer, beside the way
    way: tuple[float, float] = (0.002, 0.02)  # one direction
    cost: Callable[[Random], Cost] = lambda dice: Cost()
    settles: float = 1.0  # the part of a reserved completion that is really used
    others: float = 0.0  # the share of the limit that another client uses, evenly
    transit: float = 2.0
    seed: int = 0
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)  # what happens meanwhile

    def __post_init__(self) -> None:
        self.learned = LearnedLimits(transit=self.transit)
        self.sent = self.refused = self.accepted = self.others_refused = 0
        self.blind = 0  # refused, having left before anything was heard
        self.log: list[tuple[float, bool]] = []  # each decision on one of ours

    def run(self, until: float) -> World:
        """Send from 0 to `until` as much as may be."""
        dice = Random(self.seed)
        uniform, learned, server = dice.uniform, self.learned, self.server
        heap: list[tuple[float, int, int, Any]] = []
        number = in_flight = 0
        heard_at = _INFINITY
        woken = _INFINITY
        waiting: Cost | None = None
        for moment, act in self.events:
            heappush(heap, (moment, number, 3, act))
            number += 1
        gap = self.server.per / (self.others * server.limits["requests"]) if self.others else _INFINITY
        if self.others:
            heappush(heap, (0.0, number, 4, None))
            number += 1
        now = 0.0
        while now < until:
            # Everything that may leave, leaves.
            most = (
                self.concurrency if now >= heard_at else min(self.concurrency, 8 << min(20, int(now / 0.2)))
            )
            while in_flight < most:
                if waiting is None:
                    waiting = self.cost(dice)
                if not learned.fits(waiting, now):
                    due = learned.next_change(waiting, now)
                    assert due > now, "refused, and nothing to wait for"
                    if due < woken or woken <= now:
                        woken = due
                        if due < until:
                            heappush(heap, (due, number, 2, None))
                            number += 1
                    break
                taken = learned.take(waiting, now)
                in_flight += 1
                self.sent += 1
                heappush(heap, (now + uniform(*self.way), number, 0, (waiting, taken)))
                number += 1
                waiting = None
            if now < heard_at and in_flight >= most:
                heappush(heap, ((int(now / 0.2) + 1) * 0.2 + 1e-6, number, 2, None))
                number += 1
            if not heap:
                break
            now, _, kind, what = heappop(heap)
            if kind == 0:
                cost, taken = what
                admitted = server.admit(cost, now)
                self.log.append((now, admitted))
                stated = None if server.at_reply else server.states(now)
                delay = uniform(*self.latency) if admitted else 0.001
                heappush(heap, (now + delay, number, 1, (cost, taken, admitted, stated)))
                number += 1
            elif kind == 1:
                cost, taken, admitted, stated = what
                stated = server.states(now) if stated is None else stated
                heappush(heap, (now + uniform(*self.way), number, 5, (cost, taken, admitted, stated)))
                number += 1
            elif kind == 5:
                cost, taken, admitted, stated = what
                in_flight -= 1
                heard_at = min(heard_at, now)
                learned.hear(stated, now, taken, refused=not admitted)
                if admitted:
                    self.accepted += 1
                    learned.settle(taken, self._really(cost), now)
                else:
                    self.refused += 1
                    self.blind += taken.sent < heard_at
                    learned.settle(taken, None, now)
            elif kind == 3:
                what()
            elif kind == 4:
                self.others_refused += not server.admit(self.cost(dice), now)
                heappush(heap, (now + gap, number, 4, None))
                number += 1
        return self

    def _really(self, cost: Cost) -> Cost:
        return cost if self.settles == 1.0 else Cost(cost.prompt, round(cost.completion * self.settles))

    @property
    def refusals(self) -> float:
        """The share of what was sent that was refused, what left before anything was heard left aside."""
        return (self.refused - self.blind) / max(1, self.sent)

    def used(self, began: float, ended: float) -> float:
        """The share of limit × time that ours took between two moments, in requests."""
        limit = self.server.limits["requests"]
        taken = sum(admitted for moment, admitted in self.log if began <= moment < ended)
        return taken / (limit * (ended - began) / self.server.per)
