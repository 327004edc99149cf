"""Puts a long pause to the test: was a window full, or did a server refuse everybody for a while?

Both look alike: much was let in at once, then nothing for long. But a window lets in as many again and no
more, a server whose trouble is over lets in any number. So as many go as before, as fast as before, and then
a few more, carefully.
"""

from __future__ import annotations

from enum import Enum
from math import ceil

_FREE, _ENOUGH = 0.9, 1.1  # of what was let in before: so many go freely, so many prove that it is no window
# The last of them go carefully: so many of all before a refusal is back, but all of them in that part of a
# window, and in so many seconds.
_ABREAST, _PART, _LONGEST = 0.005, 0.25, 3.0
_STUMBLES = 2
_INSTANT = 1e-3


class Step(Enum):
    """What to do after a departure."""

    ON = "go on"
    CAREFULLY = "go on at the careful rate"
    REFUTED = "it is over: there is no such window"


class Rehearsal:
    """Follows the departures after a pause that `let_in` requests may have caused by filling a window.

    The first that was refused came beside `held` others in flight. The window is at most `span` seconds long,
    and not much shorter than `span` - `slack`; refusals come back within `patience` seconds.

    >>> rehearsal = Rehearsal(10, 4, span=60.0, slack=4.0, patience=0.05, now=5.0)
    >>> steps = [rehearsal.left() for _ in range(12)]
    >>> steps.index(Step.CAREFULLY), steps.index(Step.REFUTED), rehearsal.careful, rehearsal.opens
    (8, 11, 20.0, 61.0)
    """

    __slots__ = ("_count", "_enough", "_free", "_stumbles", "careful", "held", "opens", "slack")

    def __init__(
        self, let_in: int, held: int, *, span: float, slack: float, patience: float, now: float
    ) -> None:
        self.held = held
        """In flight when it was full."""
        self._free = max(1, int(_FREE * let_in))
        self._enough = ceil(_ENOUGH * let_in) + 1
        longest = max(_INSTANT, min(_LONGEST, _PART * (span - slack)))
        self.careful = max(max(1.0, _ABREAST * let_in) / patience, (self._enough - self._free) / longest)
        """Requests a second for the last ones."""
        self.opens = now + span - slack
        """When the window likely opens again at the earliest, if it is one."""
        self.slack = slack
        """Seconds, how much later that may be."""
        self._count = self._stumbles = 0

    @property
    def likely(self) -> bool:
        """Whether a refusal now is what the end of a window looks like."""
        return self._count >= self._free

    def stumbles(self) -> bool:
        """There was a short pause: whether to go on as if nothing had been.

        What once filled a window in one go leaves it in one go, and it may be a little too fast for that.
        """
        self._stumbles += 1
        return not self.likely and self._stumbles <= _STUMBLES

    def left(self) -> Step:
        """One leaves."""
        self._count += 1
        if self._count == self._free:
            return Step.CAREFULLY
        return Step.REFUTED if self._count >= self._enough else Step.ON
