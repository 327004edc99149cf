"""Input files of any kind: rows by number, from lines or from tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from fastbatch.errors import InputError
from fastbatch.formats.batchfile import read_batch
from fastbatch.formats.rowsource import numbered_rows

ROWS = [{"id": "a", "prompt": "Hi"}, {"id": "b", "prompt": "Grüße, 🦜"}]
JSONL = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
CSV = 'id,prompt\na,Hi\nb,"Grüße, 🦜"\n'.encode()
TSV = 'id\tprompt\na\tHi\nb\t"Grüße, 🦜"\n'.encode()
SINK = pyarrow.BufferOutputStream()
pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), SINK)
PARQUET = SINK.getvalue().to_pybytes()

KINDS = [
    ("in.jsonl", JSONL, 1),
    ("in.txt", JSONL, 1),
    ("csv", JSONL, 1),
    ("in.csv.jsonl", JSONL, 1),
    ("in.jsonl.gz", gzip.compress(JSONL), 1),
    ("in.csv", CSV, 2),
    ("IN.CSV", CSV, 2),
    ("in.v1.csv", CSV, 2),
    ("in.tsv", TSV, 2),
    ("in.csv.gz", gzip.compress(CSV), 2),
    ("in.Csv.Gz", gzip.compress(CSV), 2),
    ("in.csv.zst", zstandard.compress(CSV), 2),
    ("in.tsv.gz", gzip.compress(TSV), 2),
    ("in.parquet", PARQUET, 1),
    ("IN.PARQUET", PARQUET, 1),
]


@pytest.mark.parametrize(("name", "content", "first"), KINDS, ids=[kind[0] for kind in KINDS])
def test_the_name_says_the_kind(tmp_path: Path, name: str, content: bytes, first: int) -> None:
    """The same rows from each, by the line they begin on, or by number where there are no lines."""
    path = tmp_path / name
    path.write_bytes(content)
    found = list(numbered_rows(path))
    assert [number for number, _ in found] == [first, first + 1]
    assert [orjson.loads(row) for _, row in found if isinstance(row, bytes)] == ROWS


def test_lines_are_not_looked_into(tmp_path: Path) -> None:
    """JSONL comes as it is, broken lines too: they are refused where rows are read."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"b": 1,  "a":2}\n\nnonsense\n')
    assert list(numbered_rows(path)) == [(1, b'{"b": 1,  "a":2}'), (3, b"nonsense")]


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.tsv", "in.parquet"])
def test_no_file_and_no_file_to_read(tmp_path: Path, name: str) -> None:
    """Missing, and a directory: one sentence each, whatever the kind."""
    with pytest.raises(InputError, match=f"{name}: there is no such file"):
        list(numbered_rows(tmp_path / name))
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name}: this is a directory"):
        list(numbered_rows(tmp_path / name))


@pytest.mark.parametrize(("name", "content", "first"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_batch_is_read_from_each(tmp_path: Path, name: str, content: bytes, first: int) -> None:
    """With the line of the first bad row."""
    path = tmp_path / name
    path.write_bytes(content)
    assert [request.request_id for request in read_batch(path)] == ["a", "b"]
    path = tmp_path / "bad.csv"
    path.write_bytes(CSV + b"c,d,e\n")
    with pytest.raises(InputError, match="3 cells under 2 columns") as refused:
        read_batch(path)
    assert refused.value.line == 4
