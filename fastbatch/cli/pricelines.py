"""Prices as lines of text and as JSON, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from fastbatch.pricelists.comparing import Change, Step
from fastbatch.pricelists.table import as_date
from fastbatch.pricing.book import Stamp
from fastbatch.pricing.listing import Entry, Hours, Listing
from fastbatch.pricing.money import plain
from fastbatch.pricing.rates import KINDS, Rate, Rates

_EACH = ("request", "search")  # US dollars for each; everything else for a million tokens
_WAYS: Mapping[str, Mapping[str, str]] = {
    "usual": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"speed": "fast"},
}
_NAME = 44  # columns of a model's name in a list of several


def money(kind: str, picos: int) -> str:
    """A rate in dollars, for a million tokens or for each."""
    return plain(picos if kind in _EACH else picos * 10**6)


def all_rates(listing: Listing, moment: float) -> dict[str, Rates]:
    """A model's rates for every way of being served that has some."""
    found = {way: listing.rates(moment, served) for way, served in _WAYS.items()}
    return {way: rates for way, rates in found.items() if rates is not None}


def model_lines(name: str, listing: Listing, moment: float, on: date, stamp: Stamp) -> list[str]:
    """All that a list says of one model."""
    ways = all_rates(listing, moment)
    lines = [f"{name} on {on.isoformat()}, in US dollars per million tokens", ""]
    if ways:
        lines += _table([["", *ways], *_rows(ways)])
    else:
        lines.append("It is listed, but unpriced: what it costs is not said in tokens.")
    lines += ["", *_other_times(listing), *_facts(listing), f"from {stamp}"]
    return lines


def _rows(ways: Mapping[str, Rates]) -> list[list[str]]:
    rows = []
    for kind in KINDS:
        given = [getattr(rates, kind) for rates in ways.values()]
        if all(rate is None for rate in given):
            continue
        edges = sorted({above for rate in given if rate is not None for above, _ in rate.steps})
        for above in (0, *edges):
            label = f"{kind} above {above:,}" if above else f"{kind} each" if kind in _EACH else kind
            rows.append([label, *(_cell(kind, rate, above) for rate in given)])
    return rows


def _cell(kind: str, rate: Rate | None, above: int) -> str:
    if rate is None:
        return "-"
    return money(kind, rate.at(above + 1) if above else rate.base)


def _other_times(listing: Listing) -> list[str]:
    """The days and the hours of the usual rates, where there is more than one."""
    if len(listing.usual) < 2:
        return []
    rows = [[_when(entry), _brief(entry.rates)] for entry in listing.usual]
    return [*_table(rows), ""]


def _when(entry: Entry) -> str:
    if entry.hours is not None:
        return _hours(entry.hours)
    return "at first" if entry.since is None else f"since {as_date(entry.since).isoformat()}"


def _hours(hours: Hours) -> str:
    begin, end = (f"{second // 3600:02}:{second % 3600 // 60:02}" for second in hours)
    return f"{begin}-{end} UTC"


def _brief(rates: Mapping[str, Rate]) -> str:
    known = [kind for kind in ("input", "cached", "output") if kind in rates]
    return ", ".join(f"{kind} {money(kind, rates[kind].base)}" for kind in known) or "unpriced"


def _facts(listing: Listing) -> list[str]:
    lines = []
    if listing.context:
        lines.append(f"context of {listing.context:,} tokens")
    if listing.deprecated:
        lines.append("deprecated by its provider")
    return lines


def list_lines(found: Sequence[tuple[str, Rates | None]]) -> list[str]:
    """Several models, a line each."""
    rows = [["US dollars per million tokens", "input", "cached", "output"]]
    for name, rates in found:
        if rates is None:
            rows.append([name, "unpriced", "", ""])
        else:
            cells = (getattr(rates, kind) for kind in ("input", "cached", "output"))
            rows.append(
                [
                    name,
                    *(
                        "-" if rate is None else money("input", rate.base) + "+" * bool(rate.steps)
                        for rate in cells
                    ),
                ]
            )
    lines = _table(rows)
    if any("+" in cell for row in rows for cell in row[1:]):
        lines.append("+ dearer for long prompts")
    return lines


def stamp_lines(stamps: Iterable[Stamp]) -> list[str]:
    """Where prices come from, the strongest first."""
    return [f"from {stamp}" for stamp in stamps]


def change_lines(changes: Sequence[Change], most: int | None = None) -> list[str]:
    """What changes, the first `most` of it, and in the last line how much of it there is."""
    lines = []
    for change in changes[:most]:
        lines.append(f"{change.verdict:<8} {change.name}")
        if change.verdict != "gone":
            rows = [[_step_label(step), _step_money(step), _step_percent(step)] for step in change.steps]
            lines += [f"         {line}" for line in _table(rows)]
    if most is not None and len(changes) > most:
        lines.append(f"… and {len(changes) - most:,} more models; fastbatch prices diff shows them all.")
    verdicts = [change.verdict for change in changes]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
    lines.append((", ".join(counts) or "nothing changes") + ".")
    return lines


def _step_label(step: Step) -> str:
    return f"{step.kind} above {step.above:,}" if step.above else step.kind


def _step_money(step: Step) -> str:
    before, after = ("none" if each is None else money(step.kind, each) for each in (step.before, step.after))
    return after if step.before is None else f"{before} -> {after}"


def _step_percent(step: Step) -> str:
    return "" if step.percent is None else f"{step.percent:+} %"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two apart, numbers as they are; a long name pushes its own line only."""
    widths = [min(_NAME, max(len(row[place]) for row in rows)) for place in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def rates_json(rates: Rates | None) -> dict[str, Any] | None:
    """Rates for programs: dollars as text, since JSON's numbers are binary fractions; None: unpriced."""
    if rates is None:
        return None
    found = {kind: getattr(rates, kind) for kind in KINDS}
    return {
        kind: {
            "usd": money(kind, rate.base),
            "above": [{"tokens": above, "usd": money(kind, each)} for above, each in rate.steps],
        }
        for kind, rate in found.items()
        if rate is not None
    }


def stamp_json(stamp: Stamp) -> dict[str, str]:
    """A list's stamp for programs."""
    return {"name": stamp.name, "date": stamp.date, "digest": stamp.digest}


def change_json(change: Change) -> dict[str, Any]:
    """A change for programs."""
    steps = [
        {
            "kind": step.kind,
            "above": step.above,
            "before_usd": None if step.before is None else money(step.kind, step.before),
            "after_usd": None if step.after is None else money(step.kind, step.after),
            "percent": None if step.percent is None else str(step.percent),
        }
        for step in change.steps
    ]
    return {"model": change.name, "change": change.verdict, "rates": steps}
