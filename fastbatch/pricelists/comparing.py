"""What changes between two lists of prices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

from fastbatch.pricelists.table import PriceTable
from fastbatch.pricing.rates import KINDS, Rate, Rates

Verdict = Literal["new", "gone", "dearer", "cheaper", "other"]
"""`other`: dearer in one thing and cheaper in another, or a price where there was none."""


class Step(NamedTuple):
    """One rate that changes, at its base or for long prompts; None: there was none, or there is none more."""

    kind: str
    above: int
    before: int | None
    after: int | None

    @property
    def percent(self) -> Decimal | None:
        """By how much, to a tenth; None where that is no number."""
        if not self.before or self.after is None:
            return None
        return (Decimal(self.after - self.before) * 100 / self.before).quantize(Decimal("0.1"))


class Change(NamedTuple):
    """What becomes of one model: its name, and the rates that are no longer what they were."""

    name: str
    verdict: Verdict
    steps: tuple[Step, ...]


def models_of(table: PriceTable) -> Iterator[tuple[str, str]]:
    """All models of a list, with their providers."""
    for provider in table.providers:
        for listing in table.models(provider):
            yield provider, listing.name


def compare(
    names: Iterable[str], before: Mapping[str, Rates | None], after: Mapping[str, Rates | None]
) -> list[Change]:
    """The models whose rates differ, those that are new and those that are gone; None: unpriced."""
    found = []
    for name in names:
        old, new = before.get(name), after.get(name)
        steps = tuple(_steps(old, new))
        if not steps:
            continue
        verdict: Verdict = "other"
        if old is None or new is None:
            verdict = "new" if old is None else "gone"
        elif all(step.before is not None and step.after is not None for step in steps):
            rises = {(step.after or 0) > (step.before or 0) for step in steps}
            verdict = ("dearer" if rises.pop() else "cheaper") if len(rises) == 1 else "other"
        found.append(Change(name, verdict, steps))
    return found


def _steps(old: Rates | None, new: Rates | None) -> Iterator[Step]:
    for kind in KINDS:
        before = None if old is None else getattr(old, kind)
        after = None if new is None else getattr(new, kind)
        edges = {above for rate in (before, after) if rate is not None for above, _ in rate.steps}
        for above in (0, *sorted(edges)):
            was, will = _at(before, above), _at(after, above)
            if was != will:
                yield Step(kind, above, was, will)


def _at(rate: Rate | None, above: int) -> int | None:
    return None if rate is None else rate.at(above + 1) if above else rate.base
