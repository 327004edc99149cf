"""CSV and TSV as rows: a header that names the keys, then records of cells, read as they come.

Quoting is the standard's (RFC 4180), and where a record ends is never guessed: quotes that do not match
refuse the file, since everything behind them would be shifted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.cells import columns_problem, json_columns, read_cells, row_bytes
from fastbatch.formats.lines import line_blocks

DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons"}
_LONGEST = 1 << 26  # characters of a cell, of which csv keeps four bytes each


def csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, bytes | InvalidRequest]]:
    """Every record as the number of the line it begins on and the JSON of a row, or why it is none.

    Raises:
        InputError: the file cannot be read, its header names no keys, or its quotes do not match.
    """
    # One limit for the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    text = _Text(path)
    records = _records(csv.reader(iter(text), delimiter=delimiter, strict=True), path)
    number, names = next(records, (0, []))
    problem = _header_problem(names, delimiter)
    if problem is not None:
        raise InputError(f"{problem} (this line names the columns)", path=str(path), line=number)
    takes = json_columns(names)
    width = len(names)
    for number, cells in records:
        if len(cells) != width:
            yield number, InvalidRequest(f"{_count(len(cells), 'cell')} under {_count(width, 'column')}")
        elif text.holds_nul and any("\0" in cell for cell in cells):
            yield number, InvalidRequest("the line holds a NUL; save the file as UTF-8 text")
        else:
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
            if takes:
                read_cells(row, takes)
            yield number, row_bytes(row)


class _Text:
    """The lines of a file as text; bytes that are no UTF-8 become surrogates, which JSON does not take."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.holds_nul = False

    def __iter__(self) -> Iterator[str]:
        for _, lines in line_blocks(self._path):
            block = b"\n".join(lines)
            self.holds_nul = self.holds_nul or b"\0" in block
            yield from [line + "\n" for line in block.decode("utf-8", "surrogateescape").split("\n")]


def _records(reader: Iterator[list[str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank lines, with the line each begins on."""
    number = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(_quotes_problem(str(error)), path=str(path), line=number) from None
        if cells is None:
            return
        if cells:
            yield number, cells
        number = reader.line_num + 1  # type: ignore[attr-defined]


def _quotes_problem(problem: str) -> str:
    if "limit" in problem:
        problem = f"a cell of more than {_LONGEST >> 20} million characters; is a quote left open?"
    elif "new-line" in problem:
        problem = 'a carriage return outside of quotes; end lines with "\\n"'
    else:
        problem = f'the quotes of this record do not match ({problem}); write a quote in a cell as ""'
    return f"{problem}; what follows cannot be told apart"


def _header_problem(names: list[str], delimiter: str) -> str | None:
    problem = columns_problem(names)
    if problem is None and not _is_text("".join(names)):
        problem = "the name of a column is not text; save the file as UTF-8"
    if problem is None and len(names) == 1:
        others = [other for other in _NAMES if other != delimiter and other in names[0]]
        if others:
            problem = (
                f"the only column is named {names[0]!r}; {_NAMES[delimiter]} part the columns of this kind"
            )
            problem += f" of file, not {_NAMES[others[0]]}"
    return problem


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
