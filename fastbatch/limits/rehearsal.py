"""Puts a long pause to the test: was a window full, or did a server refuse everybody for a while?

Both look alike: much was let in at once, then nothing for long. But a window lets in as many again and no
more, a server whose trouble is over lets in any number. So as many go as before, as fast as before, and then
a few more, carefully.
"""

from __future__ import annotations

from math import ceil, inf

from fastbatch.limits.pace import Pace

_FREE, _ENOUGH = 0.9, 1.1  # of what was let in before: so many go freely, so many prove that it is no window
# The last of them go carefully: so many of all before a refusal is back, but all in that part of a window.
_ABREAST, _PART = 0.005, 0.25


class Rehearsal:
    """Sends once more what `let_in` requests may have filled, a window that is at most `span` seconds long.

    `slack` is how many seconds shorter it may be; refusals come back within `patience` seconds.

    >>> rehearsal, pace = Rehearsal(10, span=60.0, slack=4.0, patience=0.05, now=5.0), Pace()
    >>> [rehearsal.left(pace, now=5.0) for _ in range(12)].index(True), pace.rate
    (11, None)
    """

    __slots__ = ("_careful", "_count", "_enough", "_free", "opens", "slack")

    def __init__(self, let_in: int, *, span: float, slack: float, patience: float, now: float) -> None:
        self._free = max(1, int(_FREE * let_in))
        self._enough = ceil(_ENOUGH * let_in) + 1
        abreast = max(1.0, _ABREAST * let_in) / patience
        self._careful = max(abreast, (self._enough - self._free) / (_PART * (span - slack)))
        self._count = 0
        self.opens = now + span - slack
        """When the window opens again at the earliest, if it is one."""
        self.slack = slack
        """Seconds, how much later that may be."""

    @property
    def likely(self) -> bool:
        """Whether a refusal now is what the end of a window looks like."""
        return self._count >= self._free

    def left(self, pace: Pace, now: float) -> bool:
        """One leaves, the next ones at `pace`; True when it is proved that there is no such window."""
        self._count += 1
        if self._count == self._free:
            pace.set(self._careful, top=self._careful, below=inf, above=inf, now=now)
        elif self._count >= self._enough:
            pace.clear()
            return True
        return False
