"""The records of an input file of any kind, one by one: lines of JSON as they are, tables as JSON.

The kind is told by the name: `.csv`, `.tsv` (each also `.gz` and `.zst`), `.parquet`; all else is JSONL.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastbatch.errors import InvalidRequest
from fastbatch.formats.csv import DELIMITERS, csv_rows
from fastbatch.formats.lines import numbered_lines


def numbered_rows(path: Path) -> Iterator[tuple[int, bytes | InvalidRequest]]:
    """Every record as its 1-based line and the JSON of one row, or why it is none; in bounded memory.

    The line is the one a record begins on; of a Parquet file it is the record's number. Whether JSONL lines
    are JSON is not looked at here.

    Raises:
        InputError: the file cannot be opened, or not be read to its end, or it has no columns to name keys.
        MissingExtra: the library for this kind of file is not installed.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] in ([".gz"], [".zst"]):
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind in DELIMITERS:
        return csv_rows(path, DELIMITERS[kind])
    if kind == ".parquet":
        from fastbatch.formats.parquet import parquet_rows

        return parquet_rows(path)
    return numbered_lines(path)
