"""Refusals that have nothing to do with us: recognised because sending less does not make them fewer."""

from __future__ import annotations

from enum import Enum
from math import inf, sqrt

# Let in between two pauses, in the mean of a series and at most: a pace just below a limit is let in oftener.
_SHORT, _NOT_SHORT = 8, 20
_MIXED, _MIXED_LEAST = (
    0.33,
    16,
)  # refused for each that was let in: such a pause counts as short, however many it was
_SHORT_CYCLES, _SHORT_FALLEN = 5, 0.6  # so many short ones in a row, the pace of the last against the first
_SUSPECTED = 2  # so many short ones in a row
_STEEP_CYCLES, _STEEP_FALLEN = 3, 0.2  # or fewer in which it fell farther
_CYCLES, _FALLEN = 6, 0.4  # or so many of any length, and the rate of the last against the best
_LONG = 400  # let in between two pauses: that is no mood
# Refused of all sent: one that refuses more is full or down, whoever fills it.
_LEAST, _MOST = 0.01, 0.75
_MOST_EVER = 0.85  # the same of one sample, which has its chances
_PROBES, _PROBES_SUSPECTED = 5, 16  # refused in a row: that is a closed door, not a mood
_SAMPLE, _SAMPLE_FIRST = 100, 25  # requests whose refusals are counted together
_YOUNG = 300  # requests after which it is no false alarm any more
_DIP_LEAST, _DIP_HITS = 40, 20  # requests at half the rate, and refusals expected among them
_DIP_AFTER, _DIP_RARELY = 4, 64  # samples before a dip, in its own length; doubled by each that confirms
_SLACK = 0.03
_EXPECTED, _NOT_BACK = (
    5,
    8,
)  # where so many refusals are expected of a sample and none is back: longer patience


class Change(Enum):
    """What a request that leaves makes known about the mood."""

    NONE = "none"
    DIP = "send at half the rate for a while"
    RISE = "the dip is over and confirms the mood"
    LIMIT = "it was a limit after all, or there is one now"


