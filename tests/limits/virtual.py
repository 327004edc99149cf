"""Virtual time for adaptive limits: model servers judged on arrival, and clients with endless work.

A request leaves, arrives after a one-way delay, is judged there by the server's own clock, and its reply
comes back after another delay, at once when it was refused and after the generation when it was not. Nothing
sleeps: a queue of events is the clock. Every run is made from one seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, inf
from typing import Protocol

from fastbatch.limits.adaptive import Adaptive

Span = tuple[float, float]
_TIMER = 0.001  # an event loop's timers are no finer


class Server(Protocol):
    """Judges a request that arrives at `now`: None lets it in, a number refuses it for so many seconds."""

    def judge(self, now: float) -> float | None: ...

    def done(self) -> None:
        """A generation that was let in is over."""


class Unlimited:
    """Takes everything; the parent of the servers that do not count what is in progress."""

    def judge(self, now: float) -> float | None:
        return None

    def done(self) -> None:
        pass


class Sliding(Unlimited):
    """At most `limit` requests in any `per` seconds."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._arrived: deque[float] = deque()

    def judge(self, now: float) -> float | None:
        arrived = self._arrived
        while arrived and arrived[0] <= now - self.per:
            arrived.popleft()
        if len(arrived) >= self.limit:
            # Free when so many have left that fewer than the limit remain.
            return arrived[len(arrived) - self.limit] + self.per - now
        arrived.append(now)
        return None


