"""Failed rows: collected beside the errors file, put in its place at the end, older records kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from journal.samples import Faults

from fastbatch.engine.errorsfile import ErrorsFile
from fastbatch.errors import StorageError


@pytest.fixture
def errors(tmp_path: Path) -> ErrorsFile:
    return ErrorsFile(tmp_path / "out.jsonl")


def record(custom_id: str, message: str = "no") -> bytes:
    return (
        json.dumps({"custom_id": custom_id, "prompt": "Hi", "error": {"message": message}}).encode() + b"\n"
    )


def run(errors: ErrorsFile, failed: list[bytes], touched: str = "") -> None:
    """One run: rows that failed, and ids of rows that have an outcome."""
    errors.look()
    errors.begin()
    if failed:
        errors.fresh.write_bytes(b"".join(failed))
    for custom_id in touched:
        errors.touch(custom_id)
    errors.settle()


def test_where_records_are(errors: ErrorsFile, tmp_path: Path) -> None:
    """Beside the output, and beside the errors file while they are collected."""
    assert errors.path == tmp_path / "out.jsonl.errors.jsonl"
    assert errors.fresh == tmp_path / "out.jsonl.errors.jsonl.new"


def test_a_run_without_failures_leaves_no_file(errors: ErrorsFile) -> None:
    """Neither of the two."""
    run(errors, [])
    assert not errors.path.exists()
    assert not errors.fresh.exists()


def test_failures_of_a_run_are_its_errors_file(errors: ErrorsFile) -> None:
    """In the order in which they came."""
    run(errors, [record("b"), record("a")], touched="ab")
    assert errors.path.read_bytes() == record("b") + record("a")
    assert not errors.fresh.exists()


def test_a_row_that_got_its_outcome_leaves_it(errors: ErrorsFile) -> None:
    """Answered rows are gone, failed ones have their new record, others keep the old one."""
    run(errors, [record("a"), record("b"), record("c")], touched="abc")
    run(errors, [record("b", "again")], touched="ab")
    assert errors.path.read_bytes() == record("c") + record("b", "again")


def test_the_last_failure_takes_the_file_with_it(errors: ErrorsFile) -> None:
    """An output without failures has no errors file."""
    run(errors, [record("a")], touched="a")
    run(errors, [], touched="a")
    assert not errors.path.exists()


def test_a_run_that_nobody_finished_is_forgotten(errors: ErrorsFile) -> None:
    """What it had collected goes when the next one begins: its rows run again. Older records stay."""
    errors.path.write_bytes(record("a"))
    errors.fresh.write_bytes(record("b") + b'{"custom_id":"c"')
    (errors.path.parent / f"{errors.path.name}.tmp").write_bytes(b"half of")
    errors.begin()
    assert [path.name for path in errors.path.parent.iterdir()] == [errors.path.name]
    run(errors, [], touched="")
    assert errors.path.read_bytes() == record("a")


def test_touching_costs_nothing_where_there_are_no_records(errors: ErrorsFile) -> None:
    """A first run remembers no ids."""
    errors.look()
    errors.touch("a")
    assert errors.touched is None
    errors.path.write_bytes(record("a"))
    errors.look()
    assert errors.touched is not None
    assert len(errors.touched) == 0
    errors.touch("a")
    errors.touch("a")
    assert len(errors.touched) == 1


@pytest.mark.parametrize("content", ["junk", "[1]", '{"a":', "null"])
def test_a_damaged_record_is_kept(errors: ErrorsFile, content: str) -> None:
    """It may be somebody's own; whoever runs the file is told its line."""
    errors.path.write_bytes(record("a") + content.encode() + b"\n" + record("b"))
    run(errors, [], touched="b")
    assert errors.path.read_bytes() == record("a") + content.encode() + b"\n"


def test_a_line_that_was_repaired_leaves_its_record(errors: ErrorsFile) -> None:
    """Once every line of the input has its outcome; before, and for rows of other names, it stays."""
    old = record("line-3").replace(b'"prompt"', b'"raw"')
    errors.path.write_bytes(old + record("line-4"))
    errors.look()
    errors.settle()
    assert errors.path.read_bytes() == old + record("line-4")
    errors.look()
    errors.settle(whole=True)
    assert errors.path.read_bytes() == record("line-4")


def test_a_record_without_an_id_or_a_newline_is_kept(errors: ErrorsFile) -> None:
    """Somebody may have edited the file."""
    errors.path.write_bytes(b'{"prompt":"Hi"}\n' + record("a")[:-1])
    run(errors, [record("b")], touched="b")
    assert errors.path.read_bytes() == b'{"prompt":"Hi"}\n' + record("a") + record("b")


def test_an_id_that_is_a_number(errors: ErrorsFile) -> None:
    """Is the text of it, as everywhere."""
    line: dict[str, Any] = {"custom_id": 7, "prompt": "Hi"}
    errors.path.write_text(json.dumps(line) + "\n")
    run(errors, [], touched="7")
    assert not errors.path.exists()


def test_records_that_cannot_be_put_in_place_are_kept(
    errors: ErrorsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves both files as they were."""
    errors.path.write_bytes(record("a"))
    errors.look()
    errors.begin()
    errors.fresh.write_bytes(record("b"))
    errors.touch("a")
    Faults(tmp_path, monkeypatch).set("fsync", OSError(28, "No space left on device"))
    with pytest.raises(StorageError, match="the disk is full"):
        errors.settle()
    assert (errors.path.read_bytes(), errors.fresh.read_bytes()) == (record("a"), record("b"))
    assert not list(tmp_path.glob("*.tmp"))
