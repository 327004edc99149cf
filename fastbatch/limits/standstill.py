"""Standing still after a refusal: for how long, and the one request that tries whether it may end."""

from __future__ import annotations

_LONGEST = 5.0
# Where refusals may be noise: tries that chance may refuse before the waits grow, and by how much then.
_QUICK, _SLOWLY = 8, 1.25


class Standstill:
    """From a refusal to the next request that is let in: a pause, one try, a longer pause, and so on.

    A wait that the server states is kept; where it states none, the waits double.

    >>> still = Standstill()
    >>> still.begin(now=10.0, step=0.1)
    >>> still.refused(now=10.0, stated=None), still.refused(now=10.2, stated=None)
    (0.1, 0.2)
    >>> still.may_try(now=10.3), still.may_try(now=10.4)
    (False, True)
    """

    __slots__ = ("_growth", "_quick", "_step", "since", "slack", "tried", "until", "vain")

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
        self._quick, self._growth = 0, 2.0

    def begin(self, now: float, step: float, *, quick: int = 0) -> None:
        """Stand still from now on; `step` is the first wait where none is stated.

        `quick` is 1 or 2 when refusals may be noise or likely are, of which a few in a row say nothing.
        """
        self.since, self.tried, self.vain, self._step = now, None, -1, step if quick else step / 2
        self._quick, self._growth = (_QUICK if quick else 0), (_SLOWLY if quick > 1 else 2.0)

    def refused(self, now: float, stated: float | None) -> float:
        """The request that began it, or the try, was refused: seconds to wait from now."""
        self.vain += 1
        self.tried = None
        if self.vain >= self._quick:
            self._step = min(_LONGEST, self._growth * self._step)
        if stated is None:
            wait = self.slack = self._step
        else:
            wait = max(0.0, stated)
            # Whole seconds are rounded up; what has a fraction was computed.
            self.slack = min(1.0, wait) if wait % 1 == 0 else 0.0
        self.until = now + wait
        return wait

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
