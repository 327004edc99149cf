"""What an output has cost already, for a budget that holds for all runs into it together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastbatch.engine.journal.journal import Journal
from fastbatch.errors import InvalidRequest
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.results import cost_of
from fastbatch.formats.rows import parse_row
from fastbatch.pricing.money import picos


def spent_before(journal: Journal, errors: Path) -> tuple[int, int]:
    """Pico-dollars of all answers on file, failed ones included, and those that may have been billed besides.

    What a run that died had on its way counts at its worst.
    """
    spent = 0
    for path in journal.files:
        if path.exists():
            spent += sum(picos(cost) for _, line in numbered_lines(path) if (cost := cost_of(line)))
    if errors.exists():
        spent += sum(_cost(line) for _, line in numbered_lines(errors))
    counted = journal.counted
    return spent, counted.doubtful + (counted.held if journal.uncertain else 0)


def _cost(line: bytes) -> int:
    """What the record of a failed row says that it cost."""
    try:
        record: Any = parse_row(line)
        cost = record["fastbatch"]["cost_usd"]
    except (InvalidRequest, KeyError, TypeError):
        return 0
    return picos(str(cost)) if isinstance(cost, int | float) else 0
