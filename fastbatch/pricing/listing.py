"""What a price list says of one model: rates since some day, at some hours, for some ways of being served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from fastbatch.pricing.rates import Rate, Rates

DAY = 86_400
"""Seconds."""

_ONCE = frozenset(("request", "search"))  # what is no token


class Hours(NamedTuple):
    """A part of each day, in seconds of UTC; it may go over midnight."""

    begin: int
    end: int

    def hold(self, second: int) -> bool:
        """Whether a second of the day is in it."""
        if self.end < self.begin:
            return second >= self.begin or second < self.end
        return self.begin <= second < self.end


@dataclass(frozen=True, slots=True)
class Entry:
    """Rates and when they hold.

    Attributes:
        rates: by the names of `Rates`' attributes.
        since: the first day, in days since 1970; None has none.
        hours: of each day; None: all of it.
        when: how requests have to be served, such as `{"processing": "batch"}`; empty for the usual way.
    """

    rates: Mapping[str, Rate]
    since: int | None = None
    hours: Hours | None = None
    when: Mapping[str, str] = field(default_factory=dict)

    def holds(self, moment: float) -> bool:
        """Whether these rates hold at a moment, in seconds since 1970."""
        if self.since is not None and moment < self.since * DAY:
            return False
        return self.hours is None or self.hours.hold(int(moment % DAY))


class BatchShare(NamedTuple):
    """What is paid of each rate, as a fraction, where none is listed for a batch; some are paid in full."""

    part: int
    whole: int
    full: frozenset[str] = frozenset()

    def of(self, kind: str, rate: Rate) -> Rate:
        """What is paid where this is the usual rate."""
        if kind in self.full:
            return rate
        return Rate(self._of(rate.base), tuple((above, self._of(each)) for above, each in rate.steps))

    def _of(self, rate: int) -> int:
        return rate * self.part // self.whole


@dataclass(frozen=True, slots=True)
class Listing:
    """One model of a price list.

    `usual` are its rates, the last that holds is taken, or the first where none does; `other` are those that
    differ where it is served in another way, the first that holds is taken for each rate.
    """

    name: str
    usual: tuple[Entry, ...]
    other: tuple[Entry, ...] = ()
    batch_share: BatchShare | None = None
    """What a batch pays where no rates are listed for it; None: that is not known."""
    context: int = 0
    """Tokens of a prompt and its answer together at most; 0 where that is not known."""
    deprecated: bool = False
    """Whether its provider wants it to be used no more."""
    uplifts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """What tokens cost of the usual where they are served in a place that was asked for, as a fraction."""

    def rates(self, moment: float, served: Mapping[str, str]) -> Rates | None:
        """The rates at a moment for requests served like this; None where there is no price for that."""
        chosen = next((each for each in reversed(self.usual) if each.holds(moment)), self.usual[0])
        found = dict(chosen.rates)
        told: dict[str, Rate] = {}
        known: set[str] = set()
        for entry in self.other:
            if all(served.get(key) == value for key, value in entry.when.items()) and entry.holds(moment):
                known |= entry.when.keys()
                for kind, rate in entry.rates.items():
                    told.setdefault(kind, rate)
        found |= told
        place = served.get("place", "")
        if place and place not in self.uplifts:
            return None
        missing = served.keys() - known - {"place"}
        if missing == {"processing"} and served["processing"] == "batch" and self.batch_share is not None:
            found = {kind: self.batch_share.of(kind, rate) for kind, rate in found.items()}
        elif missing:
            return None
        if not {"input", "output"} & found.keys():
            return None
        if place:
            uplift = BatchShare(*self.uplifts[place], _ONCE)
            found = {kind: uplift.of(kind, rate) for kind, rate in found.items()}
        nothing = Rate(0)  # embeddings have no output, and some models list none
        return Rates(**{"input": nothing, "output": nothing, **found})

    def until(self, moment: float) -> float:
        """When other rates hold at the soonest; infinity where nothing is known to change."""
        changes = []
        for entry in (*self.usual, *self.other):
            if entry.since is not None and entry.since * DAY > moment:
                changes.append(float(entry.since * DAY))
            if entry.hours is not None:
                midnight = moment - moment % DAY
                for second in entry.hours:
                    changes.append(midnight + second + (DAY if midnight + second <= moment else 0))
        return min(changes, default=inf)
