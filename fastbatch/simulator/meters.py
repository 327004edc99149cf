"""The state of one limit, kept strictly at arrival. Pure: `now` (seconds) is passed in.

Written on purpose without `fastbatch.limits`: this side judges what that side plans.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from fastbatch.simulator.limits import SimulatedLimit


class Meter(Protocol):
    """One limit's state: ask `wait`, then `take`.

    Attributes:
        limit: what it keeps, as declared.
        amount: how much it allows at present.
        peak: the most it ever held.
        refused: how many requests it refused.
    """

    limit: SimulatedLimit
    amount: int
    peak: int
    refused: int

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never (it is larger than the limit)."""
        ...

    def take(self, amount: int, now: float) -> None:
        """Charge `amount`; only after `wait(amount, now) == 0.0`."""
        ...

    def remaining(self, now: float) -> int:
        """What would pass now."""
        ...

    def reset(self, now: float) -> float:
        """Seconds until the whole allowance is free again."""
        ...

    def resize(self, amount: int, now: float) -> None:
        """From now on allow `amount`; what was charged stays charged."""
        ...


def fresh(limit: SimulatedLimit) -> Meter:
    """A fresh meter for a limit of any kind."""
    if limit.kind == "sliding":
        return SlidingWindow(limit)
    return Bucket(limit) if limit.kind == "bucket" else FixedWindows(limit)


class SlidingWindow:
    """Admits an arrival only if it and all before it in the last `per` seconds stay within the limit.

    An arrival leaves when `now - then >= per`: the very expression with which a test can check the arrivals.
    """

    def __init__(self, limit: SimulatedLimit) -> None:
        self.limit = limit
        self.amount = limit.amount
        self.used = 0
        self.peak = 0
        self.refused = 0
        self._entries: deque[tuple[float, int]] = deque()

    def _expire(self, now: float) -> None:
        entries, per = self._entries, self.limit.per
        while entries and now - entries[0][0] >= per:
            self.used -= entries.popleft()[1]

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never."""
        self._expire(now)
        excess = self.used + amount - self.amount
        if excess <= 0:
            return 0.0
        if amount > self.amount:
            return math.inf
        return self._until_free(excess, now)

    def _until_free(self, excess: int, now: float) -> float:
        for then, freed in self._entries:
            excess -= freed
            if excess <= 0:
                # Rounding may give 0 for an entry that has not left yet, and 0 would mean that it fits.
                return max(then + self.limit.per - now, 1e-9)
        return math.inf

    def take(self, amount: int, now: float) -> None:
        """Charge `amount`."""
        self._entries.append((now, amount))
        self.used += amount
        self.peak = max(self.peak, self.used)

    def remaining(self, now: float) -> int:
        """What would pass now."""
        self._expire(now)
        return max(0, self.amount - self.used)

    def reset(self, now: float) -> float:
        """Seconds until the whole allowance is free again."""
        self._expire(now)
        return self._entries[-1][0] + self.limit.per - now if self._entries else 0.0

    def resize(self, amount: int, now: float) -> None:
        """From now on allow `amount`; those inside stay inside."""
        self.amount = amount


class Bucket:
    """A bucket that holds the limit, starts full and refills evenly over `per` seconds."""

    # Refilling in floating point may end a hair below a whole request; a hair is not a refusal.
    _HAIR = 1e-6

    def __init__(self, limit: SimulatedLimit) -> None:
        self.limit = limit
        self.amount = limit.amount
        self.peak = 0  # the most ever missing from the bucket, rounded up
        self.refused = 0
        self._level = float(limit.amount)
        self._rate = limit.amount / limit.per
        self._filled_at = -math.inf

    def _refill(self, now: float) -> float:
        self._level = min(float(self.amount), self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return self._level

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never."""
        missing = amount - self._refill(now)
        if missing <= self._HAIR:
            return 0.0
        return math.inf if amount > self.amount else missing / self._rate

    def take(self, amount: int, now: float) -> None:
        """Charge `amount`."""
        self._level = self._refill(now) - amount
        self.peak = max(self.peak, math.ceil(self.amount - self._level - self._HAIR))

    def remaining(self, now: float) -> int:
        """What would pass now."""
        return max(0, math.floor(self._refill(now) + self._HAIR))

    def reset(self, now: float) -> float:
        """Seconds until the whole allowance is free again."""
        return max(0.0, (self.amount - self._refill(now)) / self._rate)

    def resize(self, amount: int, now: float) -> None:
        """From now on hold `amount` and refill at its pace; what is too much spills when it refills."""
        self._refill(now)
        self.amount = amount
        self._rate = amount / self.limit.per


class FixedWindows:
    """Windows of `per` seconds, one after the other from the first arrival on, each with the whole limit."""

    def __init__(self, limit: SimulatedLimit) -> None:
        self.limit = limit
        self.amount = limit.amount
        self.used = 0
        self.peak = 0
        self.refused = 0
        self._begin: float | None = None  # of the window that `_turn` saw last

    def _turn(self, now: float) -> None:
        if self._begin is None:
            return
        passed = math.floor((now - self._begin) / self.limit.per)
        if passed > 0:
            self._begin += passed * self.limit.per
            self.used = 0

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never."""
        self._turn(now)
        if self.used + amount <= self.amount:
            return 0.0
        return math.inf if amount > self.amount else max(self._left(now), 1e-9)

    def take(self, amount: int, now: float) -> None:
        """Charge `amount`."""
        if self._begin is None:
            self._begin = now
        self.used += amount
        self.peak = max(self.peak, self.used)

    def remaining(self, now: float) -> int:
        """What would pass now."""
        self._turn(now)
        return max(0, self.amount - self.used)

    def reset(self, now: float) -> float:
        """Seconds until the next window; 0 while this one is untouched."""
        self._turn(now)
        return self._left(now) if self.used else 0.0

    def resize(self, amount: int, now: float) -> None:
        """From now on allow `amount` a window, this one included."""
        self.amount = amount

    def _left(self, now: float) -> float:
        return 0.0 if self._begin is None else self._begin + self.limit.per - now
