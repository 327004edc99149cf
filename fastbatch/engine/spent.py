"""What an output has cost, for a budget that holds for all runs into it together.

Most of it stands on its lines and in the records of its failed rows. What does not is added up beside them,
in `OUTPUT.costs.json`, and in the journal while a run goes on: what may have been billed without an answer,
answers that stated no tokens (at their worst), those that did not do and whose row stayed open, and the costs
of lines and records that others have taken the place of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.journal.files import remove_file, replace_file
from fastbatch.engine.journal.journal import Journal
from fastbatch.errors import InvalidRequest, OutputError
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.results import cost_of, scan_result, written_id
from fastbatch.formats.rows import parse_row
from fastbatch.pricing.money import picos, plain

_KEY = "beside_usd"


class Beside:
    """The file of what an output has cost beside what its records tell.

    Args:
        path: where it is, if there is anything to tell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, journal: Journal) -> int:
        """Pico-dollars; what the run before had on its way, and did not live to settle, counts at its worst.

        Raises:
            OutputError: the file is not as it was written.
        """
        try:
            known = read_beside(self.path) if self.path.exists() else 0
        except ValueError:
            raise OutputError(
                f"{self.path} is not as it was written: it says what the output has cost beside its "
                "answers. Nothing was sent. Without the file that is not counted under a budget"
            ) from None
        return max(known, journal.counted.beside + journal.counted.held)

    def write(self, total: int) -> None:
        """Keep it; nothing is kept where there is nothing.

        Raises:
            StorageError: it could not be written.
        """
        if total > 0:
            replace_file(self.path, (orjson.dumps({_KEY: plain(total)}) + b"\n",))
        else:
            remove_file(self.path)


def read_beside(path: Path) -> int:
    """The pico-dollars that a file of them tells.

    Raises:
        ValueError: it is not as it was written.
    """
    try:
        return picos(orjson.loads(path.read_bytes())[_KEY])
    except (TypeError, KeyError) as problem:
        raise ValueError(f"{path} tells no sum") from problem


def filed(journal: Journal, errors: Path) -> int:
    """Pico-dollars that the lines of an output and the records of its failed rows tell."""
    spent = sum(_costs(line for path in journal.files if path.exists() for _, line in numbered_lines(path)))
    if errors.exists():
        spent += sum(failed_cost(line) for _, line in numbered_lines(errors))
    return spent


def superseded(files: Iterable[Path]) -> int:
    """Pico-dollars of lines that a later line of the same id replaces."""
    costs = NumberTable()
    found = 0
    for path in files:
        if not path.exists():
            continue
        for _, line in numbered_lines(path):
            if (scanned := scan_result(line)) is None:
                continue
            identity = id_number(written_id(scanned[0]).decode())
            found += (costs.get(identity) or 1) - 1
            costs.put(identity, picos(cost_of(line) or 0) + 1)
    return found


def failed_cost(line: bytes) -> int:
    """Pico-dollars that the record of a failed row tells; 0 for one that tells none, or nonsense."""
    try:
        record: Any = parse_row(line)
        cost = record["fastbatch"]["cost_usd"]
    except (InvalidRequest, KeyError, TypeError):
        return 0
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not cost > 0:
        return 0
    return picos(str(cost))


def _costs(lines: Iterable[bytes]) -> Iterable[int]:
    return (picos(cost) for line in lines if (cost := cost_of(line)))


Money = Callable[[], tuple[int, int]]
"""Pico-dollars that a run has spent so far, and those that it holds for what is on its way."""