class Noise:
    """Says when refusals are a server's mood rather than its limit, and keeps checking while it believes so.

    `cycle` is told of every pause before the mood, `left` and `refused` of every request in it. Refusals are
    counted over samples of requests, each given the time to come back. Now and then a sample *dips*: at half
    the rate clearly less of it is refused if it was a limit after all.
    """

    __slots__ = (
        "_all",
        "_all_lost",
        "_all_sent",
        "_best",
        "_best_pace",
        "_cycles",
        "_dipping",
        "_first",
        "_from",
        "_heard",
        "_known",
        "_lost",
        "_mixed",
        "_needed",
        "_rarely",
        "_sent",
        "_share",
        "_short",
        "_since",
        "_size",
        "_to_dip",
        "_unpaced",
        "_until",
        "half_rate",
        "on",
    )

    def __init__(self) -> None:
        self.on = False
        self.half_rate = 0.0
        """Requests a second to dip to."""
        self._needed = 1
        self._until = inf
        self._size = _SAMPLE
        self._forget()
        self._sample(0.0, dipping=False)

    def _forget(self) -> None:
        self.on = False
        self._all, self._since, self._share, self._known = 0, 0.0, 0.0, 1
        self._best = 0.0
        self._best_pace: float | None = None
        self._first = inf
        self._unpaced = True
        self._mixed = False
        self._cycles = self._all_sent = self._all_lost = 0
        self._short = self._sent = self._lost = 0

    # -- before it is recognised ---------------------------------------------------------------------------

    def cycle(
        self, now: float, *, let_in: int, lost: int, rate: float, pace: float | None, probes: int
    ) -> bool:
        """A pause is over; before it `let_in` were let in at `rate` a second and `lost` refused.

        `pace` is what spaced them, `probes` how many tries the pause took. True when this recognises noise.
        """
        suspected = self.suspected
        mixed = lost - probes >= _MIXED * let_in
        self._mixed = mixed and let_in >= _MIXED_LEAST
        if probes >= (_PROBES_SUSPECTED if suspected else _PROBES):
            if not suspected:
                self._forget()
            return False
        lost -= max(0, probes - _PROBES)  # a streak of chance must not make a mood look like a closed door
        fallen = self._fallen(let_in, lost, rate, pace)
        short = self._short_ones(let_in, lost, pace, mixed)
        if not (short or fallen):
            return False
        if short:  # sinking was not the server's doing, so what was before the first of them stands
            self._best_pace = None if self._unpaced else max(self._first, self._best_pace or 0.0)
        sent, lost = (self._all_sent, self._all_lost) if fallen else (self._sent, self._lost)
        if lost > _MOST * sent:
            return False
        self.on = True
        self._share, self._known = lost / sent, sent
        self._all, self._since = 0, now
        self._rarely = _DIP_AFTER
        self._to_dip = self._rarely * self._dip_length()
        self._sample(now, dipping=False)
        return True

    def _short_ones(self, let_in: int, lost: int, pace: float | None, mixed: bool) -> bool:
        """Whether pauses come one after the other, however slow the pace becomes."""
        usual = (self._sent - self._lost + let_in) / (self._short + 1)
        long = (let_in >= _NOT_SHORT or usual >= _SHORT) and not mixed
        if long or (self._short and pace is not None and pace > self._first):
            self._short = self._sent = self._lost = 0
            self._unpaced = pace is None
        if self._short <= 1 and pace is not None:
            self._first = pace
        self._short += 1
        self._sent += let_in + lost
        self._lost += lost
        if pace is None:
            return False
        if self._short >= _SHORT_CYCLES * self._needed and pace <= _SHORT_FALLEN * self._first:
            return True
        return self._short >= _STEEP_CYCLES * self._needed and pace <= _STEEP_FALLEN * self._first

    def _fallen(self, let_in: int, lost: int, rate: float, pace: float | None) -> bool:
        """Whether the rate has sunk far and as large a part is refused as ever."""
        if pace is not None and (rate > self._best or let_in > _LONG):
            self._best, self._best_pace = rate, min(pace, 1.5 * rate)  # an idle pace has proved nothing
            self._cycles = self._all_sent = self._all_lost = 0
            return False
        self._cycles += 1
        self._all_sent += let_in + lost
        self._all_lost += lost
        if self._cycles < _CYCLES * self._needed or rate > _FALLEN * self._best:
            return False
        return self._all_lost >= _LEAST * self._all_sent

    @property
    def suspected(self) -> int:
        """How much there may be noise: 2 where pauses follow one another soon, 1 after a mixed burst."""
        return 2 if self._short >= _SUSPECTED else int(self._mixed)

    @property
    def pace(self) -> float | None:
        """The pace before it all began."""
        return self._best_pace

    # -- while it is on ------------------------------------------------------------------------------------

    @property
    def young(self) -> bool:
        """Whether it has been believed for a short time only."""
        return self._all < _YOUNG

    def holds(self, now: float, patience: float) -> float:
        """Until when nothing may leave: what becomes of the very first sample is awaited."""
        return self._ripe(patience) if self._size == _SAMPLE_FIRST and now > self._until else now

    def left(self, now: float, patience: float) -> Change:
        """A request leaves; refusals are back within `patience`."""
        self._all += 1
        if now <= self._until:  # everything that leaves at one moment belongs together
            self._sent += 1
            if self._sent >= self._size:
                self._until = now
            return Change.NONE
        if now < self._ripe(patience):
            return Change.NONE
        return self._judge(now)

    def refused(self, left: float, now: float) -> None:
        """A request that left then came back refused."""
        if self._from <= left <= self._until:
            self._lost += 1
            self._heard = now

    def _ripe(self, patience: float) -> float:
        """When what was refused of the sample is back; many at once are slower than one."""
        if not self._lost and self._share * self._sent >= _EXPECTED:
            patience *= _NOT_BACK
        return max(self._until, self._heard) + patience

    def _sample(self, now: float, dipping: bool) -> None:
        self._dipping = dipping
        self._from, self._until, self._heard = now, inf, -inf
        self._sent = self._lost = 0
        self._size = self._dip_length() if dipping else _SAMPLE_FIRST if self._all == 0 else _SAMPLE

    def _dip_length(self) -> int:
        return max(_DIP_LEAST, int(_DIP_HITS / max(0.01, self._share)))

    def _judge(self, now: float) -> Change:
        share = self._lost / self._sent
        if self._dipping:
            if share < 0.4 * self._share:
                self._forget()
                return Change.LIMIT
            self._rarely = min(_DIP_RARELY, 2 * self._rarely)
            self._to_dip = self._rarely * self._dip_length()
            self._sample(now, dipping=False)
            return Change.RISE
        usual = min(0.9, max(0.02, self._share))
        error = sqrt(usual * (1 - usual) * (1 / self._sent + 1 / self._known))
        if share > min(_MOST_EVER, usual + 4 * error + _SLACK):
            if self.young:
                self._needed = min(8, 2 * self._needed)  # a limit was taken for a mood: believe less
            self._forget()
            return Change.LIMIT
        self._share += max(0.1, self._sent / (self._sent + self._known)) * (share - self._share)
        self._known += self._sent
        if self._share < 0.25 * _LEAST:
            self._forget()  # the mood is over
            return Change.LIMIT
        self._to_dip -= self._sent
        if self._to_dip > 0:
            self._sample(now, dipping=False)
            return Change.NONE
        self.half_rate = 0.5 * self._all / max(1e-3, now - self._since)
        self._sample(now, dipping=True)
        return Change.DIP
