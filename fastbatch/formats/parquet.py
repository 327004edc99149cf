"""Parquet as rows: columns are keys, a null is an absent key; the only owner of the library `pyarrow`.

Nested lists and structs become JSON, dates and times ISO 8601, decimals strings (no digit is lost), bytes the
text they hold. In a struct a null is an absent key too: Parquet gives every object of a column the keys of
all of them. A text in the column of a parameter that takes none is read as JSON, as in CSV.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from fastbatch.errors import InputError, InvalidRequest, MissingExtra
from fastbatch.formats.cells import columns_problem, json_columns, read_cells, row_bytes
from fastbatch.formats.opening import PARQUET, READ_ERRORS, open_bytes, unreadable

# Rows are unpacked by the batch: few where they are large, so that a batch stays near one mebibyte.
_BATCH_BYTES = 1 << 20
_BATCH_ROWS = 1024
_BUFFER = 1 << 18  # bytes read ahead in each column; without it a whole row group would be read at once


def parquet_rows(path: Path) -> Iterator[tuple[int, bytes | InvalidRequest]]:
    """Every record as its 1-based number and the JSON of a row, or why it is none.

    Raises:
        InputError: the file cannot be read (to its end), or two columns share a name.
        MissingExtra: without the extra `parquet`.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtra("reading .parquet files (pyarrow)", "parquet") from None
    with open_bytes(path) as file:
        if file.peek(4)[:4] != PARQUET:
            raise InputError("this is no Parquet file, although its name says so", path=str(path))
    number = 0
    try:
        with (
            pyarrow.OSFile(str(path)) as source,
            ParquetFile(
                source, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
            ) as table,
        ):
            names: list[str] = table.schema_arrow.names
            if problem := columns_problem(names):
                raise InputError(problem, path=str(path))
            takes = json_columns(names)
            for batch in table.iter_batches(_batch_rows(table.metadata), use_threads=False):
                columns = [_values(column) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    row = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
                    if takes:
                        read_cells(row, takes)
                    yield number, row_bytes(row, _plain)
    except (*READ_ERRORS, pyarrow.ArrowException) as error:
        raise unreadable(error, path, number + 1) from None


def _batch_rows(metadata: Any) -> int:
    """How many rows to unpack at once, by the size of a row in the group where they are largest."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes: list[int] = [group.total_byte_size // group.num_rows for group in groups if group.num_rows]
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max((1, *sizes))))


# What comes of a value that does not fit: bad UTF-8, a year beyond 9999, a doubled key, an odd zone.
_REFUSALS = (ValueError, ArithmeticError, LookupError)


def _values(column: Any) -> list[Any]:
    """The values of one column of a batch; one that Python cannot hold is an `_Unreadable`."""
    from pyarrow.types import is_nested

    try:
        if _in_nanoseconds(column.type):
            raise ValueError
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except _REFUSALS:
        values = [_value(scalar) for scalar in column]
    return [_without_nulls(value) for value in values] if is_nested(column.type) else values


def _value(scalar: Any) -> Any:
    """One value of a column that holds some which Python cannot."""
    try:
        if scalar.is_valid and _in_nanoseconds(scalar.type):
            return _moment(scalar)
        return scalar.as_py(maps_as_pydicts="strict")
    except _REFUSALS as refused:
        return _Unreadable(str(refused))


def _in_nanoseconds(kind: Any) -> bool:
    """Whether pyarrow would make of it one thing where pandas is installed, and another where it is not."""
    return "[ns" in str(kind)


def _moment(scalar: Any) -> Any:
    """A time in nanoseconds; as text where whole microseconds would lose some of it."""
    from pyarrow import time64, timestamp
    from pyarrow.types import is_time, is_timestamp

    kind = scalar.type
    if not is_timestamp(kind) and not is_time(kind):
        raise ValueError(f"{kind} has no JSON; write times in microseconds")
    try:
        return scalar.cast(timestamp("us", kind.tz) if is_timestamp(kind) else time64("us")).as_py()
    except ValueError:
        return scalar.cast("string").as_py().replace(" ", "T", 1)


class _Unreadable:
    """A cell that is no value; writing its row refuses it."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def _without_nulls(value: Any) -> Any:
    """A nested value without the keys that are null; the places of a list stay."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _plain(value: Any) -> str:
    """What JSON has no word for, as text."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date | time):  # pandas, where it is installed, gives subclasses of its own
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest("a cell holds bytes that are no text; write them as base64") from None
    problem = value.problem if isinstance(value, _Unreadable) else f"{type(value).__name__} has no JSON"
    raise InvalidRequest(f"a cell cannot be read: {problem}")
