"""The errors file of an output: failed rows collect beside it and take its place when the run is over.

Records of rows that a run brings no outcome are kept, so that an errors file can be run again into the same
output: what was repaired leaves it, what failed again stays, and rows of other inputs are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastbatch.engine.index import NumberTable, id_number
from fastbatch.engine.journal.files import forget_unfinished, remove_file, replace_file
from fastbatch.engine.journal.places import errors_path, scratch_path
from fastbatch.engine.spent import failed_cost
from fastbatch.errors import InvalidRequest
from fastbatch.formats.lines import numbered_lines
from fastbatch.formats.rows import parse_row


class ErrorsFile:
    """The errors file of `output`.

    Attributes:
        path: the file itself.
        fresh: where the records of the run that is under way collect.
        scratch: files beside it that a run writes and removes.
        touched: receives the ids of rows that have an outcome now; None where no older record is on file.
    """

    def __init__(self, output: Path) -> None:
        self.path = errors_path(output)
        self.fresh = self.path.with_name(self.path.name + ".new")
        self.scratch = (self.fresh, scratch_path(self.path))
        self.touched: NumberTable | None = None

    def look(self) -> None:
        """Whether there are older records, so that it matters which rows have their outcome."""
        self.touched = NumberTable() if self.path.exists() else None

    def begin(self) -> None:
        """Forget what a run that died had collected: its rows run again.

        Raises:
            StorageError: it could not be removed.
        """
        remove_file(self.fresh)
        forget_unfinished(self.path)

    def touch(self, custom_id: str) -> None:
        """A row has its outcome."""
        if self.touched is not None:
            self.touched.put(id_number(custom_id), 1)

    def dropped(self, *, whole: bool = False) -> int:
        """Pico-dollars that older records tell and `settle` would drop."""
        if self.touched is None:
            return 0
        gone = (line for _, line in numbered_lines(self.path) if not self._stays(line, whole))
        return sum(map(failed_cost, gone))

    def settle(self, *, whole: bool = False) -> None:
        """Put this run's records, and older ones of rows without an outcome, in the place of the file.

        `whole` says that every line of the input has its outcome: what is on record of a line that was no
        row and is not touched now was repaired, and runs under another id.

        Raises:
            StorageError: it could not be written; both files are as they were.
        """
        if self.fresh.exists() or self.path.exists():
            replace_file(self.path, self._lines(whole))
        remove_file(self.fresh)

    def _lines(self, whole: bool) -> Iterator[bytes]:
        if self.touched is not None:
            for _, line in numbered_lines(self.path):
                if self._stays(line, whole):
                    yield line + b"\n"
        if self.fresh.exists():
            for _, line in numbered_lines(self.fresh):
                yield line + b"\n"

    def _stays(self, line: bytes, whole: bool) -> bool:
        """Whether an older record is still true; one that cannot be read is nobody's to drop."""
        assert self.touched is not None
        try:
            record = parse_row(line)
        except InvalidRequest:
            return True
        custom_id = str(record.get("custom_id"))
        repaired = whole and "raw" in record and custom_id.startswith("line-")
        return self.touched.get(id_number(custom_id)) is None and not repaired
