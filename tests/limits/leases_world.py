"""Several processes, an account and a server in virtual time: who sends what when, and what arrives."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from fastbatch import Limits
from fastbatch.limits.cost import Cost
from fastbatch.limits.exchange import Grant
from fastbatch.limits.leased import LeasedLimits
from fastbatch.limits.leases import LeaseBook


@dataclass(frozen=True)
class Arrival:
    """A request as the server counted it."""

    at: float
    cost: Cost
    holder: str


@dataclass
class Way:
    """How long things take: an exchange there and back, a reply, and the share of it until it arrives."""

    there: Callable[[], float] = lambda: 0.0
    back: Callable[[], float] = lambda: 0.0
    reply: Callable[[], float] = lambda: 0.05
    part: Callable[[], float] = lambda: 1.0


@dataclass
class World:
    """One server, one account that is written down after every exchange, and processes that come and go."""

    limits: Limits
    way: Way = field(default_factory=Way)
    now: float = 0.0
    offset: float = 1000.0  # of the account's clock
    exchanges: int = 0

    def __post_init__(self) -> None:
        self.account = LeaseBook(self.now + self.offset).to_bytes()
        self.arrivals: list[Arrival] = []
        self.processes: list[Process] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        self._count += 1
        heappush(self._events, (max(when, self.now), self._count, what))

    def process(self, queue: Iterable[Cost], *, joins: float = 0.0, concurrency: int = 64) -> Process:
        """A process that joins at some time."""
        name = f"process {len(self.processes)}"
        process = Process(self, name, deque(queue), concurrency, offset=17.0 * len(self.processes))
        self.processes.append(process)
        self.at(joins, process.look)
        return process

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heappop(self._events)
            event()
        self.now = until

    def worst(self, what: str, per: float) -> int:
        """The most that arrived in any half-open stretch of `per` seconds."""
        amounts = sorted((each.at, each.cost.of(what)) for each in self.arrivals)  # type: ignore[arg-type]
        most = total = first = 0
        for moment, amount in amounts:
            total += amount
            while amounts[first][0] <= moment - per:
                total -= amounts[first][1]
                first += 1
            most = max(most, total)
        return most

    def within_limits(self) -> bool:
        """Whether the law held."""
        return all(
            self.worst(what, window.per) <= amount
            for window in self.limits.declared()
            for what, amount in window.amounts()
        )


@dataclass
class Process:
    """One process: a queue, a leased part of the limits, and somebody who makes the exchanges."""

    world: World
    name: str
    queue: deque[Cost]
    concurrency: int
    offset: float
    takes: Callable[[Cost], Cost | None] = lambda cost: None

    def __post_init__(self) -> None:
        self.limits = LeasedLimits(self.world.limits)
        self.in_flight = 0
        self.sent = 0
        self.alive = True
        self.loses: Callable[[], bool] = lambda: False
        self._due = float("inf")

    @property
    def clock(self) -> float:
        return self.world.now + self.offset

    def kill(self) -> None:
        """What is on its way arrives, and nothing else of it is ever heard."""
        self.alive = False

    def look(self) -> None:
        """Send what may leave, and see when the next exchange is due."""
        if not self.alive:
            return
        while (
            self.queue and self.in_flight < self.concurrency and self.limits.fits(self.queue[0], self.clock)
        ):
            self._send(self.queue.popleft())
        due = self.limits.next_exchange(self._waits()) - self.offset
        if due < self._due:
            self._due = due
            self.world.at(due, lambda: self._exchange(due))

    def _waits(self) -> bool:
        return bool(self.queue) and self.in_flight < self.concurrency

    def _send(self, cost: Cost) -> None:
        world, now = self.world, self.world.now
        taken = self.limits.take(cost, self.clock)
        self.in_flight += 1
        self.sent += 1
        latency = world.way.reply()
        took = self.takes(cost)
        on_the_way = min(latency, world.limits.transit) * world.way.part()
        world.arrivals.append(Arrival(now + on_the_way, took or cost, self.name))

        def reply() -> None:
            if self.alive:
                self.in_flight -= 1
                self.limits.settle(taken, took, self.clock)
                self.look()

        world.at(now + latency, reply)

    def _exchange(self, due: float) -> None:
        if not self.alive or due != self._due:
            return
        self._due = float("inf")
        if self.limits.next_exchange(self._waits()) > self.clock + 1e-9:
            self.look()
            return
        world, limits = self.world, self.limits
        room = self.concurrency - self.in_flight
        queued: Sequence[Cost] = [self.queue[at] for at in range(min(room, len(self.queue)))]
        want = limits.want(queued)
        report = limits.report(self.clock)
        lost = self.loses()

        def enter() -> None:
            book = LeaseBook.from_bytes(world.account)
            grant = book.exchange(world.now + world.offset, self.name, report, want)
            world.account = book.to_bytes()
            world.exchanges += 1
            world.at(world.now + world.way.back(), lambda: answer(grant))

        def answer(grant: Grant) -> None:
            if not self.alive:
                return
            if lost:
                limits.failed(self.clock)
            else:
                limits.granted(grant, self.clock)
            self.look()

        world.at(world.now + world.way.there(), enter)


def uniform(dice: random.Random, low: float, high: float) -> Callable[[], float]:
    """A time drawn anew each time."""
    return lambda: dice.uniform(low, high)
