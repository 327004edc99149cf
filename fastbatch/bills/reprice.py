"""What recorded answers cost by other prices, and the adjustments that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fastbatch.bills.adjustments import Adjusted, Adjustment, adjustment_line
from fastbatch.bills.cost import adjusted_of, told_lines
from fastbatch.bills.places import Sources, adjustments_path, sources_of
from fastbatch.bills.pricer import Pricer
from fastbatch.bills.tally import Bill
from fastbatch.bills.told import BOUGHT, FAILED, Told, UsageOf, by_form
from fastbatch.engine.index import NumberTable
from fastbatch.engine.journal.lines import Held, LineFile
from fastbatch.engine.journal.places import real_file
from fastbatch.engine.journal.tail import lines_from
from fastbatch.errors import OutputError

_BLOCK = 1000  # lines that are written at once


@dataclass(slots=True)
class Change:
    """What becomes of a model's rows: in pico-dollars before and after.

    `rows` are those whose cost changes, `new` are those of them that had no price.
    """

    rows: int = 0
    new: int = 0
    before: int = 0
    after: int = 0


@dataclass(slots=True)
class Repricing:
    """What other prices make of some results.

    Attributes:
        models: the changes, by `provider:model`.
        prices: the lists that say so, each with its rows.
        same: rows that cost the same.
        unknown: rows without a price in these lists, which keep the cost that they have, or have none.
        summed: rows whose cost is that of several replies, of which one is on file: they keep it.
        failed: failed rows that cost something, whose replies are not on file: they keep it.
        undated: rows that do not tell when they were recorded.
        bill: what is to be told of the files.
    """

    models: dict[str, Change] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)
    same: int = 0
    unknown: int = 0
    summed: int = 0
    failed: int = 0
    undated: int = 0
    bill: Bill = field(default_factory=Bill)

    @property
    def rows(self) -> int:
        """Rows whose cost changes."""
        return sum(change.rows for change in self.models.values())


class _Changed(NamedTuple):
    told: Told
    before: int | None
    prices: str
    after: Adjustment


def repriced(sources: Sources, pricer: Pricer, usage_of: UsageOf = by_form) -> Repricing:
    """What other prices make of some files; nothing is written.

    Raises:
        InputError: a file cannot be read, or holds no line of results.
    """
    found = Repricing()
    for _ in _changes(sources, pricer, found, usage_of):
        pass
    return found


def write_adjustments(results: str, pricer: Pricer, at: str, usage_of: UsageOf = by_form) -> int:
    """Append the changes to the adjustments of `results`, `at` some moment; how many there were.

    What is there is looked at once more, so that nothing is adjusted twice.

    Raises:
        InputError: as `repriced`.
        OutputError: another process is writing there.
        StorageError: they could not be written; those that stand there are whole.
    """
    path = adjustments_path(real_file(Path(results)))
    try:
        file = LineFile(path)
    except Held:
        raise OutputError(f"{path} is being written by another process; wait for it") from None
    try:
        _cut_torn(file)
        written, block = 0, []
        for told, before, prices, after in _changes(sources_of([results]), pricer, Repricing(), usage_of):
            block.append(adjustment_line(told, before, prices, after, at))
            written += 1
            if len(block) == _BLOCK:
                file.append(b"".join(block))
                block = []
        file.append(b"".join(block))
        file.sync()
        return written
    finally:
        file.close()


def _cut_torn(file: LineFile) -> None:
    """Take away what a process that died here had begun to write."""
    end = 0
    for line in lines_from(file.read, 0):
        if line.whole:
            end = line.offset + len(line.text) + 1
    file.cut(end)


def _changes(sources: Sources, pricer: Pricer, found: Repricing, usage_of: UsageOf) -> Iterator[_Changed]:
    """The rows whose cost changes; `found` counts all."""
    adjusted = adjusted_of(sources, found.bill)
    seen = NumberTable() if len(sources.lines) > 1 else None
    for told in told_lines(sources.lines, found.bill, usage_of):
        if seen is not None and (number := told.number):
            if seen.get(number) is not None:
                continue
            seen.put(number, 1)
        if told.kind == FAILED:
            found.failed += told.picos != 0
        if told.kind != BOUGHT:
            continue
        if told.summed:
            found.summed += 1
        elif not pricer.dated(told):
            found.undated += 1
        elif (changed := _changed(told, pricer, adjusted, found)) is not None:
            yield changed


def _changed(told: Told, pricer: Pricer, adjusted: Adjusted, found: Repricing) -> _Changed | None:
    before, prices = adjusted.get(told.number) or (told.picos, told.prices)
    price = pricer.price(told)
    if price is None:
        found.unknown += 1
        return None
    if price.picos == before:
        found.same += 1
        return None
    change = found.models.setdefault(f"{told.provider}:{told.model}", Change())
    change.rows += 1
    change.new += before is None
    change.before += before or 0
    change.after += price.picos
    found.prices[price.prices] = found.prices.get(price.prices, 0) + 1
    return _Changed(told, before, prices, Adjustment(told.number, price.picos, price.prices))
