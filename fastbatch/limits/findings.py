"""What a cycle, from the end of one pause to the end of the next, says about a server's rate."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from fastbatch.limits.recent import Recent

_LONG = 0.3  # a pause that took more of its cycle than this was no touch of the limit from below
_BRIEF = 0.2  # seconds of a pause without any pace that were needed for sure: more is no touch either
_SHORT = 0.5  # of a window: cycles much shorter than that say nothing about it
_ENOUGH = 50  # requests that say something all the same
_FEW = 12  # requests that say little
_NEEDLESS = 0.75  # of what may have been needless of a pause, how much is believed to have been
_TOUCH, _DEAR = 5, 0.1  # the most that a touch is counted to have cost, requests or of what was let in
_WEIGHT = 0.3  # of the newest touch in the running means
# Of the rate, taken off after a refusal: more where a window holds many, which draws two clients of one
# server together; so many requests in a window have the middle one.
_CUT_LEAST, _CUT, _CUT_MOST, _CUT_AT = 0.05, 0.07, 0.15, 300
# How far one doubtful cycle may lower the rate: a bucket's initial fill hides its rate by orders of
# magnitude, but only at the very beginning.
_FLOOR_LATER, _FLOOR_LONG, _LONG_CYCLE = 0.75, 0.3, 3.0
_FLOOR_LULL = 0.1
# Spans in which the rate is back after a lull: what filled a window in one go leaves it in one go.
_LULL = 0.3
_SOON = 6.0  # seconds' span in which a pace comes back that one long pause made doubtful
_SPAN_LEAST, _SPAN_KNOWN, _SPAN_UNKNOWN, _SPAN_MOST = 1.0, 0.9, 15.0, 60.0  # seconds
_REQUESTS_A_SPAN = 80  # times what a touch costs: so that touches are few of all requests
_PAUSES_A_SPAN = 30  # and their pauses little of the time
_SPAN_LONGEST = 720.0
_REHEARSALS = 3  # in a row, at most
_BURST = 0.01  # spans that may be caught up at once


class Cycle(NamedTuple):
    """One cycle: `let_in` and `lost` are requests, `lasted` and `blocked`, its pause, seconds until `at`.

    `slack` is how much of the pause may have been needless.
    """

    at: float
    let_in: int
    lost: int
    lasted: float
    blocked: float
    slack: float

    @property
    def rate(self) -> float:
        """Let in a second."""
        return self.let_in / self.lasted


class Course(NamedTuple):
    """How to go on: at `rate`, back to `top` within `below` seconds' span, beyond it with `above`'s."""

    rate: float
    top: float
    below: float
    above: float
    burst: float
    credit: float = 0.0


class Findings:
    """Learns the rate and the window of a server from one cycle after the other.

    At both ends of a cycle the server was just full. So what it let in between is its rate, whether it
    counts with a window that slides, one that does not, or a bucket; what it let in during the last window,
    when that is known, is the limit of one that slides. Four kinds of cycles:

    - a *touch* from below, with a pause that is short beside it;
    - a *lull*, much shorter than a window: what once filled the window in one go is leaving it in one go;
    - a *storm*: a pause after a known rate went well for longer than it lasted;
    - all others are estimates of rate and window, one as doubtful as the first. Where no rate is known yet
      such a cycle has to be seen twice, since it may as well be a storm: a `Rehearsal`.
    """

    def __init__(self) -> None:
        self.span = _SPAN_LEAST
        """The window's length in seconds, as far as it is known."""
        self.known = False
        """Whether a pause as long as a window was seen."""
        self._recent = Recent()
        self._cost = 1.0  # requests refused by a touch and the lulls before it, running mean
        self._spent = 0  # refused since the last touch
        self._wasted = 0.0  # seconds a touch wastes, running mean
        self._settled = 0.0  # since when the present rate is believed
        self._storm = False  # the last long pause was taken for one
        self._doubts = 0  # estimates in a row, also one that is rehearsed before it is believed
        self._rehearsals = 0  # in a row
        self._lull_in, self._lull = 0, 0.0  # over lulls in a row

    def left(self, now: float, number: int = 1) -> None:
        """So many leave."""
        self._recent.left(now, self.span, number)

    def refused(self) -> None:
        """One came back refused."""
        self._recent.refused()

    def settle(self, now: float) -> None:
        """The present rate is believed from now on."""
        self._settled = now

    def learn(self, cycle: Cycle, pace: float | None, *, agreed: bool | None = None) -> Course | None:
        """How to go on after `cycle`, which was sent at `pace` at last; None: rehearse it, without any pace.

        `agreed` tells how a rehearsal ended that the cycle was: as a window does, or otherwise.
        """
        if agreed is False:
            self._doubt_again()
        lull = self._is_lull(cycle, pace)
        touch = lull or cycle.blocked < _LONG * cycle.lasted
        if pace is None and (agreed or cycle.blocked - cycle.slack > _BRIEF):
            touch = False
        good = cycle.at - cycle.blocked - self._settled
        storm = pace is not None and not touch and good >= (3 if self._storm else 1) * cycle.blocked
        self._storm = storm
        if not lull:
            self._lull_in, self._lull = 0, 0.0
        if touch or storm:
            self._doubts = self._rehearsals = 0
            needless = _NEEDLESS * min(cycle.slack, cycle.blocked)
            self._spent += cycle.lost
            if not lull:
                self._cost += _WEIGHT * (min(self._spent, max(_TOUCH, _DEAR * cycle.let_in)) - self._cost)
                self._spent = 0
            self._wasted += _WEIGHT * (min(needless, 1.0) - self._wasted)
        if touch:
            return self._after_lull(cycle, pace) if lull and pace else self._after_touch(cycle, pace)
        self._settled = cycle.at
        if pace is None and not self._doubts:
            self._doubts = 1
            self._rehearsals = 1 if good >= 3 * cycle.blocked else self._rehearsals + 1
            return None
        if storm and pace is not None:
            return self._after_storm(cycle, pace)
        return self._estimate(cycle, pace, rehearsed=bool(agreed))

    def refuted(self, now: float) -> None:
        """A rehearsal is over without an end: what was rehearsed is not believed."""
        self._doubt_again()
        self._settled = now

    def plain(self, rate: float, *, sure: bool) -> Course:
        """Go on at a rate that is known, or from a guess as fast as is reasonable."""
        if sure:
            return self._course(rate, rate, sure=True)
        return Course(rate, rate, _SPAN_LEAST, _SPAN_LEAST, _BURST * self.span)

    def _doubt_again(self) -> None:
        if self._rehearsals < _REHEARSALS:
            self._doubts = 0

    # -- the kinds -----------------------------------------------------------------------------------------

    def _is_lull(self, cycle: Cycle, pace: float | None) -> bool:
        if pace is None or not self.known or cycle.let_in >= _ENOUGH:
            return False
        return cycle.lasted < _SHORT * self.span

    def _after_touch(self, cycle: Cycle, pace: float | None) -> Course:
        top = cycle.let_in / (cycle.lasted - _NEEDLESS * min(cycle.slack, cycle.blocked))
        if pace is not None:
            window, held = self._window(cycle, pace)
            if cycle.lasted < self.span:
                top = max(top, window)
            elif held >= _ENOUGH:
                top = 0.5 * (top + window)
        return self._course(self._kept(top) * top, top, sure=True, credit=cycle.blocked)

    def _after_lull(self, cycle: Cycle, pace: float) -> Course:
        top = max(cycle.rate, self._window(cycle, pace)[0])
        self._lull_in += cycle.let_in
        self._lull += cycle.lasted
        rate = max(_FLOOR_LULL * top, min(self._lull_in / self._lull, self._kept(top) * top))
        course = self._course(rate, top, sure=True)
        return course._replace(below=min(course.below, _LULL * self.span))

    def _after_storm(self, cycle: Cycle, pace: float) -> Course:
        busy = cycle.lasted - cycle.blocked
        top = min(pace, cycle.let_in / busy) if busy > self.span else pace
        return self._course(self._kept(top) * top, top, sure=True)

    def _estimate(self, cycle: Cycle, pace: float | None, *, rehearsed: bool) -> Course:
        known, self.span = max(self.span, _SPAN_LEAST), cycle.lasted
        self.known = cycle.lasted > _SPAN_KNOWN
        self._doubts += 1
        # The window opened some time between the last two tries.
        needless = _NEEDLESS * min(cycle.slack, cycle.blocked)
        top = cycle.let_in / max(0.5 * cycle.lasted, cycle.lasted - needless)
        rate = self._kept(top) * top
        if not rehearsed:
            rate = min(cycle.rate, rate)
        if pace is not None:
            doubtful = self._doubts > 2 and (cycle.lasted < known or cycle.let_in < _FEW)
            floor = _FLOOR_LATER if doubtful else _FLOOR_LONG if cycle.lasted > _LONG_CYCLE else 0.0
            rate = max(rate, floor * pace)
        course = self._course(rate, max(rate, top), sure=False)
        if pace is not None and pace > course.top and self._doubts == 1 and cycle.lasted > _LONG_CYCLE:
            # If that was a storm the pace is back soon, if the limit has changed the next cycle tells it.
            course = course._replace(top=pace, below=min(course.below, _SOON))
        return course

    # -- arithmetic ----------------------------------------------------------------------------------------

    def _window(self, cycle: Cycle, pace: float) -> tuple[float, int]:
        """The rate of the window that ended with the refusal, and how many it held."""
        begin = cycle.at - cycle.blocked - self.span
        held = self._recent.count(begin) - 1  # but for the try
        return (held / self.span if self._recent.covers(begin) else 0.9 * pace), held

    def _kept(self, rate: float) -> float:
        cut = _CUT * sqrt(rate * (self.span if self.known else _SPAN_MOST) / _CUT_AT)
        return 1 - min(_CUT_MOST, max(_CUT_LEAST, cut))

    def _course(self, rate: float, top: float, *, sure: bool, credit: float = 0.0) -> Course:
        span = min(_SPAN_MOST, max(_SPAN_LEAST, self.span))
        if sure:
            known = span if self.known else _SPAN_UNKNOWN
            span = max(known, _REQUESTS_A_SPAN * self._cost / rate, _PAUSES_A_SPAN * self._wasted)
            span = min(span, _SPAN_LONGEST)
        return Course(rate, top, span, span, _BURST * self.span, credit)
