"""How long a window is, when its server says only what is left of it and when all of it is free again.

`reset` means different things. In a token bucket it is the time until the bucket is full again, so it grows
with what is used: `reset = used * per / limit`. In a sliding window it is the time until the newest arrival
leaves, so it is about `per` after any arrival; in a fixed window it is the time to its end, at most `per`.

Two readings follow. *By what is used*: every observation bounds `per` from both sides, and the bounds of all
observations must overlap while `used` varies; in sliding and fixed windows they soon do not. *By the longest
reset*: `per` is at least that, and comes close to it. Until the first one is contradicted the longer of both
counts, which may be "unknown": too long a window is soon corrected by what the server has left, too short a
one sends too much.
"""

from __future__ import annotations

_INFINITY = float("inf")
# Windows people configure; a length measured within rounding of one is taken for it.
_USUAL: tuple[float, ...] = (
    0.1,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
)
_USUAL += (10_800.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0, 2_592_000.0)
_MILLISECOND = 0.0011  # resets are rounded to it where they are not whole seconds
_NEAR = 1.02  # a reset this little below a usual length was written a little after the arrival it counts from
_SURE = 1.25  # bounds this close together decide
_RANGE = 4.0  # times that `used` must have varied before a bucket is believed in
_FAR = 2.0  # a bucket's window may be so much longer than any reset seen before it must be certain
_TELLING = 0.2  # the most that rounding may be of a reset for it to count for that
_SLACK = 1.01  # of each bound, for what servers do beside rounding
# The longest reset of so many windows counts, so that a window which became shorter is found, too.
_MEMORY = 8.0
_LATER = 1.5  # seconds after which a way to a boundary is shorter by a whole one, however it is rounded


class Reading:
    """What the observations of one limit say about the length of its window."""

    __slots__ = ("_by_reset", "_by_use")

    def __init__(self) -> None:
        self._by_use = _ByUse()
        self._by_reset = _ByReset()

    def observe(self, limit: int, remaining: int, reset: float, now: float, latency: float = 0.0) -> bool:
        """A reply said that `remaining` of `limit` is left, and all of it free again in `reset` seconds.

        `latency` is the time since its request left: so much earlier may the newest arrival lie.

        Returns:
            Whether `period` may say something new.
        """
        by_use, by_reset = self._by_use, self._by_reset
        changed = False
        if remaining or not by_use.certain:  # an overdrawn bucket takes longer than its window
            changed = by_reset.observe(reset, now, latency)
        if by_use.holds:
            changed |= by_use.observe(limit, remaining, reset)
        return changed

    def period(self) -> float | None:
        """The window's length in seconds; None while it cannot be told."""
        by_use, by_reset = self._by_use, self._by_reset
        if not by_use.holds:
            return by_reset.period() or None
        coarse = float(
            by_reset.whole
        )  # the shortest window, and the error, where only whole seconds are told
        low = max(by_use.low, by_use.longest, coarse)
        if by_use.high > _SURE * (low + coarse) or (
            by_use.low > _FAR * by_use.longest and not by_use.certain
        ):
            return None
        return _usual(low, by_use.high, by_use.high)

    @property
    def refills(self) -> bool:
        """Whether it is certainly a bucket: `reset` has followed `used` over a wide range."""
        return self._by_use.certain


class _ByUse:
    """Bounds of a bucket's window, from `reset = used * per / limit`."""

    __slots__ = ("certain", "high", "holds", "least", "longest", "low", "most")

    def __init__(self) -> None:
        self.holds = True  # no observation contradicts another
        self.certain = False
        self.low, self.high = 0.0, _INFINITY
        self.least, self.most = _INFINITY, 0.0  # used, of the observations that tell something
        self.longest = 0.0

    def observe(self, limit: int, remaining: int, reset: float) -> bool:
        """Narrow the bounds; True when they changed."""
        used, rounding = limit - remaining, rounded(reset)
        low, high = self.low, self.high
        if used > 1:  # the part of a request that has already flowed off is not told
            self.high = min(high, (reset + rounding) * limit / (used - 1) * _SLACK)
        if remaining or not self.certain:
            self.longest = max(self.longest, reset)
        if used and remaining:  # with nothing left it may be overdrawn, and its reset longer than `per`
            self.low = max(low, (reset - rounding) * limit / used / _SLACK)
            if rounding < _TELLING * reset:
                self.least, self.most = min(self.least, used), max(self.most, used)
            self.certain = self.high <= _SURE * self.low and self.most >= _RANGE * self.least
        contradiction = self.low > self.high or self.longest - rounding > self.high
        if contradiction or (not used and reset > rounding):
            self.holds, self.certain = self.certain, False  # what was certain has changed: measure it anew
            self.low, self.high, self.least, self.most = 0.0, _INFINITY, _INFINITY, 0.0
            self.longest = 0.0
            return True
        return self.low > low or self.high < high


class _ByReset:
    """The longest reset lately: about the length of a sliding window, the most a fixed one ever states."""

    __slots__ = ("before", "begun", "late", "longest", "seen", "steady", "whole")

    def __init__(self) -> None:
        self.longest = 0.0
        self.before = 0.0  # the longest of the stretch before this one
        self.begun = -_INFINITY
        self.late = 0.0  # how long after its request left a reply said so
        self.seen = 0.0  # when the longest was observed first
        self.steady = False  # whether it came again later, so that it is no way to a boundary
        self.whole = True  # whether only whole seconds are told

    def observe(self, reset: float, now: float, latency: float) -> bool:
        """Remember the longest; True when something changed."""
        known = self.longest, self.before, self.late, self.steady, self.whole
        if now - self.begun > _MEMORY * max(self.longest, self.before, 1.0):
            self.before, self.longest, self.begun = self.longest, 0.0, now
        if reset > self.longest:
            self.steady = self.steady and reset <= max(self.longest, self.before) + 1.0
            self.longest, self.seen, self.late = reset, now, latency
        elif reset == self.longest and now - self.seen > _LATER:
            self.steady = True
            self.late = min(self.late, latency)
        self.whole = self.whole and reset == int(reset)
        return known != (self.longest, self.before, self.late, self.steady, self.whole)

    def period(self) -> float:
        """The longest, or a usual length that rounding and lateness leave possible; 0 where it is unknown."""
        longest = max(self.longest, self.before)
        if not self.whole:
            return _usual(longest, longest * _NEAR + self.late, longest)
        least = max(longest, 1.0)
        return _usual(least if self.steady else least + 1.0, least + 2.0 + self.late, least + 1.0)


def rounded(reset: float) -> float:
    """How far a stated reset may be from the truth: whole seconds may have been rounded to them."""
    return 1.0 if reset == int(reset) else _MILLISECOND


def _usual(low: float, high: float, other: float) -> float:
    """The first usual length within bounds, else the other."""
    return next((length for length in _USUAL if low <= length <= high), other)
