"""One shared window as a process sees it: what it may still use, and what it has to report."""

from __future__ import annotations

from typing import NamedTuple

from fastbatch.limits.cost import QUANTITIES
from fastbatch.limits.declared import said, span
from fastbatch.limits.exchange import Amount, Term

_GRAIN = 1 / 400  # of a window: arrivals this close together are reported as one, with the last of them
_SHORTEST = 0.0025  # seconds


class Arrived(NamedTuple):
    """Amounts that arrived close together: when the first and the last of them did, at the latest."""

    first: float
    latest: float
    amount: int


class LeasedWindow:
    """The lease of one window, and what arrived in it since the last report.

    Attributes:
        term: the window, with the limit in force.
        own: this process's user declared it.
        index: of its quantity among all.
        left: what is left of the lease.
        departed: what left since the last report.
        used: by everybody, as of the last grant.
    """

    __slots__ = ("_arrived", "_reported", "departed", "index", "left", "own", "stated", "term", "used")

    def __init__(self, term: Term, *, own: bool) -> None:
        self.term = term
        self.stated = term.limit
        self.own = own
        self.index = QUANTITIES.index(term.what)
        self.left = 0
        self.departed = 0
        self.used = 0
        self._arrived: list[Arrived] = []
        self._reported: list[Arrived] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"{said(self.term.what)}/{span(self.term.per)}"

    @property
    def to_report(self) -> Term:
        """The window as this process states it: its user's limit, or what it has heard of one."""
        return (
            self.term._replace(limit=self.stated, learned=False)
            if self.own
            else self.term._replace(learned=True)
        )

    @property
    def busy(self) -> bool:
        """Whether there is something to report, or to give back."""
        return bool(self._arrived) or self.left > 0

    def fits(self, amount: int) -> bool:
        """Whether so much may leave now; more than the limit only with all of that."""
        return amount <= self.left or (amount > self.term.limit and self.left >= self.term.limit > 0)

    def arrive(self, latest: float, amount: int) -> None:
        """So much arrived, at this time at the latest."""
        last = self._arrived[-1] if self._arrived else None
        if last is not None and abs(latest - last.first) < max(self.term.per * _GRAIN, _SHORTEST):
            self._arrived[-1] = Arrived(last.first, max(last.latest, latest), last.amount + amount)
        else:
            self._arrived.append(Arrived(latest, latest, amount))

    def report(self, now: float) -> tuple[tuple[Amount, ...], int]:
        """What arrived and what is left; the lease is given back with it."""
        self._reported, self._arrived = self._arrived, []
        left, self.left = max(self.left, 0), 0
        return tuple([Amount(each.latest - now, each.amount) for each in self._reported]), left

    def granted(self, amount: int) -> None:
        """The report was answered."""
        self._reported = []
        self.left, self.departed = amount, 0

    def failed(self) -> None:
        """It was not: what may have been entered already is reported again, which is on the safe side."""
        self._arrived[:0] = self._reported
        self._reported = []
