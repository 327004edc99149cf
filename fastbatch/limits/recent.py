"""How many were let in lately, in a bounded number of counters."""

from __future__ import annotations

from collections import deque

_GRAINS = 50  # counters a span
_KEPT = 256


class Recent:
    """Requests that left and were not refused, over any time back to about five spans.

    >>> recent = Recent()
    >>> for tenth in range(100):
    ...     recent.left(tenth / 10, span=4.0)
    >>> recent.count(since=5.0)
    50
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: deque[list[float]] = deque(maxlen=_KEPT)  # [since, how many]

    def left(self, now: float, span: float, number: int = 1) -> None:
        """So many leave."""
        counts = self._counts
        if counts and now < counts[-1][0] + span / _GRAINS:
            counts[-1][1] += number
        else:
            counts.append([now, number])

    def refused(self) -> None:
        """One that left a round trip ago came back refused."""
        if self._counts:
            self._counts[-1][1] -= 1

    def covers(self, since: float) -> bool:
        """Whether it reaches back so far."""
        return bool(self._counts) and self._counts[0][0] <= since

    def count(self, since: float) -> int:
        """Let in since then."""
        total = 0.0
        for began, count in reversed(self._counts):
            if began < since:
                break
            total += count
        return int(total)
