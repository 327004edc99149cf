"""How many may be in flight: slow start, and a bound that follows a server's own where it has one."""

from __future__ import annotations

from math import inf, log2

_FIRST = 8
_DOUBLING = 0.2  # seconds: 64 after 0.6 s, 1,000 after 1.4 s, long before the first generation is over
# Requests between two tries above a bound that the server confirmed; doubled by every try it refused.
_HOLD_FIRST, _HOLD_MOST = 16, 512


class Ramp:
    """The bound on requests in flight, never above `ceiling`.

    It starts at `ceiling`, or at a few that double by time alone, since refusals come back fast and long
    generations do not. `cut` sets it to what a server let in at once. From there it is tried carefully: one
    above, and if that is let in two more, and so on.
    """

    __slots__ = (
        "_ceiling",
        "_grown_at",
        "_hold",
        "_quiet",
        "_rise",
        "_slowly",
        "_step",
        "_target",
        "_tried",
        "_try_at",
        "level",
    )

    def __init__(self, ceiling: int, slow_start: bool) -> None:
        self._ceiling = ceiling
        self._target = ceiling
        self._slowly = slow_start
        self.level = min(_FIRST, ceiling) if slow_start else ceiling
        self._rise = float(self.level)
        self._grown_at = inf
        self._hold = _HOLD_FIRST
        self._quiet = 0
        self._step = 1
        self._try_at = -inf
        self._tried = -inf

    @property
    def rising(self) -> bool:
        """Whether it is on its way up to what is believed to be possible."""
        return self.level < self._target

    @property
    def bounded(self) -> bool:
        """Whether the server, not the user, sets the bound."""
        return self._target < self._ceiling

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more may leave beside `in_flight`."""
        if now > self._grown_at and self.level < self._target:
            # By time alone, and little by little: a jump would be refused as a whole.
            self._rise *= 2 ** min(16.0, (now - self._grown_at) / _DOUBLING)
            self._grown_at = now
            self.level = min(self._target, int(self._rise))
        if in_flight < self.level:
            return True
        return self.bounded and not self.rising and self._quiet >= self._hold and now >= self._try_at

    def next_change(self, in_flight: int, now: float) -> float:
        """When more may leave without a reply; infinity where only a reply changes it."""
        if in_flight < self.level:
            return now
        if self.rising:
            return self._grown_at + _DOUBLING * log2((in_flight + 1) / self._rise)
        return self._try_at if self.bounded and self._quiet >= self._hold else inf

    def left(self, in_flight: int, now: float, patience: float) -> None:
        """One leaves beside `in_flight`; where that is the bound, it is a try: refused within `patience`."""
        self._quiet += 1
        if in_flight >= self.level and self.bounded and not self.rising:
            self.level = self._target = min(self._ceiling, self._target + self._step)
            self._step = min(self._step * 2, self._target)
            self._tried, self._try_at = now, now + patience
        if self._grown_at == inf and self.level < self._target:
            self._grown_at = now

    def room(self, in_flight: int, now: float) -> int:
        """How many may leave beside `in_flight` without being a try."""
        self.allows(in_flight, now)
        return max(0, self.level - in_flight)

    def left_within(self, number: int, now: float) -> None:
        """As many leave as there was `room` for."""
        self._quiet += number
        if self._grown_at == inf and self.level < self._target:
            self._grown_at = now

    def accepted(self) -> None:
        """One was let in and came back."""
        if self.level < self._target:
            self._rise += 1
            self.level = min(self._target, int(self._rise))

    def trying(self, left: float, patience: float) -> bool:
        """Whether a request that left then was a try above the bound."""
        return self.bounded and self._tried <= left <= self._tried + patience

    def cut(self, held: int, *, tried: bool) -> None:
        """The server let in `held` at once and refused the next, a try above the bound if `tried`."""
        self._target = max(1, min(held, self._target))
        self.level = min(self.level, self._target)
        self._rise = float(self.level)
        self._grown_at = inf
        self._hold = min(_HOLD_MOST, self._hold * 2) if tried else _HOLD_FIRST
        self._quiet, self._step, self._tried = 0, 1, -inf

    def refute(self, now: float) -> None:
        """One above the bound was let in with nothing come back: what refused was no bound on the number."""
        self._target = self._ceiling
        self._grown_at = now

    def again(self, now: float) -> None:
        """Begin as in the beginning, up to what is believed to be possible."""
        if self._slowly:
            self.restart(now)
        else:
            self.level = self._target

    def restart(self, now: float) -> None:
        """Rise again from a few."""
        self.level = min(_FIRST, self._target)
        self._rise = float(self.level)
        self._grown_at = now
