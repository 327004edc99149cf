"""Finds the rate and the concurrency of a server that says nothing about its limits.

What it knows is when requests left and which came back refused, and that a refusal comes back fast. The time
between two pauses is a *cycle*: what the server let in between the ends of two pauses, over the time between,
is its rate, whatever it counts with (a window that slides, a window that does not, a bucket), because at both
ends it was just full. One cycle can mislead, a row of them converges.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from fastbatch.limits.noise import Change, Noise
from fastbatch.limits.pace import Pace
from fastbatch.limits.ramp import Ramp
from fastbatch.limits.recent import Recent

_CUT = 0.93  # of what was let in, after a refusal
_PAUSE_FIRST, _PAUSE_LEAST, _PAUSE_MOST = 0.1, 0.02, 5.0
_PAUSE_OF_SPAN = 0.02
_SPAN_LEAST, _SPAN_UNKNOWN, _SPAN_MOST, _PROBING_MOST = 1.0, 10.0, 60.0, 720.0
_REQUESTS_A_SPAN = 120  # so that one probe of the limit a span refuses few of all
_PAUSES_A_SPAN = 30  # so that the pauses after probes cost little of the time
_LONG = 0.3  # a pause that took more of its cycle than this was no touch of the limit from below
_PROVEN = 5.0  # seconds that a start without any pace must have gone well to be taken up again as it was


class Pause(NamedTuple):
    """How long everybody on this account stands still, from now; 0: nobody."""

    seconds: float
    reason: str


class Adaptive:
    """Pace and concurrency for one endpoint, credential and model, learned from refusals alone.

    >>> adaptive = Adaptive(ceiling=64, slow_start=True)
    >>> adaptive.allows(0, now=0.0), adaptive.left(now=0.0)
    (True, None)
    >>> adaptive.refused(now=0.1, stated=2.0, in_flight=1, latency=0.1)
    Pause(seconds=2.0, reason='refused, as told')
    >>> adaptive.allows(0, now=2.0), adaptive.allows(0, now=2.1)
    (False, True)
    """

    def __init__(self, *, ceiling: int, slow_start: bool) -> None:
        self._ramp = Ramp(ceiling, slow_start)
        self._pace = Pace()
        self._noise = Noise()
        self._recent = Recent()
        self._round_trip = 0.05  # of a refusal, the slowest lately
        self._in_flight = 0  # as last told
        self._before_dip: float | None = None
        self._before_mood: float | None = None
        # The cycle.
        self._began: float | None = None
        self._left = 0
        self._lost = 0
        self._settled = inf  # since when the present rate is believed
        # The pause: since the refusal, until the next try, and that try.
        self._since: float | None = None
        self._until = -inf
        self._step = 0.0
        self._probes = 0  # refused tries
        self._slack = 0.0  # how much of the last wait may have been needless
        self._probe: float | None = None
        self._probed_above = False
        self._doubts = 0  # long pauses in a row, each another estimate
        self._again = False  # the last long pause was taken for a storm
        self._held = 0
        self._tried = False
        self._last_since = -inf
        self._span = _SPAN_LEAST
        self._cost = 1.0  # requests refused by a touch of the limit, running mean
        self._touch = 0.0  # seconds that a touch of the limit costs, running mean

    # -- what may leave ----------------------------------------------------------------------------------

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more may leave now beside `in_flight`."""
        if self._since is not None:
            if now < self._until:
                return False
            if self._probe is None:
                self._in_flight = in_flight
                return True
            if now < self._probe + self._patience():
                return False
            self._resume()  # refusals come back fast: this one was let in
        self._in_flight = in_flight
        if self._noise.on and now < self._noise.holds(now, self._patience()):
            return False
        return self._pace.ready(now) and self._ramp.allows(in_flight, now, self._patience())

    def next_change(self, in_flight: int, now: float) -> float:
        """When it is worth asking again, infinity where only a reply can change it."""
        if self._since is not None:
            return self._until if self._probe is None else self._probe + self._patience()
        soonest = self._noise.holds(now, self._patience()) if self._noise.on else now
        return max(soonest, self._pace.next_change(), self._ramp.next_change(in_flight, now))

    def left(self, now: float) -> None:
        """One request leaves."""
        if self._began is None:
            self._began = self._settled = now
        self._left += 1
        self._recent.left(now, self._span)
        if self._since is not None:
            if self._probe is None:
                self._probe = now
                self._probed_above = self._in_flight >= self._held
            return
        self._pace.left(now)
        self._ramp.left(now)
        if self._noise.on:
            self._in_mood(now)

    # -- what came back ----------------------------------------------------------------------------------

    def accepted(self, now: float, latency: float | None = None) -> None:
        """A reply that is no refusal came back, `latency` seconds after its request left."""
        if self._since is None:
            self._ramp.accepted()
        elif self._probe is not None and (latency is None or now - latency >= self._probe):
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
            self._round_trip = max(latency, 0.9 * self._round_trip)
        if self._began is not None and left >= self._began:
            self._lost += 1
        self._recent.refused()
        if self._noise.on:
            self._noise.refused(left)
            return Pause(0.0, "")
        if self._since is None:
            if left <= self._last_since and not stated:
                return Pause(0.0, "")  # it left before a pause that is over
            self._stop(now, left, in_flight)
        elif self._probe is None or left < self._probe:
            self._held -= 1  # it left before the pause, with the one that caused it
            if stated is not None:
                self._until = max(self._until, now + stated)
            return Pause(max(0.0, self._until - now), self._why(stated))
        else:
            self._step = min(_PAUSE_MOST, 2 * self._step)
            self._probes += 1
        self._probe = None
        wait = self._step if stated is None else max(0.0, stated)
        # Whole seconds are rounded up, and an unstated wait may have been needed in part only.
        self._slack = 0.0 if stated is not None and stated % 1 else min(1.0, wait) if stated else wait
        self._until = now + wait
        return Pause(self._until - now, self._why(stated))

    def dropped(self, now: float) -> None:
        """A request came to nothing for another reason; if it may have been a probe, another one goes."""
        if self._since is not None and self._probe is not None:
            self._probe = None
            self._until = max(self._until, now + self._step)

    def reopen(self, now: float) -> None:
        """An outage is over: what was learned stands, and the number in flight rises from a few again."""
        self._since = self._probe = None
        if self._began is not None:
            self._began = now
            self._left = self._lost = 0
        self._ramp.restart(now)

    # -- what is known -----------------------------------------------------------------------------------

    @property
    def rate(self) -> float | None:
        """Requests a second at which it paces, None where it does not."""
        return self._pace.rate

    @property
    def concurrency(self) -> int:
        """How many may be in flight at present."""
        return self._ramp.level

    def waiting_reason(self) -> str:
        """A phrase for what holds requests back, empty when nothing does."""
        if self._since is not None:
            return "refused, waiting to try again" if self._probe is None else "refused, trying one request"
        if self._pace.rate is not None:
            return f"finding the provider's rate, now {_per(self._pace.rate)}"
        if self._ramp.rising:
            return f"starting slowly, now {self._ramp.level} at once"
        if self._ramp.bounded:
            return f"finding how many the provider takes at once, now {self._ramp.level}"
        return ""

    # -- between ------------------------------------------------------------------------------------------

    def _why(self, stated: float | None) -> str:
        return "refused" if stated is None else "refused, as told"

    def _patience(self) -> float:
        return max(0.02, 2 * self._round_trip)

    def _stop(self, now: float, left: float, in_flight: int) -> None:
        self._since = now
        self._probes = 0
        self._step = _PAUSE_FIRST
        self._slack = 0.0
        if self._pace.rate is not None:
            short = min(_PAUSE_FIRST, max(_PAUSE_LEAST, _PAUSE_OF_SPAN * self._span))
            self._step = min(_PAUSE_MOST, max(short, 1 / self._pace.rate))
        self._tried = self._ramp.trying(left, self._patience())
        self._held = in_flight - 1

    def _resume(self) -> None:
        """The probe was let in: learn from the cycle that ends with it, and go on."""
        assert self._since is not None and self._probe is not None and self._began is not None
        at, since = self._probe, self._since
        let_in = max(1, self._left - self._lost)
        lasted = max(1e-6, at - self._began)
        blocked = at - since
        self._last_since, self._since, self._probe = since, None, None
        pace, ramp = self._pace, self._ramp
        ramp.cut(max(1, self._held), tried=self._tried)
        if self._probed_above:
            ramp.refute(at)
        age = since - self._settled
        seen = let_in / lasted
        if not self._tried or self._probed_above or (pace.rate is not None and (seen > 0.9 * pace.rate or seen < 0.75 * pace.rate)):
            if self._noise.cycle(let_in, self._lost, seen, pace.rate, self._probes, at):
                self._mood(at)
            else:
                self._learn(at, let_in, lasted, blocked, age)
        self._began, self._left, self._lost = at, 0, 0

    def _learn(self, at: float, let_in: int, lasted: float, blocked: float, age: float) -> None:
        pace = self._pace
        seen = let_in / lasted
        idle = 0.75 * min(self._slack, blocked)
        touch = blocked < _LONG * lasted
        proven = age >= (3 if self._again else 1) * blocked and (pace.rate is not None or age >= _PROVEN)
        self._again = proven and not touch
        if touch or proven:
            self._doubts = 0
            self._cost += 0.3 * (min(self._lost, 50) - self._cost)
            self._touch += 0.3 * (min(idle, 1.0) - self._touch)
        if touch:
            top = let_in / (lasted - idle)
            if pace.rate is not None:
                # A window that slides was full when it refused, whatever the cycle: what it held is its limit.
                begin = at - blocked - self._span
                held = self._recent.count(begin) - 1
                window = held / self._span
                if lasted < self._span:
                    top = max(top, window if self._recent.covers(begin) else 0.9 * pace.rate)
                elif held >= 50:
                    top = 0.5 * (top + window)
        elif proven:
            # It went well for longer than it was blocked: rather a storm than a window filled in one go.
            self._settled = at
            if pace.rate is None:
                self._ramp.restart(at)
                return
            busy = lasted - blocked
            top = min(pace.rate, let_in / busy) if busy > self._span else pace.rate
        else:
            self._settled = at
            span, self._span = max(self._span, _SPAN_LEAST), lasted
            # The window opened between the last two tries.
            top = let_in / max(0.5 * lasted, lasted - idle)
            rate = min(seen, self._cut(top) * top)
            self._doubts += 1
            if pace.rate is not None and self._doubts > 2 and (lasted < span or let_in < 12):
                rate = max(rate, 0.75 * pace.rate)
            self._set(rate, max(rate, top), at, 0.0, sure=False)
            return
        self._set(self._cut(top) * top, top, at, blocked)

    def _cut(self, rate: float) -> float:
        return 1 - min(0.15, max(0.04, 0.07 * (rate * self._span / 300) ** 0.25))

    def _set(self, rate: float, top: float, at: float, credit: float, sure: bool = True) -> None:
        span = min(_SPAN_MOST, self._span if self._span > 0.9 else _SPAN_UNKNOWN)
        probing = max(span, _REQUESTS_A_SPAN * self._cost / rate, _PAUSES_A_SPAN * self._touch)
        probing = min(probing, _PROBING_MOST)
        pace = self._pace
        pace.set(
            rate,
            top=top,
            below=probing if sure else span,
            above=probing if sure else span,
            now=at,
            burst=0.01 * self._span,
            credit=credit,
        )

    def _mood(self, at: float) -> None:
        """Refusals do not depend on us: go on as it was before they were taken for a limit."""
        self._settled = at
        self._before_mood = self._pace.rate
        self._take_up(self._noise.pace, at)
        self._ramp.refute(at)
        self._ramp.restart(at)

    def _in_mood(self, now: float) -> None:
        young = self._noise.young
        change = self._noise.left(now, self._patience())
        if change is Change.DIP:
            self._before_dip = self._pace.rate
            rate = self._noise.half_rate
            self._set(rate, rate, now, 0.0)
        elif change is Change.RISE:
            self._take_up(self._before_dip, now)
        elif change is Change.LIMIT:
            if young:
                self._take_up(self._before_mood, now)
            self._began, self._left, self._lost = now, 0, 0
            self._settled = now

    def _take_up(self, rate: float | None, at: float) -> None:
        if rate is None:
            self._pace.clear()
        else:
            self._set(rate, rate, at, 0.0, sure=False)


def _per(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
