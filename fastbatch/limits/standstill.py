"""Standing still after a refusal: for how long, and the one request that tries whether it may end."""

from __future__ import annotations

from math import inf

LONGEST = 5.0  # seconds that nobody asked for, before the next try
# Every wait is twice the one before. After many requests less, since a try costs little beside them: from so
# many on, and at least by so much.
_TWICE, _MANY, _GROWS_LEAST = 2.0, 300, 1.25
# Where refusals may be noise: tries that chance may refuse before the waits grow.
_QUICK = 8
# Where it is likely known when it ends: the first wait, of what is left until then, and the first one after
# that, of the uncertainty and of what waits grow by, or in seconds.
_AHEAD, _AFTER, _AFTER_LEAST = 1 / 3, 0.4, 0.05


class Standstill:
    """From a refusal to the next request that is let in: a pause, one try, a longer pause, and so on.

    A wait that the server states is kept; where it states none, the waits grow.

    >>> still = Standstill()
    >>> still.begin(now=10.0, step=0.1)
    >>> still.refused(now=10.0, stated=None), still.refused(now=10.2, stated=None)
    (0.1, 0.2)
    >>> still.may_try(now=10.3), still.may_try(now=10.4)
    (False, True)
    """

    __slots__ = (
        "_growth",
        "_opens",
        "_quick",
        "_step",
        "_sure",
        "_unsure",
        "since",
        "slack",
        "tried",
        "until",
        "vain",
    )

    def __init__(self) -> None:
        self.since: float | None = None
        """Since when nothing leaves, None when it may."""
        self.until = float("-inf")
        """When the next try may leave."""
        self.tried: float | None = None
        """When the try left that is not back yet."""
        self.vain = 0
        """Tries that were refused, in this pause."""
        self.slack = 0.0
        """How much of the last wait may have been needless."""
        self._step = 0.0
        self._quick, self._growth = 0, _TWICE
        self._opens, self._unsure, self._sure = -inf, 0.0, False

    def begin(self, now: float, step: float, *, after: int = 0, quick: int = 0) -> None:
        """Stand still from now on; `step` is the first wait where none is stated.

        `after` is how many requests came before, of a server that nothing is known of. `quick` is 1 or 2 when
        refusals may be noise or likely are, of which a few in a row say nothing.
        """
        self.since, self.tried, self.vain = now, None, -1
        self._quick = _QUICK if quick else 0
        many = _TWICE if after <= _MANY else max(_GROWS_LEAST, 1 + _MANY / after)
        self._growth = _GROWS_LEAST if quick > 1 else many
        self._step = step if quick else step / self._growth
        self._opens = -inf

    def expect(self, opens: float, unsure: float, *, sure: bool) -> None:
        """It may end at `opens`, or within `unsure` seconds after it; if that is `sure`, not sooner."""
        self._opens, self._unsure, self._sure = opens, unsure, sure

    def refused(self, now: float, stated: float | None) -> float:
        """The request that began it, or the try, was refused: seconds to wait from now."""
        self.vain += 1
        self.tried = None
        wait = self._next_wait(now)
        if stated is None:
            self.slack = wait
        else:
            wait = max(0.0, stated)
            # Whole seconds are rounded up; what has a fraction was computed.
            self.slack = min(1.0, wait) if wait % 1 == 0 else 0.0
        self.until = now + wait
        return wait

    def _next_wait(self, now: float) -> float:
        ahead = self._opens - now
        if self.vain >= self._quick:
            self._step = min(LONGEST, (self._growth if ahead <= 0 else _TWICE) * self._step)
        if ahead <= 0:
            return self._step
        if self._sure:
            self._step = min(LONGEST, max(self._step, _AHEAD * ahead))
        if self._step < ahead:
            return self._step
        self._growth = max(_GROWS_LEAST, (1 + self._growth) / 2)
        self._step = max(_AFTER_LEAST, _AFTER * (self._growth - 1) * self._unsure) / self._growth
        return ahead

    def heard(self, now: float, stated: float | None) -> float:
        """Another request that left before the pause was refused, too: seconds left to wait."""
        if stated is not None:
            self.until = max(self.until, now + stated)
        return max(0.0, self.until - now)

    def may_try(self, now: float) -> bool:
        """Whether the one request may leave that tries it."""
        return self.tried is None and now >= self.until

    def lost(self, now: float) -> None:
        """What may have been the try came to nothing: another one goes, in a while."""
        if self.tried is not None:
            self.tried = None
            self.until = max(self.until, now + self._step)

    def end(self) -> None:
        """Go on."""
        self.since = self.tried = None
