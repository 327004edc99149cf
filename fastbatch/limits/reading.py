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
_USUAL = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
_USUAL += (10_800.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0, 2_592_000.0)
_MILLISECOND = 0.0011  # resets are rounded to it where they are not whole seconds
_NEAR = 1.02  # a reset this little below a usual length was written a little after the arrival it counts from
_SURE = 1.25  # bounds this close together decide
_RANGE = 4.0  # times that `used` must have varied before a bucket is believed in
_SLACK = 1.01  # of each bound, for what servers do beside rounding
# The longest reset of so many windows counts, so that a window which became shorter is found, too.
_MEMORY = 8.0
_LATER = 1.5  # seconds after which a way to a boundary is shorter by a whole one, however it is rounded


class Reading:
    """What the observations of one limit say about the length of its window."""

    __slots__ = (
        "_before",
        "_begun",
        "_certain",
        "_high",
        "_late",
        "_least",
        "_longest",
        "_low",
        "_most",
        "_proportional",
        "_seen",
        "_steady",
        "_whole",
    )

    def __init__(self) -> None:
        self._proportional = True  # whether all observations are those of a bucket
        self._certain = False
        self._low = 0.0
        self._least, self._most = _INFINITY, 0.0  # used, of the observations that both bounds rest on
        self._high = _INFINITY
        self._longest = 0.0
        self._before = 0.0  # the longest of the stretch before this one
        self._begun = -_INFINITY
        self._late = 0.0  # after how long a request's reply said so
        self._seen = 0.0  # when the longest was observed first
        self._steady = False  # whether it came again later, so that it is no way to a boundary
        self._whole = True

    def observe(self, limit: int, remaining: int, reset: float, now: float, latency: float = 0.0) -> None:
        """A reply said that `remaining` of `limit` is left, and all of it free again in `reset` seconds.

        `latency` is the time since its request left: so much earlier may the newest arrival lie.
        """
        if now - self._begun > _MEMORY * max(self._longest, self._before, 1.0):
            self._before, self._longest, self._begun = self._longest, 0.0, now
        if not remaining and self._certain:
            pass  # an overdrawn bucket takes longer than its window
        elif reset > self._longest:
            self._steady = self._steady and reset <= max(self._longest, self._before) + 1.0
            self._longest, self._seen, self._late = reset, now, latency
        elif reset == self._longest and now - self._seen > _LATER:
            self._steady = True
            self._late = min(self._late, latency)
        self._whole = self._whole and reset == int(reset)
        if self._proportional:
            self._compare(limit, remaining, reset)

    def _compare(self, limit: int, remaining: int, reset: float) -> None:
        """Narrow the bounds of a bucket's window, until they contradict each other."""
        used, rounding = limit - remaining, rounded(reset)
        if used > 1:  # the part of a request that has already flowed off is not told
            self._high = min(self._high, (reset + rounding) * limit / (used - 1) * _SLACK)
        if not used:
            if reset > rounding:
                self._contradicted()
        elif remaining:  # with nothing left the bucket may be overdrawn, and its reset longer than `per`
            self._low = max(self._low, (reset - rounding) * limit / used / _SLACK)
            self._least, self._most = min(self._least, used), max(self._most, used)
            self._certain = self._high <= _SURE * self._low and self._most >= _RANGE * self._least
        if self._low > self._high or self._longest - rounding > self._high:
            self._contradicted()

    def _contradicted(self) -> None:
        """No bucket after all; one that was certain has changed, and is measured anew."""
        self._proportional, self._certain = self.refills, False
        self._low, self._high, self._least, self._most = 0.0, _INFINITY, _INFINITY, 0.0

    def period(self) -> float | None:
        """The window's length in seconds; None while it cannot be told."""
        longest = max(self._longest, self._before)
        if self._whole:
            longest = max(longest, 0.0 if self._proportional else 1.0)
            most = longest + 1.0
            simple = _usual(longest if self._steady else most, most + 1.0 + self._late, most)
        else:
            simple = _usual(longest, longest * _NEAR + self._late, longest)
        if not self._proportional:
            return simple or None
        low = max(self._low, longest, 1.0 if self._whole else 0.0)
        if self._high > _SURE * (low + self._whole):
            return None
        return _usual(low, self._high, self._high)

    @property
    def refills(self) -> bool:
        """Whether it is certainly a bucket: `reset` has followed `used` over a wide range."""
        return self._certain and self._proportional


def rounded(reset: float) -> float:
    """How far a stated reset may be from the truth: whole seconds may have been rounded to them."""
    return 1.0 if reset == int(reset) else _MILLISECOND


def _usual(low: float, high: float, other: float) -> float:
    """The first usual length within bounds, else the other."""
    return next((length for length in _USUAL if low <= length <= high), other)
