"""Finds the rate and the concurrency of a server that says nothing about its limits.

What it knows is when requests left and which came back refused, and that a refusal comes back fast. Its
parts: a `Standstill` after every refusal, which one try ends; `Findings` about the rate from what was let in
between two pauses; a `Pace` that keeps to the rate and probes above it; a `Ramp` that bounds the number in
flight; and `Noise`, which recognises refusals that have nothing to do with us.
"""

from __future__ import annotations

from copy import deepcopy
from math import inf
from typing import Any, NamedTuple

from fastbatch.limits.findings import Course, Cycle, Findings
from fastbatch.limits.noise import Change, Noise
from fastbatch.limits.pace import Pace
from fastbatch.limits.ramp import Ramp
from fastbatch.limits.rehearsal import Rehearsal, Step
from fastbatch.limits.standstill import LONGEST, Standstill

_PAUSE_FIRST, _PAUSE_LEAST = 0.1, 0.02  # seconds, where none are stated
_PAUSE_OF_SPAN = 0.02
_ROUND_TRIP = 0.05  # of a refusal, before one was seen
_FORGETS = 0.97  # the slowest refusal of late, at each faster one
_PATIENCE_LEAST, _PATIENCE = 0.05, 2.5  # a refusal is back within so many round trips
# Of its pace, how much a server let in while a try above the bound was refused: in between the pace was not
# what held requests back, and not much beside the point either.
_UNBOUND = (0.75, 0.9)
_BRIEF = 0.2  # seconds of a pause in a rehearsal that say nothing
_IDLE = 30.0  # seconds without a departure, with nothing that held one back
_AS_MANY = 1.1  # times as many in flight as at another refusal are as many
_UNSURE = 0.1  # of a window that is known: how much later it may open
_RETURN = 0.93  # of the pace before a mood that was none
# What ending a standstill changes.
_CONCLUDED = (
    "_above",
    "_before_dip",
    "_before_mood",
    "_began",
    "_findings",
    "_held",
    "_left",
    "_lost",
    "_noise",
    "_pace",
    "_ramp",
    "_rehearsal",
    "_return_to",
    "_still",
    "_stopped",
    "_try_above",
)


class Pause(NamedTuple):
    """How long everybody on this account stands still, from now; 0: nobody."""

    seconds: float
    reason: str


