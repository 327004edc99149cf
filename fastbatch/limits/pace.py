"""Departures a second: evenly spaced with a bounded burst, and a rate that probes upward in CUBIC's shape."""

from __future__ import annotations

from math import cbrt, inf

# rate = top * (1 + STEEPNESS * (x - k)**3), x in spans since the last cut: slow near the top, where the limit
# was, and twice the top one span beyond it, so that a doubled limit is found within about a window.
_STEEPNESS = 1.1
# What may leave at once after the pace stood idle, in seconds of the rate: an event loop's timers come late
# by milliseconds, and what they lose must not be lost for good.
_BURST = 0.025


class Pace:
    """Evenly spaced departures at `rate` a second; None spaces nothing.

    The rate grows only while it is what holds departures back: a pace that nobody uses up has proved nothing.

    >>> pace = Pace()
    >>> pace.set(10.0, top=10.0, below=60.0, above=60.0, now=0.0)
    >>> pace.ready(0.0), pace.left(0.0), pace.ready(0.0), pace.next_change() < 0.1
    (False, None, False, False)
    """

    __slots__ = ("_away", "_below", "_burst", "_due", "_last", "rate", "span", "top")

    def __init__(self) -> None:
        self.rate: float | None = None
        self.top = inf
        self.span = 1.0
        self._due = -inf
        self._last = 0.0
        self._below = 1.0
        # Spans from the top, passed only while the pace was what held departures back.
        self._away = 0.0
        self._burst = _BURST

    def set(
        self,
        rate: float,
        *,
        top: float,
        below: float,
        above: float,
        now: float,
        burst: float = 0.0,
        credit: float = 0.0,
    ) -> None:
        """Begin again at `rate` with a departure now.

        `below` and `above` are the spans of growth on either side of `top`. Of `credit` seconds at most
        `burst` are caught up at once.
        """
        self.rate, self.top, self.span = rate, max(top, rate), above
        self._below = below
        self._away = -cbrt((1 - rate / self.top) / _STEEPNESS)
        self._burst = max(_BURST, burst)
        self._due = now + 1 / rate - min(credit, self._burst)
        self._last = now

    def clear(self) -> None:
        """Space nothing from now on."""
        self.rate = None

    def ready(self, now: float) -> bool:
        """Whether one more may leave now."""
        return self.rate is None or now >= self._due

    def next_change(self) -> float:
        """When the next one may leave."""
        return -inf if self.rate is None else self._due

    def left(self, now: float) -> None:
        """One leaves."""
        rate = self.rate
        if rate is None:
            return
        due = self._due
        if due < now - self._burst:  # more was allowed than was used
            due = now - self._burst
        else:
            span = self._below if self._away < 0 else self.span
            away = self._away = self._away + min((now - self._last) / span, 0.25)
            self.rate = rate = self.top * (1 + _STEEPNESS * away * away * away)
        self._last = now
        self._due = due + 1 / rate
