"""How long answers take: a histogram of fixed size, from which percentiles are read."""

from __future__ import annotations

from bisect import bisect_right
from math import exp2

_FINEST = 0.001  # seconds; everything faster counts as this fast
_STEPS = 8  # per doubling: a percentile is told to within 9 %
_BINS = 24 * _STEPS  # up to 4.6 hours
_ENDS = [_FINEST * exp2(place / _STEPS) for place in range(1, _BINS)]  # of all bins but the last


class Latencies:
    """Counts of latencies in bins that grow by a constant factor.

    >>> latencies = Latencies()
    >>> for seconds in [0.1] * 98 + [3.0] * 2:
    ...     latencies.add(seconds)
    >>> round(latencies.percentile(50), 1), round(latencies.percentile(99), 1)
    (0.1, 3.0)
    """

    __slots__ = ("_bins", "count")

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self.count = 0

    def add(self, seconds: float) -> None:
        """One answer took so long."""
        self.count += 1
        self._bins[bisect_right(_ENDS, seconds)] += 1

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` of the answers took at most, to within a bin; 0.0 where there are none."""
        wanted = self.count * percent / 100
        seen = 0
        for place, number in enumerate(self._bins):
            seen += number
            if number and seen >= wanted:
                return _FINEST * exp2((place + 0.5) / _STEPS)
        return 0.0