class Adaptive:
    """Pace and concurrency for one endpoint, credential and model, learned from refusals alone.

    `ceiling` is the user's concurrency. With `slow_start` it begins with a few in flight, else with the
    ceiling. All times are seconds of one monotonic clock.

    >>> adaptive = Adaptive(ceiling=64, slow_start=True)
    >>> adaptive.allows(0, now=0.0), adaptive.left(now=0.0)
    (True, None)
    >>> adaptive.refused(now=0.1, stated=2.0, in_flight=1, latency=0.1)
    Pause(seconds=2.0, reason='the provider asked to wait')
    >>> adaptive.allows(0, now=2.0), adaptive.allows(0, now=2.1)
    (False, True)
    """

    def __init__(self, *, ceiling: int, slow_start: bool) -> None:
        self._ramp = Ramp(ceiling, slow_start)
        self._pace = Pace()
        self._still = Standstill()
        self._findings = Findings()
        self._noise = Noise()
        self._rehearsal: Rehearsal | None = None
        self._round_trip = _ROUND_TRIP
        self._patience = max(_PATIENCE_LEAST, _PATIENCE * _ROUND_TRIP)
        # The cycle: since when, how many left, how many of these came back refused.
        self._began: float | None = None
        self._last = -inf  # departure
        self._left = self._lost = 0
        # The refusal that began the pause, and the try that will end it.
        self._stopped = -inf  # when the last pause began
        self._held = 0  # in flight when it began, without those that came back refused
        self._above = False  # the refused request was a try above the bound on the number in flight
        self._try_above = False  # the try left with as many in flight as were held
        self._in_flight = 0  # as last told
        # The paces to come back to.
        self._before_mood: float | None = None
        self._before_dip: float | None = None
        self._return_to: float | None = None  # after a mood that was none, whose refusals say nothing
        # The try that is taken for let in as nothing has come back yet, and all that was known before it was.
        self._presumed: tuple[float, dict[str, Any]] | None = None

    # -- what may leave ------------------------------------------------------------------------------------

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more may leave now beside `in_flight`; asking changes nothing."""
        still = self._still
        self._in_flight = in_flight
        if still.since is not None:
            if still.tried is None or now < still.tried + self._patience:
                return still.may_try(now - self._for_a_reply(in_flight))
            self._presume()
        if self._noise.on and now < self._noise.holds(now, self._patience):
            return False
        pace = self._pace
        return (pace.rate is None or pace.ready(now)) and self._ramp.allows(in_flight, now)

    def next_change(self, in_flight: int, now: float) -> float:
        """When it is worth asking again, infinity where only a reply can change it."""
        still = self._still
        if still.since is not None:
            if still.tried is not None:
                return still.tried + self._patience
            return still.until + self._for_a_reply(in_flight)
        soonest = self._noise.holds(now, self._patience) if self._noise.on else now
        return max(soonest, self._pace.next_change(), self._ramp.next_change(in_flight, now))

    def left(self, now: float) -> None:
        """One request leaves."""
        self._leaves(now)
        self._left += 1
        self._findings.left(now)
        still = self._still
        if still.since is not None:
            if still.tried is None:
                still.tried = now
                self._try_above = self._in_flight >= self._held
            return
        if self._pace.rate is not None:
            self._pace.left(now)
        if self._rehearsal is not None:
            self._rehearse(self._rehearsal.left(), self._rehearsal.careful, now)
        self._ramp.left(self._in_flight, now, self._patience)
        if self._noise.on:
            self._in_mood(now)

    def room(self, in_flight: int, now: float) -> int:
        """How many may leave now beside `in_flight`, where nothing but their number matters; else 0."""
        if self._still.since is not None or self._noise.on or self._pace.rate is not None:
            return 0
        self._in_flight = in_flight
        return 0 if self._rehearsal is not None else self._ramp.room(in_flight, now)

    def left_together(self, number: int, now: float) -> None:
        """As many leave as there was `room` for."""
        self._leaves(now)
        self._left += number
        self._findings.left(now, number)
        self._ramp.left_within(number, now)

    # -- what came back ------------------------------------------------------------------------------------

    @property
    def content(self) -> bool:
        """Whether one more request that is let in would change nothing."""
        return self._still.since is None and self._presumed is None and not self._ramp.rising

    def accepted(self, now: float, latency: float | None = None) -> None:
        """A reply that is no refusal came back, `latency` seconds after its request left."""
        still = self._still
        if self._presumed is not None and (latency is None or now - latency >= self._presumed[0]):
            self._presumed = None
        if still.since is None:
            self._ramp.accepted()
        elif still.tried is not None and (latency is None or now - latency >= still.tried):
            self._resume()

    def refused(
        self, now: float, stated: float | None, in_flight: int, latency: float | None = None
    ) -> Pause:
        """A refusal came back, the request itself still counted in `in_flight`.

        `stated` is the wait it asks for. `latency` tells requests that left before the present pause from
        those after; without it a refusal is taken for the newest request's.
        """
        left = now if latency is None else now - latency
        if latency is not None:
            self._round_trip = max(latency, _FORGETS * self._round_trip)
            self._patience = max(_PATIENCE_LEAST, _PATIENCE * self._round_trip)
            if self._presumed is not None and left == self._presumed[0]:
                self._take_back(self._presumed[1])
        if self._began is not None and left >= self._began:
            self._lost += 1
        self._findings.refused()
        if self._noise.on:
            self._noise.refused(left, now)
            return Pause(0.0, "")
        still = self._still
        reason = "refused by the provider" if stated is None else "the provider asked to wait"
        if still.since is not None and (still.tried is None or left < still.tried):
            self._held -= 1  # it left before the pause, with the one that caused it
            return Pause(still.heard(now, stated), reason)
        if still.since is None:
            if left <= self._stopped and not stated:
                return Pause(0.0, "")  # it left before a pause that is over
            self._stand_still(now)
            self._above = self._ramp.trying(left, self._patience)
            self._held = in_flight - 1
        return Pause(still.refused(now, stated), reason)

    def dropped(self, now: float) -> None:
        """A request came to nothing for another reason; if it may have been the try, another one goes."""
        self._still.lost(now)

    def reopen(self, now: float) -> None:
        """An outage is over: what was learned stands, and the number in flight rises from a few again."""
        self._forget_cycle()
        self._ramp.restart(now)

    # -- what is known -------------------------------------------------------------------------------------

    @property
    def rate(self) -> float | None:
        """Requests a second that were found and are kept to, None where there are none."""
        return None if self._rehearsal is not None else self._pace.rate

    @property
    def concurrency(self) -> int:
        """How many may be in flight at present."""
        return self._ramp.level

    def waiting_reason(self) -> str:
        """A phrase for what holds requests back, empty when nothing does."""
        if self._still.since is not None:
            if self._still.tried is None:
                return "refused by the provider, waiting to try again"
            return "refused by the provider, trying one request"
        if self._rehearsal is not None and self._rehearsal.likely:
            return "finding out whether the provider takes more than before"
        if self._pace.rate is not None:
            return f"finding the provider's rate, now {_per_time(self._pace.rate)}"
        if self._ramp.rising:
            return f"starting slowly, now {self._ramp.level} at once"
        if self._ramp.bounded:
            return f"finding how many the provider takes at once, now {self._ramp.level}"
        return ""

    def _leaves(self, now: float) -> None:
        """Something leaves: perhaps the first for long, or of a cycle."""
        if now - self._last > _IDLE:
            self._after_idleness(now)
        self._last = now
        if self._began is None:
            self._restart(now)
            self._findings.settle(now)

    # -- between -------------------------------------------------------------------------------------------

    def _for_a_reply(self, in_flight: int) -> float:
        """How much longer a reply is waited for, where the number in flight was likely too much."""
        return LONGEST if self._above and in_flight >= self._held > 0 else 0.0

    def _stand_still(self, now: float) -> None:
        still, rehearsal, findings = self._still, self._rehearsal, self._findings
        after = self._left if self.rate is None else 0
        still.begin(now, self._first_step(), after=after, quick=self._noise.suspected)
        if rehearsal is not None and rehearsal.likely:
            still.expect(rehearsal.opens, rehearsal.slack, sure=True)
        elif self.rate is not None and findings.known and self._began is not None:
            still.expect(self._began + findings.span, _UNSURE * findings.span, sure=False)

    def _first_step(self) -> float:
        if self._noise.suspected:
            return max(_PAUSE_LEAST, self._round_trip)
        if self._pace.rate is None:
            return _PAUSE_FIRST
        least = min(_PAUSE_FIRST, max(_PAUSE_LEAST, _PAUSE_OF_SPAN * self._findings.span))
        return min(LONGEST, max(least, 1 / self._pace.rate))  # the pace would send none before

    def _after_idleness(self, now: float) -> None:
        """Nothing left for long: where that was not our doing, there was nothing to send."""
        allowed = self._pace.next_change()
        if self._still.since is not None:
            allowed = max(allowed, self._still.until)
        if self._began is not None and not self._in_flight and now - allowed > _IDLE:
            self._forget_cycle()

    def _presume(self) -> None:
        """Refusals come back fast: a try that has not come back by now was let in. Or else it is late."""
        tried = self._still.tried
        assert tried is not None
        before = {name: deepcopy(getattr(self, name)) for name in _CONCLUDED}
        self._resume()
        self._presumed = tried, before

    def _take_back(self, before: dict[str, Any]) -> None:
        """The try was refused after all, and whatever was concluded from it was wrong.

        Late are refusals on a machine that stood still for a tenth of a second: its timers go first.
        """
        left, lost = self._left, self._lost
        for name, value in before.items():
            setattr(self, name, value)
        self._left += left
        self._lost += lost
        self._presumed = None

    def _forget_cycle(self) -> None:
        """What came before says nothing about what comes now; what was learned stands."""
        self._presumed = None
        self._still.end()
        self._began = None
        if self._rehearsal is not None:
            self._rehearsal = None
            self._pace.clear()
            self._findings.refuted(self._last)

    def _restart(self, now: float) -> None:
        self._began, self._left, self._lost = now, 0, 0

    def _resume(self) -> None:
        """The try was let in: learn from the cycle that ends with it, and go on."""
        still, ramp = self._still, self._ramp
        if still.since is None or still.tried is None or self._began is None:
            return
        at = still.tried
        let_in = max(1, self._left - self._lost)
        lasted = max(1e-6, at - self._began)
        cycle = Cycle(at, let_in, self._lost, lasted, at - still.since, still.slack)
        self._stopped = still.since
        still.end()
        if self._rehearsal is not None and cycle.blocked <= _BRIEF and self._rehearsal.stumbles():
            return
        agreed = self._end_rehearsal()
        ramp.cut(max(1, self._held), tried=self._above)
        if self._try_above:
            ramp.refute(at)
        if self._return_to is not None:
            self._follow(self._findings.plain(_RETURN * self._return_to, sure=True), at)
            self._return_to = None
        elif not self._above or self._try_above or self._blames_pace(cycle):
            noisy = self._noise.cycle(
                at, let_in=let_in, lost=self._lost, rate=cycle.rate, pace=self._pace.rate, probes=still.vain
            )
            if noisy:
                self._mood(at)
            else:
                self._learn(cycle, agreed)
        self._restart(at)

    def _end_rehearsal(self) -> bool | None:
        """Whether one that was refused ended as a window does; None: there was none, or it proved nothing."""
        rehearsal, self._rehearsal = self._rehearsal, None
        if rehearsal is None:
            return None
        self._pace.clear()
        if rehearsal.likely:
            return True
        # Refused beside as many as the last time, it is their number that is limited.
        as_many = 1 / _AS_MANY <= max(1, self._held) / max(1, rehearsal.held) <= _AS_MANY
        return None if as_many else False

    def _learn(self, cycle: Cycle, agreed: bool | None) -> None:
        at = cycle.at
        course = self._findings.learn(cycle, self._pace.rate, agreed=agreed)
        if course is not None:
            self._follow(course, at)
            return
        self._ramp.refute(at)
        self._ramp.again(at)
        self._rehearsal = Rehearsal(
            cycle.let_in,
            self._held,
            span=cycle.lasted,
            slack=cycle.slack,
            patience=self._patience,
            now=at,
        )

    def _rehearse(self, step: Step, careful: float, now: float) -> None:
        if step is Step.CAREFULLY:
            self._pace.set(careful, top=careful, below=inf, above=inf, now=now)
        elif step is Step.REFUTED:
            self._rehearsal = None
            self._pace.clear()
            self._findings.refuted(now)
            self._ramp.again(now)

    def _blames_pace(self, cycle: Cycle) -> bool:
        pace = self._pace.rate
        return pace is not None and not _UNBOUND[0] * pace <= cycle.rate <= _UNBOUND[1] * pace

    def _follow(self, course: Course, at: float) -> None:
        self._pace.set(
            course.rate,
            top=course.top,
            below=course.below,
            above=course.above,
            now=at,
            burst=course.burst,
            credit=course.credit,
        )

    def _take_up(self, rate: float | None, at: float) -> None:
        if rate is None:
            self._pace.clear()
        else:
            self._follow(self._findings.plain(rate, sure=False), at)

    # -- while refusals are noise --------------------------------------------------------------------------

    def _mood(self, at: float) -> None:
        """Go on as it was before refusals were taken for a limit's."""
        self._findings.settle(at)
        self._before_mood = self._pace.rate
        self._take_up(self._noise.pace, at)
        self._ramp.refute(at)
        self._ramp.restart(at)

    def _in_mood(self, now: float) -> None:
        young = self._noise.young
        change = self._noise.left(now, self._patience)
        if change is Change.DIP:
            self._before_dip = self._pace.rate
            self._follow(self._findings.plain(self._noise.half_rate, sure=True), now)
        elif change is Change.RISE:
            self._take_up(self._before_dip, now)
        elif change is Change.LIMIT:
            if young:
                self._take_up(self._before_mood, now)
                self._return_to = self._before_mood
            self._findings.settle(now)
            self._restart(now)


def _per_time(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