class Bucket(Unlimited):
    """A bucket of `limit` tokens that fills again at `limit` in `per` seconds."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit, self.per = limit, per
        self._held, self._at = float(limit), 0.0

    def judge(self, now: float) -> float | None:
        rate = self.limit / self.per
        self._held = min(self.limit, self._held + (now - self._at) * rate)
        self._at = now
        if self._held < 1:
            return (1 - self._held) / rate
        self._held -= 1
        return None


class Fixed(Unlimited):
    """At most `limit` requests in each of the server's own windows, which began at any moment."""

    def __init__(self, limit: int, per: float, phase: float = 0.37) -> None:
        self.limit, self.per, self.phase = limit, per, phase * per
        self._window, self._used = -1, 0

    def judge(self, now: float) -> float | None:
        window = int((now + self.phase) // self.per)
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self.limit:
            return (window + 1) * self.per - self.phase - now
        self._used += 1
        return None


class Both(Unlimited):
    """A limit for the long window and a strict share of it in every second."""

    def __init__(self, limit: int, per: float, slack: float = 1.0) -> None:
        self._long = Sliding(limit, per)
        self._second = Sliding(max(1, round(limit / per * slack)), 1.0)

    def judge(self, now: float) -> float | None:
        refused = self._second.judge(now)
        return refused if refused is not None else self._long.judge(now)


class InFlight(Unlimited):
    """At most `most` generations at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    def judge(self, now: float) -> float | None:
        if self.open >= self.most:
            return 0.0
        self.open += 1
        return None

    def done(self) -> None:
        self.open -= 1


class Moody(Unlimited):
    """Refuses a share of all requests for no reason, before another server judges the rest."""

    def __init__(self, share: float, rng: random.Random, behind: Server | None = None) -> None:
        self.share, self._rng, self._behind = share, rng, behind or Unlimited()

    def judge(self, now: float) -> float | None:
        if self._rng.random() < self.share:
            return 0.0
        return self._behind.judge(now)

    def done(self) -> None:
        self._behind.done()


class Storm(Unlimited):
    """Refuses everything from `start` to `end`, before another server judges the rest."""

    def __init__(self, start: float, end: float, behind: Server | None = None) -> None:
        self.start, self.end, self._behind = start, end, behind or Unlimited()

    def judge(self, now: float) -> float | None:
        return self.end - now if self.start <= now < self.end else self._behind.judge(now)

    def done(self) -> None:
        self._behind.done()


class Within(Adaptive):
    """One beside a declared limit: at most `limit` leave in any `per` seconds, refused or not."""

    def __init__(self, limit: int, per: float, ceiling: int) -> None:
        super().__init__(ceiling=ceiling, slow_start=False)
        self._limit, self._per = limit, per
        self._departed: deque[float] = deque(maxlen=limit)

    def allows(self, in_flight: int, now: float) -> bool:
        return now >= self._free() and super().allows(in_flight, now)

    def next_change(self, in_flight: int, now: float) -> float:
        return max(self._free(), super().next_change(in_flight, now))

    def left(self, now: float) -> None:
        self._departed.append(now)
        super().left(now)

    def _free(self) -> float:
        return self._departed[0] + self._per if len(self._departed) == self._limit else -inf


@dataclass
class Client:
    """One process: an `Adaptive`, work without end, and what became of it."""

    adaptive: Adaptive
    concurrency: int
    starts: float = 0.0
    in_flight: int = 0
    paused_until: float = 0.0
    wake: float = inf
    accepted: list[float] = field(default_factory=list)
    """When each accepted request arrived."""
    refused: list[float] = field(default_factory=list)
    most: int = 0
    """The most requests in flight at any moment."""
    pauses: int = 0

    def share_refused(self, begin: float = 0.0, end: float = inf) -> float:
        """Refused of all that arrived between two moments."""
        bad = sum(begin <= at < end for at in self.refused)
        good = sum(begin <= at < end for at in self.accepted)
        return bad / max(1, bad + good)

    def rate(self, begin: float, end: float) -> float:
        """Accepted requests a second between two moments."""
        return sum(begin <= at < end for at in self.accepted) / (end - begin)


def drive(
    clients: Sequence[Client],
    server: Server,
    *,
    until: float,
    seed: int = 0,
    latency: Span = (0.5, 1.5),
    way: Span = (0.002, 0.02),
    stated: str = "none",
    changes: Sequence[tuple[float, Callable[[], None]]] = (),
    told: bool = True,
    stalls: Sequence[Span] = (),
) -> None:
    """Run `clients` against one `server` for `until` seconds of virtual time.

    `stated` is how a refusal states its wait: "none", "exact", or "whole" seconds, rounded up. `changes` are
    done at their time. `told` says whether a refusal's own latency is passed on. In `stalls` the clients' own
    machine stands still: timers go first when it goes on, before what lies in the sockets is read.
    """
    rng = random.Random(seed)
    events: list[tuple[float, int, int, Client, float]] = []
    waits: dict[int, float] = {}
    uniform, number = rng.random, 0
    early, slow = way
    jitter = slow - early
    short, long = latency

    def pump(client: Client, now: float) -> None:
        nonlocal number
        adaptive = client.adaptive
        if now < client.paused_until:
            at = client.paused_until
        else:
            while client.in_flight < client.concurrency and adaptive.allows(client.in_flight, now):
                adaptive.left(now)
                client.in_flight += 1
                number += 1
                heappush(events, (now + early + uniform() * jitter, number, 0, client, now))
            client.most = max(client.most, client.in_flight)
            if client.in_flight >= client.concurrency:
                return
            at = adaptive.next_change(client.in_flight, now)
        if at < client.wake:
            client.wake = at = max(at, now + _TIMER)
            number += 1
            heappush(events, (at, number, 3, client, at))

    for client in clients:
        client.wake = client.starts
        number += 1
        heappush(events, (client.starts, number, 3, client, client.starts))
    for at, _ in changes:
        number += 1
        heappush(events, (at, number, 4, clients[0], at))
    waiting = sorted(changes, key=lambda change: change[0])
    while events:
        now, _, kind, client, left = heappop(events)
        if now > until:
            break
        if kind and (ends := next((end for begin, end in stalls if begin <= now < end), None)):
            number += kind != 3
            heappush(events, (ends + (kind != 3) * 1e-6, _ if kind == 3 else number, kind, client, left))
            if (wait := waits.pop(_, None)) is not None:
                waits[number] = wait
            continue
        if kind == 0:  # it arrives
            wait = server.judge(now)
            number += 1
            back = early + uniform() * jitter
            if wait is None:
                client.accepted.append(now)
                # The generation is over `latency` after it began; the last stretch is the way back.
                heappush(events, (now + short + uniform() * (long - short), number, 1, client, left))
            else:
                client.refused.append(now)
                kind = 2 if stated == "none" or wait <= 0 else (5 if stated == "exact" else 6)
                # The wait travels in the number's place among equal times: it is part of the event.
                heappush(events, (now + back, number, kind, client, left))
                if kind != 2:
                    waits[number] = wait if kind == 5 else float(ceil(wait))
        elif kind == 1:
            server.done()
            client.in_flight -= 1
            client.adaptive.accepted(now, now - left)
            pump(client, now)
        elif kind == 3:
            if left == client.wake:
                client.wake = inf
                pump(client, now)
        elif kind == 4:
            waiting.pop(0)[1]()
        else:
            wait = waits.pop(_, None)
            pause = client.adaptive.refused(now, wait, client.in_flight, now - left if told else None)
            client.in_flight -= 1
            if pause.seconds > 0:
                client.pauses += 1
                client.paused_until = max(client.paused_until, now + pause.seconds * (1 + 0.1 * uniform()))
            pump(client, now)
