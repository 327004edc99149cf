"""The records of an input file of any kind, one by one: lines of JSON as they are, tables as JSON.

The kind is told by the name: `.csv`, `.tsv` (each also `.gz` and `.zst`), `.parquet`; all else is JSONL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.csv import DELIMITERS, csv_rows
from fastbatch.formats.lines import numbered_blocks

_TABLE_BLOCK = 256  # records of a table in a block

Record = tuple[int, bytes | InvalidRequest]


def numbered_rows(path: Path) -> Iterator[Record]:
    """Every record as its 1-based line and the JSON of one row, or why it is none; in bounded memory.

    The line is the one a record begins on; of a Parquet file it is the record's number. Whether JSONL lines
    are JSON is not looked at here.

    Raises:
        InputError: the file cannot be opened, or not be read to its end, or it has no columns to name keys.
        MissingExtra: the library for this kind of file is not installed.
    """
    for block in row_blocks(path):
        yield from block


def row_blocks(path: Path, limit: int | None = None) -> Iterator[Sequence[Record]]:
    """The same in blocks of some records, at most `limit` of them in all.

    Raises:
        InputError: the file cannot be opened, or not be read to its end, or it has no columns to name keys.
        MissingExtra: the library for this kind of file is not installed.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] in ([".gz"], [".zst"]):
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind in DELIMITERS:
        yield from _gathered(islice(csv_rows(path, DELIMITERS[kind]), limit))
    elif kind == ".parquet":
        from fastbatch.formats.parquet import parquet_rows

        yield from _gathered(islice(parquet_rows(path), limit))
    elif limit is None:
        yield from numbered_blocks(path)
    elif limit:
        for block in numbered_blocks(path):
            yield block[:limit]
            limit -= len(block)
            if limit <= 0:
                break


def _gathered(records: Iterator[Record]) -> Iterator[Sequence[Record]]:
    block: list[Record] = []
    try:
        for record in records:
            block.append(record)
            if len(block) >= _TABLE_BLOCK:
                yield block
                block = []
    except InputError:  # what came before is as good as it was
        if block:
            yield block
        raise
    if block:
        yield block
