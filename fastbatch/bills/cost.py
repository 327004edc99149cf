"""What results have cost: one pass over their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from fastbatch.bills.adjustments import Adjusted
from fastbatch.bills.places import Source, Sources
from fastbatch.bills.tally import Bill, Priced, Tally, keys_of
from fastbatch.bills.told import BOUGHT, Told, UsageOf, by_form, read_failed, read_told
from fastbatch.engine.index import NumberTable
from fastbatch.engine.spent import read_beside
from fastbatch.errors import InputError
from fastbatch.formats.lines import numbered_blocks

_SHOWN = 20  # damaged lines that are named


def bill_of(
    sources: Sources,
    *,
    by: Sequence[str] = (),
    days: tuple[str, str] = ("", ""),
    adjusted: bool = True,
    usage_of: UsageOf = by_form,
) -> Bill:
    """The bill of some files.

    Args:
        sources: which ones.
        by: what to group by: `model`, `provider`, `day`, `mode`, `metadata.KEY`.
        days: the first and the last that count, both included; "" for no end.
        adjusted: whether adjustments count.
        usage_of: reads the tokens of replies.

    Raises:
        ConfigError: there is nothing such to group by.
        InputError: a file cannot be read, or holds no line that tells a bill.
    """
    keys = keys_of(by)
    bill = Bill(tuple(by))
    changes = adjusted_of(sources, bill) if adjusted else Adjusted()
    # One file has each answer once; several may share some.
    seen = NumberTable() if len(sources.lines) > 1 else None
    wanted = seen is not None or len(changes) > 0
    first, last = days
    groups, prices = bill.groups, bill.prices
    matched = 0
    for told in told_lines(sources.lines, bill, usage_of):
        number = told.number if wanted else 0
        if seen is not None and number:
            if seen.get(number) is not None:
                bill.twice += 1
                continue
            seen.put(number, 1)
        change = changes.get(number) if number and told.kind == BOUGHT else None
        matched += change is not None
        if first or last:
            day = told.at[:10]
            if not day:
                bill.undated += 1
                continue
            if day < first or (last and day > last):
                bill.other_days += 1
                continue
        picos, stamp = (told.picos, told.prices) if change is None else change
        group = tuple([key(told) for key in keys])
        tally = groups.get(group)
        if tally is None:
            tally = groups[group] = Tally()
        tally.add(told, picos)
        bill.foreign += told.foreign
        if stamp or picos:
            priced = prices.get(stamp)
            if priced is None:
                priced = prices[stamp] = Priced()
            priced.answers += 1
            priced.picos += picos or 0
    for path in sources.costs:
        try:
            bill.beside += read_beside(path)
        except ValueError:
            _damaged(bill, str(path), 1, "no sum of costs")
    bill.stray = max(0, len(changes) - matched)
    return bill


def adjusted_of(sources: Sources, bill: Bill) -> Adjusted:
    """What the adjustments of some results say; `bill` hears of damaged lines.

    Raises:
        InputError: they cannot be read.
    """
    found = Adjusted()
    for path in sources.adjustments:
        for number in found.read(path):
            _damaged(bill, str(path), number, "no whole adjustment")
    return found


def told_lines(sources: Sequence[Source], bill: Bill, usage_of: UsageOf = by_form) -> Iterator[Told]:
    """What the lines of files tell, one after the other; `bill` hears of those that tell nothing.

    Raises:
        InputError: a file cannot be read, or nothing in it is a line of results.
    """
    for source in sources:
        read = read_failed if source.failed else read_told
        good, bad, last, torn = 0, 0, 0, 0
        for block in numbered_blocks(source.path):
            for number, line in block:
                told = read(line, usage_of)
                if told is not None:
                    good += 1
                    yield told
                    continue
                if torn:
                    bad += 1
                    _damaged(bill, source.name, torn, "no whole line of results")
                torn = number
            last = number
        if torn and torn == last and _open_ended(source):
            bill.unfinished.append(source.name)
        elif torn:
            bad += 1
            _damaged(bill, source.name, torn, "no whole line of results")
        if bad and not good and not source.failed:
            raise InputError("holds no line of results", path=source.name)
        bill.files += 1


def _open_ended(source: Source) -> bool:
    """Whether the last line of a file lacks its end, as one that is being written does."""
    if not source.path.is_file():
        return False
    with source.path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _damaged(bill: Bill, name: str, number: int, problem: str) -> None:
    bill.damages += 1
    if len(bill.damaged) < _SHOWN:
        bill.damaged.append((name, number, problem))
