"""How the laboratory reads what a run left, held against files made by hand."""

from __future__ import annotations

import fcntl
import json
import zlib
from pathlib import Path
from random import Random

import pytest
from crashlab.disk import Note
from crashlab.evidence import look
from crashlab.inputs import Inputs, Row, change_input, write_input
from crashlab.power import fail_power, sizes

ROWS = {1: Row(1, "row1", "id-1", False), 2: Row(2, "newrow2", None, False, before="row2")}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Two rows, of which the second was changed."""
    (tmp_path / "in.jsonl").touch()
    return Inputs(tmp_path / "in.jsonl", ROWS, {})


def line(row: int, text: str, custom_id: str = "id-1") -> bytes:
    """A result line as its format has it, its checksum made here."""
    body = {"choices": [{"message": {"content": text}}]}
    record = {"custom_id": custom_id, "response": {"body": body}, "fastbatch": {"row": row}}
    head = json.dumps(record, separators=(",", ":")).encode()[:-2]
    return head + b',"crc":"%08x"}}\n' % zlib.crc32(head)


def test_answers_are_told_by_their_words(tmp_path: Path, inputs: Inputs) -> None:
    """An answer, one to what was asked before, and an end that was being written."""
    good = line(1, "You asked: row1 so. What?") + line(2, "On the matter of row2:", "row-x")
    (tmp_path / "out.jsonl").write_bytes(good + line(2, "You asked: newrow2.", "row-x")[:40])
    found = look(tmp_path, inputs)
    assert (set(found.answered), found.stale, found.problems, found.doubled) == ({1}, {2}, [], [])
    assert (found.order, found.names) == ([1, 2], {"out.jsonl"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (line(1, "You asked: row1.").replace(b"asked", b"aSked"), "damaged line"),
        (b"\0" * 30 + b"\n", "damaged line"),
        (line(3, "You asked: row1."), "not in the input"),
        (line(1, "You asked: row1.", "id-2"), "has the id 'id-2'"),
        (line(1, "You asked: row11."), "another row's answer"),
    ],
)
def test_what_is_wrong_is_a_problem(tmp_path: Path, inputs: Inputs, content: bytes, problem: str) -> None:
    """Damage and mix-ups are told; damage alone is forgiven right after a power failure."""
    (tmp_path / "out.jsonl").write_bytes(content)
    assert problem in look(tmp_path, inputs).problems[0]
    forgiven = look(tmp_path, inputs, after_power_failure=True).problems
    assert bool(forgiven) == ("damaged" not in problem)


def test_a_row_is_doubled_within_a_file_only(tmp_path: Path, inputs: Inputs) -> None:
    """The same line in the output and in the part that it came from is one answer."""
    (tmp_path / "out.jsonl").write_bytes(line(1, "row1"))
    (tmp_path / "out.jsonl.part").write_bytes(line(1, "row1"))
    assert look(tmp_path, inputs).doubled == []
    (tmp_path / "out.jsonl.part").write_bytes(2 * line(1, "row1"))
    assert look(tmp_path, inputs).doubled == [1]


def test_errors_are_settled_in_their_own_file(tmp_path: Path, inputs: Inputs) -> None:
    """Those that are still being collected have failed, and are not settled."""
    (tmp_path / "out.jsonl.errors.jsonl").write_bytes(b'{"fastbatch":{"row":1}}\n')
    (tmp_path / "out.jsonl.errors.jsonl.new").write_bytes(b'{"fastbatch":{"row":2}}\n{"fastb')
    found = look(tmp_path, inputs)
    assert (found.failed, found.settled, found.problems) == ({1, 2}, {1}, [])


def test_a_lock_that_somebody_holds_is_seen(tmp_path: Path, inputs: Inputs) -> None:
    """It is there while it is held, and the look itself leaves none."""
    with (tmp_path / "out.jsonl").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert look(tmp_path, inputs).held
    assert not look(tmp_path, inputs).held
    assert not look(tmp_path, inputs).held


def test_an_input_has_every_kind_of_row_and_changes_in_place(tmp_path: Path) -> None:
    """The same seed gives the same file; changed rows keep their line and get another word."""
    first = write_input(tmp_path / "a.jsonl", 300, Random(5))
    again = write_input(tmp_path / "b.jsonl", 300, Random(5))
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.shared
    assert {row.custom_id is None for row in first.rows.values()} == {True, False}
    assert any(row.refused for row in first.rows.values())
    before = first.path.read_text().splitlines()
    changed = change_input(first, Random(5))
    after = first.path.read_text().splitlines()
    different = {number for number in first.rows if before[number - 1] != after[number - 1]}
    assert different == {row.number for row in changed.rows.values() if row.before}
    assert len(different) > 10


def test_a_power_failure_takes_what_was_not_synced(tmp_path: Path) -> None:
    """Synced bytes stay whatever the dice say, others may go, be cut or read as zeros."""
    folder, notes = tmp_path / "job", tmp_path / "notes"
    folder.mkdir()
    file = folder / "out.jsonl"
    ends = set()
    for seed in range(60):
        file.write_bytes(b"a" * 5000)
        note = Note("synced", file.stat().st_ino, 600)
        notes.write_text(json.dumps(note) + "\n")
        fail_power(folder, notes, {}, Random(seed))
        left = file.read_bytes()
        assert left.startswith(b"a" * 600)
        assert set(left[600:]) <= set(b"a\0")
        ends.add((len(left) == 5000, b"\0" in left))
    assert len(ends) == 4
    file.write_bytes(b"a" * 5000)
    notes.unlink()
    fail_power(folder, notes, sizes(folder), Random(1))
    assert file.read_bytes() == b"a" * 5000


def test_names_are_safe_once_their_folder_is(tmp_path: Path) -> None:
    """A rename comes undone with both of its names, a new file goes; a synced folder keeps what it has.

    What was announced and not done (the removal of `there`) is not undone.
    """
    folder, notes, kept = tmp_path / "job", tmp_path / "notes", tmp_path / "kept"
    states = set()
    for synced in (False, True):
        for seed in range(30):
            folder.mkdir()
            (folder / "out").write_text("new")
            (folder / "made").touch()
            kept.write_text("old")
            (folder / "there").touch()
            out, inode = folder / "out", (folder / "out").stat().st_ino
            named = [
                Note("named", inode, 0, str(out), str(kept), str(folder / "out.tmp")),
                Note("named", path=str(folder / "made")),
                Note("named", path=str(folder / "there"), kept=str(kept)),
            ]
            done = [*named, Note("folder")] if synced else named
            notes.write_text("".join(json.dumps(note) + "\n" for note in done))
            safe = {inode: 3, kept.stat().st_ino: 3}
            fail_power(folder, notes, safe, Random(seed))
            state = tuple(sorted((path.name, path.read_text()) for path in folder.iterdir()))
            states.add((synced, state))
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    there = ("there", "")
    assert states == {
        (True, (("made", ""), ("out", "new"), there)),
        (False, (("made", ""), ("out", "new"), there)),
        (False, (("out", "new"), there)),
        (False, (("out", "old"), ("out.tmp", "new"), there)),
    }
