"""Who may pass: the provider's limits, kept strictly at arrival. Pure: `now` (seconds) is passed in.

Written on purpose without `fastbatch.limits`: this side judges what that side plans.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fastbatch.simulator.config import SimulatedLimit


class Meter(Protocol):
    """One limit's state: ask `wait`, then `take`."""

    limit: SimulatedLimit
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


class SlidingWindow:
    """Admits an arrival only if it and all before it in the last `per` seconds stay within the limit.

    An arrival leaves when `now - then >= per`: the very expression with which a test can check the arrivals.
    """

    def __init__(self, limit: SimulatedLimit) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0  # the most ever inside one window
        self.refused = 0
        self._entries: deque[tuple[float, int]] = deque()

    def _expire(self, now: float) -> None:
        entries, per = self._entries, self.limit.per
        while entries and now - entries[0][0] >= per:
            self.used -= entries.popleft()[1]

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never."""
        self._expire(now)
        excess = self.used + amount - self.limit.amount
        if excess <= 0:
            return 0.0
        if amount > self.limit.amount:
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
        return self.limit.amount - self.used

    def reset(self, now: float) -> float:
        """Seconds until the whole allowance is free again."""
        self._expire(now)
        return self._entries[-1][0] + self.limit.per - now if self._entries else 0.0


class Bucket:
    """A bucket that holds the limit, starts full and refills evenly over `per` seconds."""

    # Refilling in floating point may end a hair below a whole request; a hair is not a refusal.
    _HAIR = 1e-6

    def __init__(self, limit: SimulatedLimit) -> None:
        self.limit = limit
        self.peak = 0  # the most ever missing from the bucket, rounded up
        self.refused = 0
        self._level = float(limit.amount)
        self._rate = limit.amount / limit.per
        self._filled_at = -math.inf

    def _refill(self, now: float) -> float:
        self._level = min(float(self.limit.amount), self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return self._level

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits: 0.0 is now, infinity is never."""
        missing = amount - self._refill(now)
        if missing <= self._HAIR:
            return 0.0
        return math.inf if amount > self.limit.amount else missing / self._rate

    def take(self, amount: int, now: float) -> None:
        """Charge `amount`."""
        self._level = self._refill(now) - amount
        self.peak = max(self.peak, math.ceil(self.limit.amount - self._level - self._HAIR))

    def remaining(self, now: float) -> int:
        """What would pass now."""
        return max(0, math.floor(self._refill(now) + self._HAIR))

    def reset(self, now: float) -> float:
        """Seconds until the whole allowance is free again."""
        return max(0.0, (self.limit.amount - self._refill(now)) / self._rate)


@dataclass(frozen=True)
class Refusal:
    """Why a request may not pass: the limit in its way, its state, and for how long (infinity: for ever)."""

    limit: SimulatedLimit
    used: int
    requested: int
    wait: float  # seconds

    @property
    def retry_after_ms(self) -> int | None:
        """Whole milliseconds after which the same request passes if nobody else came; None: never."""
        if math.isinf(self.wait):
            return None
        # Up to one millisecond late and never a rounding error early: waiting exactly this long must do.
        return math.floor(self.wait * 1000 + 0.001) + 1


class Admission:
    """All limits of one provider: a request passes all of them or is charged to none."""

    def __init__(self, limits: Iterable[SimulatedLimit]) -> None:
        self.meters: list[Meter] = [
            SlidingWindow(limit) if limit.kind == "sliding" else Bucket(limit) for limit in limits
        ]
        # With several limits of one sort the first declared speaks in the headers, so that the numbers a
        # client reads belong to one window from the first reply to the last.
        self._shown: list[tuple[Meter, bytes]] = []
        for what in ("requests", "tokens"):
            meter = next((meter for meter in self.meters if meter.limit.what == what), None)
            if meter is not None:
                lines = (
                    f"x-ratelimit-limit-{what}: {meter.limit.amount}\r\n"
                    f"x-ratelimit-remaining-{what}: %d\r\nx-ratelimit-reset-{what}: %b\r\n"
                )
                self._shown.append((meter, lines.encode()))

    def admit(self, tokens: int, now: float) -> Refusal | None:
        """Charge one request of `tokens` to every limit, or say which one refuses it for the longest."""
        refusal: Refusal | None = None
        for meter in self.meters:
            amount = tokens if meter.limit.what == "tokens" else 1
            wait = meter.wait(amount, now)
            if wait > 0:
                meter.refused += 1
                if refusal is None or wait > refusal.wait:
                    used = meter.limit.amount - meter.remaining(now)
                    refusal = Refusal(meter.limit, used, amount, wait)
        if refusal is None:
            for meter in self.meters:
                amount = tokens if meter.limit.what == "tokens" else 1
                if amount:
                    meter.take(amount, now)
        return refusal

    def headers(self, now: float) -> bytes:
        """The `x-ratelimit-*` lines of a reply leaving the decision at `now`; empty without limits."""
        return b"".join(
            [
                lines % (meter.remaining(now), go_duration(meter.reset(now)).encode())
                for meter, lines in self._shown
            ]
        )


def go_duration(seconds: float) -> str:
    """A duration as Go writes it, as in OpenAI's reset headers, rounded up to a millisecond.

    >>> [go_duration(s) for s in (0, 0.017, 1, 90, 360, 8.64, 3600)]
    ['0s', '17ms', '1s', '1m30s', '6m0s', '8.64s', '1h0m0s']
    """
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest % 1000:03}".rstrip("0").rstrip(".")
    text = f"{rest // 1000}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
