"""Events that are told once, as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

from fastbatch.engine.events import Event, LimitsLearned, Outage
from fastbatch.models.stats import Saturation
from fastbatch.progress.words import duration, one_line, short

__all__ = ["sentence"]


def sentence(event: Event) -> str:
    """What a display says about an event in passing; empty for one that is drawn otherwise.

    >>> sentence(LimitsLearned((Saturation("requests/min", 3, 500, 60.0),)))
    "the provider's limits: 500 requests/min"
    """
    if isinstance(event, LimitsLearned):
        return f"the provider's limits: {_limits(event.limits)}"
    if isinstance(event, Outage):
        where = one_line(event.where)
        if event.over:
            return f"{where} is back after {duration(event.lasted)}; going on"
        return f"{where} is away; waiting, and trying now and then"
    return ""


def _limits(limits: Sequence[Saturation]) -> str:
    return ", ".join(f"{_amount(limit.limit)} {one_line(limit.name)}" for limit in limits)


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number < 100_000 else short(number)
