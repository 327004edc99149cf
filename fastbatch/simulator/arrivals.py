"""Every arrival with its time, its amounts and what became of it: from these notes all can be recomputed."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from typing import Any

from fastbatch.simulator.limits import Charge, LimitedThing

ADMITTED = "admitted"


class ArrivalRecord:
    """The last arrivals on the four POST paths, in columns.

    Attributes:
        times: monotonic seconds at which the last byte of each request was read, ascending.
        tokens, inputs, outputs: what each would count against limits on tokens, input and output tokens (see
            `Charge`); 0 where the body could not be understood.
        admitted: 1 where it was charged to the limits, 0 where it was refused or turned away before.
    """

    def __init__(self, keep: int) -> None:
        self.times = array("d")
        self.tokens = array("q")
        self.inputs = array("q")
        self.outputs = array("q")
        self.admitted = array("b")
        self._ends = array("B")
        self._names = [ADMITTED]  # a byte of `_ends` is a place in this list
        self._places = {ADMITTED: 0}
        self._keep = keep

    def add(self, now: float, charge: Charge, end: str = ADMITTED) -> None:
        """Append one arrival and its end; when a quarter more than `keep` are held, the oldest go."""
        self.times.append(now)
        self.tokens.append(charge.tokens)
        self.inputs.append(charge.input_tokens)
        self.outputs.append(charge.output_tokens)
        self.admitted.append(end == ADMITTED)
        place = self._places.get(end)
        if place is None:
            # Limits may be replaced without end, a byte may not: the reasons beyond it share the last name.
            place = self._places[end] = min(len(self._names), 255)
            self._names[place:] = [end]
        self._ends.append(place)
        if len(self.times) > self._keep + self._keep // 4:
            for column in self._columns():
                del column[: -self._keep]

    def busiest(self, per: float, *, what: LimitedThing = "requests", admitted_only: bool = False) -> int:
        """The most of `what` that arrived in any half-open window of `per` seconds.

        Computed from the arrivals alone, so that it can be held against a limit and those who kept it.
        """
        first = inside = most = 0
        amounts = self._amounts(what, admitted_only)
        for now, amount in zip(self.times, amounts, strict=True):
            while now - self.times[first] >= per:
                inside -= amounts[first]
                first += 1
            inside += amount
            most = max(most, inside)
        return most

    def used(
        self,
        begin: float = -math.inf,
        end: float = math.inf,
        *,
        what: LimitedThing = "requests",
        admitted_only: bool = True,
    ) -> int:
        """How much of `what` arrived, and was admitted, from `begin` up to (not at) `end`."""
        part = self._part(begin, end)
        return sum(self._amounts(what, admitted_only)[part])

    def ends(self, begin: float = -math.inf, end: float = math.inf) -> dict[str, int]:
        """How many of the arrivals from `begin` up to `end` ended how.

        "admitted" was charged to all limits. A refusal goes by the name of its limit, as in "600 requests
        per 60 s", or "in flight", "quota", "key"; a failure in front of the limits by its kind, such as "429"
        or "outage".
        """
        counted = Counter(self._ends[self._part(begin, end)])
        return {self._names[place]: count for place, count in counted.items()}

    def copy(self) -> ArrivalRecord:
        """A copy that no further arrival changes."""
        other = ArrivalRecord(self._keep)
        for mine, its in zip(self._columns(), other._columns(), strict=True):
            its.extend(mine)
        other._names, other._places = self._names[:], dict(self._places)
        return other

    def _columns(self) -> tuple[array[Any], ...]:
        return self.times, self.tokens, self.inputs, self.outputs, self.admitted, self._ends

    def _part(self, begin: float, end: float) -> slice:
        return slice(bisect_left(self.times, begin), bisect_left(self.times, end))

    def _amounts(self, what: LimitedThing, admitted_only: bool) -> array[int]:
        if what == "requests":
            return self.admitted if admitted_only else array("b", [1]) * len(self.times)
        column = {"tokens": self.tokens, "input_tokens": self.inputs, "output_tokens": self.outputs}[what]
        if not admitted_only:
            return column
        return array("q", map(int.__mul__, column, self.admitted))
