"""What earlier runs left open, as the run that comes after them knows it."""

from __future__ import annotations

from pathlib import Path

from journal.samples import KEY, OTHER_KEY, line_of, write_journal

from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.places import journal_path


def test_a_request_that_was_left_open_is_known_again(tmp_path: Path) -> None:
    """By its row and its hash; not one that the end of the output answers, nor another of the same row."""
    out = tmp_path / "out.jsonl"
    out.write_bytes(line_of("answered"))
    requests = [[number, number, name, KEY, 1, 10] for number, name in enumerate(("open", "answered"), 1)]
    write_journal(journal_path(out), {"end": 0, "sent": requests})
    journal = Journal(out)
    journal.open(input="rows.jsonl", model="m")
    journal.close()
    assert journal.is_uncertain("open", KEY)
    assert not journal.is_uncertain("open", OTHER_KEY)
    assert not journal.is_uncertain("answered", KEY)
    assert not journal.is_uncertain("nobody", KEY)


def test_a_first_run_knows_of_none(tmp_path: Path) -> None:
    """Before and after it is opened."""
    journal = Journal(tmp_path / "out.jsonl")
    assert not journal.is_uncertain("a", KEY)
    journal.open(input="rows.jsonl", model="m")
    journal.close()
    assert not journal.is_uncertain("a", KEY)
