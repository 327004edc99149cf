"""`fastbatch repair`: what it says it kept, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Recorder, fastbatch, read_lines, write_rows
from held import HeldProvider, command, die

from fastbatch.cli.repairlines import repair_lines
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.repair import Repaired

WHOLE = Repaired(3, 0, (), 0, 0, (), ())


def lines(done: Repaired) -> list[str]:
    return list(repair_lines(done, "out.jsonl", 0.0))


def test_nothing_is_damaged() -> None:
    """And nothing was done."""
    assert lines(WHOLE) == ["out.jsonl: nothing is damaged; 3 result lines kept."]
    assert lines(WHOLE._replace(kept=1, entries_kept=1)) == [
        "out.jsonl: nothing is damaged; 1 result line kept, 1 journal entry kept."
    ]


def test_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept, what was not, where it is now, whose it was, and what may be paid for twice."""
    monkeypatch.setenv("COLUMNS", "80")
    row = UncertainRow("row-7", 7, 1, 12, "")
    aside = (Path("out.jsonl.damaged-1"), Path("out.jsonl.journal.damaged-1"))
    assert lines(Repaired(1998, 2, ("a", "b\x1b"), 40, 1, aside, (row,))) == [
        "out.jsonl: 1,998 result lines kept, 40 journal entries kept; 2 damaged stretches and 1 damaged "
        "journal entry left out.",
        "As it was: out.jsonl.damaged-1",
        "As it was: out.jsonl.journal.damaged-1",
        "These rows seem to have lost their answer:",
        "  a, b?",
        "1 row was sent by a run that ended without recording its answer, about 12 tokens in, and may have "
        "been paid for.",
        "Their ids, with the line of the input:",
        "  row-7 (7)",
        "Rows without an answer are sent when the run's command is given again.",
        "What a damaged entry of the journal named is on no list: such a row may be paid for twice.",
    ]


def test_very_many_lost_rows() -> None:
    """A thousand are named."""
    shown = lines(WHOLE._replace(damaged=1, lost=tuple(map(str, range(1234)))))
    assert shown[-2] == "  and 234 more"
    assert "1 damaged stretch left out" in shown[0]


def test_a_damaged_output_is_refused_repaired_and_completed(tmp_path: Path) -> None:
    """Only the row whose answer was damaged is sent again."""
    rows = [{"id": name, "prompt": name} for name in "abc"]
    write_rows(tmp_path / "rows.jsonl", *rows)
    out = tmp_path / "out.jsonl"
    with Recorder() as recorder:
        assert fastbatch(*command(recorder, "--concurrency", 1), cwd=tmp_path).code == 0
        before = out.read_bytes()
        damaged = before.replace(b"You said b", b"You said X")
        out.write_bytes(damaged)
        refused = fastbatch(*command(recorder), cwd=tmp_path)
        assert refused.code == 2
        assert refused.err.rstrip().endswith("fastbatch repair out.jsonl")
        ran = fastbatch("repair", "out.jsonl", cwd=tmp_path)
        assert (ran.code, ran.err) == (0, "")
        assert "out.jsonl: 2 result lines kept; 1 damaged stretch left out.\n" in ran.out
        assert "These rows seem to have lost their answer:\n  b\n" in ran.out
        (aside,) = tmp_path.glob("out.jsonl.damaged-*")
        assert (f"As it was: {aside.name}" in ran.out, aside.read_bytes()) == (True, damaged)
        assert [line["custom_id"] for line in read_lines(out)] == ["a", "c"]
        assert fastbatch(*command(recorder), cwd=tmp_path).code == 0
        assert [request.body["messages"][-1]["content"] for request in recorder.requests[3:]] == ["b"]
    assert sorted(line["custom_id"] for line in read_lines(out)) == ["a", "b", "c"]
    assert fastbatch("repair", "out.jsonl", cwd=tmp_path).out == (
        "out.jsonl: nothing is damaged; 3 result lines kept.\n"
    )


def test_uncertain_rows_stay_known(tmp_path: Path) -> None:
    """A repair lists them, and so does the run that follows."""
    with HeldProvider() as provider:
        lost = die(tmp_path, provider)
        journal = tmp_path / "out.jsonl.journal"
        first, rest = journal.read_bytes().split(b"\n", 1)
        journal.write_bytes(first + b"\nrubbish\n" + rest)
        assert fastbatch("status", "out.jsonl", cwd=tmp_path).code == 2
        ran = fastbatch("repair", "out.jsonl", cwd=tmp_path)
        assert ran.code == 0
        assert "1 damaged journal entry left out" in ran.out
        assert all(f"{name} (" in ran.out for name in lost)
        again = fastbatch(*command(provider), cwd=tmp_path)
        assert all(f"{name} (" in again.err for name in lost)
        assert (again.code, len(read_lines(tmp_path / "out.jsonl"))) == (0, 10)


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ("no.jsonl", "no.jsonl: there is no such file, and no journal of it"),
        ("rows.jsonl", "rows.jsonl holds no result line of fastbatch; it was left as it is"),
        ("out.jsonl.part", "out.jsonl.part lies beside the results; name those: out.jsonl"),
    ],
)
def test_what_cannot_be_repaired(tmp_path: Path, results: str, says: str) -> None:
    """One sentence, exit 2, and nothing is changed or left behind."""
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a"})
    before = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    ran = fastbatch("repair", results, cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (2, "", f"fastbatch: {says}\n")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == before


def test_what_is_gone_is_said() -> None:
    """How many bytes, and that nobody can tell whose."""
    gone = WHOLE._replace(missing=1_234)
    assert lines(gone)[0].startswith(
        "out.jsonl: 1,234 bytes of answers that were safe once are gone from the file"
    )
    assert lines(gone)[0].endswith("3 result lines kept.")
    assert "nothing is damaged" not in "".join(lines(gone))
