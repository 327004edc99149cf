"""The windows that a user declared, all of which hold at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastbatch.limits.cost import QUANTITIES, Amounts, Cost, Quantity
from fastbatch.limits.options import Limits
from fastbatch.limits.window import Entry, SlidingWindow
from fastbatch.models.stats import Saturation


class Taken(NamedTuple):
    """What one request takes, of entries that it may have together with others."""

    entries: tuple[Entry, ...]
    amounts: Amounts


_NOTHING: Amounts = (0, 0, 0, 0)


class DeclaredLimits:
    """One exact sliding window for each declared quantity; the ledgers of several models may share them.

    >>> from fastbatch.limits.options import Window
    >>> limits = DeclaredLimits(Limits(windows=(Window(requests=1, per=10.0),)))
    >>> first = limits.take(Cost(), now=0.0)
    >>> limits.fits(Cost(), now=1.0), limits.next_change(Cost(), now=1.0)
    (False, 12.0)
    >>> limits.settle(first, None, now=1.5)
    >>> limits.next_change(Cost(), now=1.5)
    11.5
    """

    def __init__(self, limits: Limits) -> None:
        # Requests first: their windows are the cheapest to ask.
        counted: list[tuple[int, SlidingWindow]] = [
            (
                QUANTITIES.index(what),
                SlidingWindow(f"{said(what)}/{span(window.per)}", amount, window.per, limits.transit),
            )
            for window in limits.declared()
            for what, amount in window.amounts()
        ]
        self._windows = sorted(counted, key=lambda pair: pair[0] > 0)
        self.counts_tokens = any(index for index, _ in counted)
        """Whether costs matter; where not, nobody needs to estimate them."""

    @property
    def quantities(self) -> frozenset[Quantity]:
        """What is declared."""
        return frozenset(QUANTITIES[index] for index, _ in self._windows)

    def fits(self, cost: Cost, now: float) -> bool:
        """Whether a request of this cost may leave now."""
        amounts = cost.amounts
        for index, window in self._windows:
            if window.due <= now:
                window.forget(now)
            if window.used + amounts[index] > window.limit and not window.fits(amounts[index]):
                return False
        return True

    def fits_all(self, amounts: Amounts, now: float) -> bool:
        """Whether requests that take so much together may leave now."""
        for index, window in self._windows:
            if window.due <= now:
                window.forget(now)
            if window.used + amounts[index] > window.limit:
                return False
        return True

    def take(self, cost: Cost, now: float) -> Taken:
        """Count a request that leaves now."""
        amounts = cost.amounts
        return Taken(tuple([window.take(amounts[index], now) for index, window in self._windows]), amounts)

    def take_all(self, amounts: Amounts, now: float) -> tuple[Entry, ...]:
        """Count requests that leave now, and take so much together."""
        return tuple([window.take(amounts[index], now, amounts[0]) for index, window in self._windows])

    def settle(self, taken: Taken, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was taken."""
        entries, took = taken
        self.settle_all(entries, took, took if cost is None else cost.amounts, now)

    def settle_all(self, entries: Sequence[Entry], took: Amounts, amounts: Amounts, now: float) -> None:
        """As `settle` for some of the requests that left together: what they took, and what they count as."""
        requests = took[0]
        for (index, window), entry in zip(self._windows, entries, strict=True):
            window.settle_part(entry, took[index], amounts[index], now, requests)

    def cancel(self, taken: Taken, now: float) -> None:
        """Give back what was taken: nothing was sent."""
        self.settle_all(taken.entries, taken.amounts, _NOTHING, now)

    def next_change(self, cost: Cost, now: float) -> float:
        """When it is worth asking again after a refusal, at the latest; a reply may make it sooner."""
        return max((window.next_change() for window in self._full(cost)), default=now)

    def waiting_reason(self, cost: Cost, now: float) -> str:
        """A phrase for why a request of this cost may not leave now; empty when it may."""
        full = [window.name for window in self._full(cost)]
        return f"limit of {' and '.join(full)}" if full else ""

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is at this moment."""
        for _, window in self._windows:
            window.forget(now)
        return tuple([window.saturation() for _, window in self._windows])

    def _full(self, cost: Cost) -> list[SlidingWindow]:
        amounts = cost.amounts
        return [window for index, window in self._windows if not window.fits(amounts[index])]


def said(what: Quantity) -> str:
    """A quantity as people say it."""
    return what.replace("_", " ")


def span(seconds: float) -> str:
    """`min`, `s`, or a number of seconds, for names such as `requests/min`; learned ones are rounded.

    >>> span(60), span(0.125), span(18.51672)
    ('min', '0.125s', '18.5s')
    """
    named = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "day"}
    return named.get(float(seconds), f"{round(seconds, 1 if seconds >= 10 else 3):g}s")
