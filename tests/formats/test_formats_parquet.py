"""Parquet: columns are keys, nulls absent ones, and every type has a JSON or a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet
import pytest

from fastbatch.errors import InputError, InvalidRequest, MissingExtra
from fastbatch.formats import parquet
from fastbatch.formats.rowsource import numbered_rows

Read = Callable[..., list[Any]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """What a file of these columns holds: each row as a dictionary, or as what is wrong with it."""

    def read(columns: dict[str, Any] | pyarrow.Table, **options: Any) -> list[Any]:
        table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
        pyarrow.parquet.write_table(table, tmp_path / "in.parquet", **options)
        found = list(numbered_rows(tmp_path / "in.parquet"))
        assert [number for number, _ in found] == list(range(1, len(found) + 1))
        return [row.message if isinstance(row, InvalidRequest) else orjson.loads(row) for _, row in found]

    return read


def test_rows(read: Read) -> None:
    """Numbered from 1; what is null in a column, or in an object of one, is not there."""
    assert read(
        {
            "id": ["a", "b", None],
            "prompt": ["Hi", "Grüße 🦜", ""],
            "n": [1, None, 2**63 - 1],
            "x": [0.5, -0.0, None],
            "ok": [True, False, None],
            "meta": [{"a": 1, "b": None}, None, {"a": None, "b": [None, 2]}],
        }
    ) == [
        {"id": "a", "prompt": "Hi", "n": 1, "x": 0.5, "ok": True, "meta": {"a": 1}},
        {"id": "b", "prompt": "Grüße 🦜", "x": -0.0, "ok": False},
        {"prompt": "", "n": 2**63 - 1, "meta": {"b": [None, 2]}},
    ]


def of(kind: Any, *values: Any) -> pyarrow.Array:
    return pyarrow.array(values, kind)


P = pyarrow
MIDNIGHT = "2024-01-01T00:00:00+00:00"
NANO = 1_700_000_000_000_000_001
TYPES: list[tuple[str, pyarrow.Array, Any]] = [
    ("small integers", of(P.int8(), -5), -5),
    ("the largest integer", of(P.uint64(), 2**64 - 1), 2**64 - 1),
    ("half a float", of(P.float16(), 0.5), 0.5),
    ("single precision", of(P.float32(), 0.1), 0.10000000149011612),
    ("large text", of(P.large_string(), "é"), "é"),
    ("dictionary", of(P.string(), "é").dictionary_encode(), "é"),
    ("bytes that are text", of(P.binary(), "é".encode()), "é"),
    ("bytes of one length", of(P.binary(2), b"ab"), "ab"),
    ("an exact number", of(P.decimal128(20, 3), Decimal("1.500")), "1.500"),
    ("a very exact number", of(P.decimal256(60, 0), Decimal(10**50)), str(10**50)),
    ("a day", of(P.date32(), date(2024, 2, 29)), "2024-02-29"),
    ("a time of day", of(P.time64("us"), time(1, 2, 3, 4)), "01:02:03.000004"),
    ("seconds", of(P.timestamp("s"), datetime(2024, 1, 2, 3, 4, 5)), "2024-01-02T03:04:05"),
    ("microseconds", of(P.timestamp("us"), datetime(2024, 1, 2, 3, 4, 5, 6)), "2024-01-02T03:04:05.000006"),
    ("whole microseconds", of(P.timestamp("ns"), NANO + 999), "2023-11-14T22:13:20.000001"),
    ("nanoseconds", of(P.timestamp("ns"), NANO), "2023-11-14T22:13:20.000000001"),
    ("nanoseconds with a zone", of(P.timestamp("ns", "UTC"), NANO), "2023-11-14T22:13:20.000000001Z"),
    ("nanoseconds of a day", of(P.time64("ns"), 1), "00:00:00.000000001"),
    ("with a zone", of(P.timestamp("s", "UTC"), datetime(2024, 1, 1, tzinfo=UTC)), MIDNIGHT),
    ("a list", of(P.list_(P.int32()), [1, None, 3]), [1, None, 3]),
    ("lists of a length", of(P.list_(P.int32(), 2), [1, 2]), [1, 2]),
    ("days in a list", of(P.list_(P.date32()), [date(2024, 1, 1)]), ["2024-01-01"]),
    ("a map", of(P.map_(P.string(), P.int32()), [("a", 1), ("b", None)]), {"a": 1}),
    ("bytes in an object", of(P.struct([("a", P.binary())]), {"a": b"x"}), {"a": "x"}),
    ("an empty object", of(P.struct([("a", P.int8())]), {"a": None}), {}),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), [case[1:] for case in TYPES], ids=[case[0] for case in TYPES])
def test_types(read: Read, column: pyarrow.Array, value: Any) -> None:
    """Each becomes JSON without losing anything."""
    assert read({"value": column, "prompt": ["Hi"]}) == [{"value": value, "prompt": "Hi"}]


def not_text() -> pyarrow.Array:
    """A text column whose second value is no UTF-8, as careless writers leave them."""
    raw = of(P.binary(), b"fine", b"\xff")
    return P.Array.from_buffers(P.string(), 2, raw.buffers())


OBJECT = P.struct([("a", P.binary())])
MAP = P.map_(P.string(), P.int8())
CELL = "'value': a cell cannot be read: "
UNREADABLE: list[tuple[str, pyarrow.Array, str]] = [
    ("NaN", of(P.float64(), 1.0, float("nan")), "value is nan, which JSON cannot say"),
    ("infinity in a list", of(P.list_(P.float64()), [1.0], [float("inf")]), r"value\[0\] is inf, which JSON"),
    ("bytes", of(P.binary(), b"x", b"\xff"), "'value': a cell holds bytes that are no text; write them as"),
    ("bytes in an object", of(OBJECT, {"a": b"x"}, {"a": b"\xff"}), "'value': a cell holds bytes"),
    ("no UTF-8", not_text(), CELL + ".*utf-8"),
    ("a span of time", of(P.duration("s"), None, 1), CELL + "timedelta has no JSON"),
    ("an unknown zone", of(P.timestamp("us", "Mars/Base"), None, 1), CELL),
    ("nanoseconds of an unknown zone", of(P.timestamp("ns", "Mars/Base"), None, 1), CELL),
    ("a span of nanoseconds", of(P.duration("ns"), None, 1), CELL + "duration.ns. has no JSON; write"),
    ("nanoseconds in a list", of(P.list_(P.timestamp("ns")), None, [1]), CELL + ".* has no JSON"),
    ("a year beyond 9999", of(P.timestamp("us"), 0, 10**18), CELL),
    ("a doubled key", of(MAP, [], [("a", 1), ("a", 2)]), CELL),
    ("keys that are no text", of(P.map_(P.int8(), P.int8()), [], [(1, 1)]), "'value': .*[Kk]ey must be str"),
    ("such a year in a list", of(P.list_(P.date32()), [], [2**30]), CELL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "says"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE]
)
def test_values_that_have_no_json(read: Read, column: pyarrow.Array, says: str) -> None:
    """They refuse their own row, naming the column; the row beside it is read."""
    good, bad = read({"value": column, "prompt": ["Hi", "Hi"]})
    assert good["prompt"] == "Hi"
    with pytest.raises(InvalidRequest, match=says):
        raise InvalidRequest(bad)


def test_texts_of_parameters_are_json_as_in_csv(read: Read) -> None:
    """Tools and messages are more often written as text than as columns of objects."""
    message = {"role": "user", "content": "Hi"}
    rows = read(
        {
            "messages": [orjson.dumps([message]).decode(), None],
            "tools": ['[{"type": "function"}]', "[]"],
            "label": ["[1]", None],
        }
    )
    assert rows == [{"messages": [message], "tools": [{"type": "function"}], "label": "[1]"}, {"tools": []}]


def test_objects_of_a_column_keep_their_own_keys(read: Read) -> None:
    """Parquet gives each the keys of all; those that are null were not there."""
    messages = [
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        ],
        [{"role": "user", "content": "Hi"}],
    ]
    rows = read({"messages": messages})
    assert rows[0]["messages"][0] == rows[1]["messages"][0] == {"role": "user", "content": "Hi"}
    assert rows[0]["messages"][1] == {"role": "assistant", "tool_calls": [{"id": "1"}]}


@pytest.mark.parametrize("rows_in_group", [1, 7, 5000])
@pytest.mark.parametrize("size", [1, 3000])
def test_rows_of_many_batches_and_groups(read: Read, rows_in_group: int, size: int) -> None:
    """In order, each once."""
    count = 500 if rows_in_group == 1 else 3000
    prompts = [f"{number} " + "x" * size for number in range(count)]
    rows = read({"prompt": prompts}, row_group_size=rows_in_group)
    assert [row["prompt"] for row in rows] == prompts


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [([(10, 100)], 1024), ([(1, 1 << 20)], 1), ([(100, 100), (10, 10 << 14)], 64), ([], 1024)],
)
def test_large_rows_are_unpacked_few_at_a_time(sizes: Sequence[tuple[int, int]], rows: int) -> None:
    """So that a batch stays near a mebibyte whatever a row holds."""

    class Group:
        def __init__(self, count: int, size: int) -> None:
            self.num_rows, self.total_byte_size = count, size

    class Metadata:
        num_row_groups = len(sizes)

        def row_group(self, number: int) -> Group:
            return Group(*sizes[number])

    assert parquet._batch_rows(Metadata()) == rows


def test_an_empty_table(read: Read) -> None:
    """With columns or without."""
    assert read({"prompt": pyarrow.array([], pyarrow.string())}) == []
    assert read({}) == []


def test_columns_that_name_no_keys(read: Read) -> None:
    """Two of one name, or none, are refused as in CSV."""
    column = pyarrow.array(["x"])
    with pytest.raises(InputError, match="two columns are named 'a'; rename one"):
        read(pyarrow.Table.from_arrays([column, column], names=["a", "a"]))
    with pytest.raises(InputError, match="column 2 has no name; name it"):
        read(pyarrow.Table.from_arrays([column, column], names=["a", ""]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "this is no Parquet file, although its name says so"),
        (b'{"prompt": "x"}\n', "this is no Parquet file"),
        (b"PAR1", "cannot be read to its end"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read to its end"),
    ],
)
def test_files_that_are_not_parquet(tmp_path: Path, content: bytes, says: str) -> None:
    """One sentence."""
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        list(numbered_rows(path))


def test_a_packed_parquet_file_is_refused(tmp_path: Path) -> None:
    """It is packed inside, and could not be read from its end."""
    path = tmp_path / "in.parquet.gz"
    path.write_bytes(b"\x1f\x8b" + b"\0" * 100)
    with pytest.raises(InputError, match="this is no Parquet file"):
        list(numbered_rows(path))


COLUMNS = {
    "id": [f"row-{number}" for number in range(300)],
    "meta": [{"a": number, "b": [str(number)]} for number in range(300)],
    "day": [date(2024, 1, 1)] * 300,
}


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_a_sentence(tmp_path: Path, seed: int) -> None:
    """Cut off or flipped anywhere, a file is read, refused, or some of its rows are: never another error."""
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table(COLUMNS), path, row_group_size=100, write_page_checksum=True)
    whole = path.read_bytes()
    dice = Random(seed)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 1, 4))):
            damaged[dice.randrange(len(whole))] = dice.randrange(256)
        path.write_bytes(damaged[: dice.randrange(len(whole))] if dice.random() < 0.2 else damaged)
        try:
            rows = list(numbered_rows(path))
        except InputError as error:
            refused += 1
            assert error.path == str(path)
            assert str(error).count("\n") == 0
        else:
            assert all(isinstance(row, bytes | InvalidRequest) for _, row in rows)
    assert refused > 10


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and reading lines needs none of it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"fastbatch\[parquet\]"):
        list(numbered_rows(tmp_path / "in.parquet"))
    (tmp_path / "in.jsonl").write_bytes(b"{}\n")
    assert list(numbered_rows(tmp_path / "in.jsonl")) == [(1, b"{}")]


def test_nothing_is_imported_for_other_files() -> None:
    """pyarrow takes 50 ms and 50 MB."""
    code = "import sys, fastbatch.formats.rowsource; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
