"""A run's status: what the files tell somebody who only looks, while it runs and when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import ABOUT, KEY, OTHER_KEY, descriptors, line_of, write_journal

from fastbatch.engine.journal import watch as watching
from fastbatch.engine.journal.entries import Counted, UncertainRow, entry_line
from fastbatch.engine.journal.lines import LineFile
from fastbatch.engine.journal.places import part_path
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.status import RunStatus, read_status
from fastbatch.errors import OutputError

BEGAN = ABOUT.began
A, B, C = (line_of(name, row=row) for row, name in enumerate("abc", start=1))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


@pytest.fixture
def running(path: Path) -> Iterator[Path]:
    """A journal that a run holds."""
    held = LineFile(path)
    yield path
    held.close()


def count(seconds: float, **counts: int) -> dict[str, Any]:
    """An entry of the counters so many seconds after the run began."""
    return {"count": list(Counted(time=BEGAN + seconds, total=100, **counts)._replace())}


def sent(number: int, name: str, row: int, *, key: str = KEY) -> list[Any]:
    return [number, row, name, key, 1, 10 * row]


def status(out: Path, seconds: float = 100.0) -> RunStatus:
    """The status so many seconds after the run began."""
    return read_status(out, now=BEGAN + seconds)


def test_a_run_that_goes_on(out: Path, running: Path) -> None:
    """Who runs what since when, its last counters, and how many requests are in flight."""
    counts = {"ok": 30, "failed": 2, "skipped": 8, "cached": 3, "shared": 1, "requests": 33, "retries": 4}
    tokens = {"prompt_tokens": 300, "completion_tokens": 600}
    out.write_bytes(A)
    write_journal(
        running, {"end": len(A), "sent": [sent(1, "b", 2), sent(2, "c", 3)]}, count(20, **counts, **tokens)
    )
    found = status(out, 20)
    assert replace(found, rows_per_s=0, tokens_per_s=0, eta=None) == RunStatus(
        "running", str(out), data=str(out), pid=4711, host="there", began=BEGAN, seen=BEGAN + 20,
        input="rows.jsonl", model="openai:m", total=100, open=2, **counts, **tokens,
    )  # fmt: skip
    assert (found.done, found.left) == (40, 60)


def test_nobody_is_disturbed(out: Path, running: Path) -> None:
    """Whoever looks holds no lock afterwards, changes nothing, and leaves no descriptor open."""
    write_journal(running, count(1))
    before, opened = running.read_bytes(), descriptors()
    status(out)
    assert (running.read_bytes(), descriptors()) == (before, opened)
    assert [each.name for each in out.parent.iterdir()] == [running.name]


def test_a_run_that_has_just_begun(out: Path, running: Path) -> None:
    """An empty journal that is held is a run all the same."""
    found = status(out)
    assert (found.state, found.pid, found.total, found.left, found.eta) == ("running", None, None, None, None)


SPEEDS = {
    # Moments (seconds, rows) of the counters, the second of the look -> rows a second, seconds left.
    "from its beginning": ([(2, 10), (5, 20)], 5, 4.0, 20.0),
    "over the last ten seconds": ([(5, 5), (10, 10), (20, 60)], 20, 5.0, 8.0),
    "from the last moment that is old enough": ([(5, 5), (9, 9), (20, 60)], 20, 51 / 11, 40 / (51 / 11)),
    "of a run that stands still": ([(5, 5), (10, 60)], 25, 0.0, None),
    "of a run that slows down": ([(5, 5), (10, 60), (18, 70)], 22, 10 / 12, 36.0),
    "with a clock that is behind": ([(5, 20)], 1, 4.0, 20.0),
    "of a run with nothing left": ([(10, 100)], 10, 10.0, 0.0),
}


@pytest.mark.parametrize("case", SPEEDS)
def test_speed(out: Path, running: Path, case: str) -> None:
    """Rows and tokens a second of late, and the time that is left at that speed."""
    moments, now, speed, eta = SPEEDS[case]
    write_journal(
        running,
        *(
            count(second, ok=rows - 1, failed=1, prompt_tokens=rows, completion_tokens=rows)
            for second, rows in moments
        ),
    )
    found = status(out, now)
    assert found.rows_per_s == pytest.approx(speed)
    assert found.tokens_per_s == pytest.approx(2 * speed)
    assert found.eta == (None if eta is None else pytest.approx(eta))


def test_speed_of_a_run_that_has_ended(out: Path, path: Path) -> None:
    """Over all of it, and nothing is expected any more."""
    write_journal(path, count(1, ok=10), count(20, ok=60), count(40, ok=80))
    out.touch()
    found = status(out, 1000)
    assert (found.state, found.rows_per_s, found.eta) == ("stopped", 2.0, None)


def test_a_run_before_this_one_counts_for_nothing(out: Path, running: Path) -> None:
    """Its counters are not this run's."""
    write_journal(running, count(5, ok=50), {"run": ABOUT._replace(pid=1, began=BEGAN + 90)._asdict()})
    found = status(out)
    assert (found.pid, found.ok, found.seen, found.total) == (1, 0, None, None)


def test_a_run_that_died(out: Path, path: Path) -> None:
    """What has no answer is uncertain, by id; what was answered behind its last word is not."""
    out.write_bytes(A + B + C[:50])
    open_ones = [sent(1, "b", 2), sent(2, "c", 3), sent(3, "a", 1, key=OTHER_KEY)]
    write_journal(path, {"end": len(A), "sent": open_ones}, count(4, ok=1))
    found = status(out)
    assert (found.state, found.ok, found.left, found.open) == ("stopped", 1, 99, 2)
    assert found.uncertain == (UncertainRow("a", 1, 1, 10, OTHER_KEY), UncertainRow("c", 3, 1, 30, KEY))
    assert out.read_bytes() == A + B + C[:50]


def test_an_answer_to_another_request_settles_nothing(out: Path, path: Path) -> None:
    """A row that was answered as it was before is uncertain as it is now."""
    out.write_bytes(B)
    write_journal(path, {"end": 0, "sent": [sent(1, "b", 2, key=OTHER_KEY)]}, count(4))
    assert [row.custom_id for row in status(out).uncertain] == ["b"]


def test_an_ordered_run(out: Path, path: Path) -> None:
    """Its lines are where they collect."""
    part_path(out).write_bytes(A + B)
    about = ABOUT._replace(data=part_path(out).name)
    write_journal(
        path, {"end": len(A), "sent": [sent(1, "b", 2), sent(2, "c", 3)]}, count(4, ok=1), about=about
    )
    found = status(out)
    assert (found.state, found.data) == ("stopped", str(part_path(out)))
    assert [row.custom_id for row in found.uncertain] == ["c"]


@pytest.mark.parametrize("torn", [1, 8, 30])
def test_an_entry_that_is_being_written(out: Path, running: Path, torn: int) -> None:
    """Is not there yet."""
    write_journal(running, count(4, ok=7))
    with running.open("ab") as file:
        file.write(entry_line(count(5, ok=8))[:torn])
    assert status(out).ok == 7


def test_a_damaged_journal(out: Path, path: Path) -> None:
    """Says where, and what helps."""
    out.touch()
    write_journal(path, count(4, ok=7), count(5, ok=8))
    data = bytearray(path.read_bytes())
    first = data.index(b"\n") + 1
    data[first + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        OutputError, match=rf"journal is damaged at byte {first};.*fastbatch repair \S+out.jsonl$"
    ):
        status(out)


def test_a_damaged_output(out: Path, path: Path) -> None:
    """Behind the last word of a run that died, or cut below it, or anywhere in a finished one."""
    write_journal(path, {"end": len(A), "sent": [sent(1, "c", 3)]}, count(4))
    out.write_bytes(A + b"X" + B[1:] + C)
    with pytest.raises(OutputError, match=rf"out.jsonl is damaged at byte {len(A)};"):
        status(out)
    out.write_bytes(A[:-5])
    with pytest.raises(OutputError, match=rf"out.jsonl is damaged at byte {len(A) - 5};"):
        status(out)
    path.unlink()
    out.write_bytes(A + b"X" + B[1:] + C)
    with pytest.raises(OutputError, match=rf"out.jsonl is damaged at byte {len(A)};.*fastbatch repair"):
        status(out)


def test_a_journal_of_a_newer_version(out: Path, path: Path) -> None:
    """Is not guessed at."""
    write_journal(path, about=ABOUT._replace(form=2))
    with pytest.raises(OutputError, match="journal cannot be read: it was written by a newer version"):
        status(out)


def test_a_complete_run(out: Path) -> None:
    """Has no journal: its lines are counted, failed rows too."""
    out.write_bytes(A + B + C)
    errors = out.with_name("out.jsonl.errors.jsonl")
    errors.write_bytes(b"{}\n{}\n")
    assert status(out) == RunStatus(
        "complete", str(out), data=str(out), errors=str(errors), total=5, ok=3, failed=2, eta=0.0
    )


def test_an_empty_output_is_complete(out: Path) -> None:
    """As an empty input leaves it."""
    out.touch()
    found = status(out)
    assert (found.state, found.total, found.left) == ("complete", 0, 0)


def test_rows_that_were_not_sent_again(out: Path, path: Path) -> None:
    """A complete run that was told to leave them keeps a journal for them, and is complete."""
    out.write_bytes(A)
    write_journal(path, {"end": 0, "sent": [sent(1, "b", 2)]}, count(4, ok=60, failed=10, skipped=30))
    found = status(out)
    assert (found.state, found.left, len(found.uncertain)) == ("complete", 0, 1)
    part_path(out).write_bytes(A)
    assert status(out).state == "stopped"  # all rows are there, but not in their order yet
    part_path(out).unlink()
    write_journal(path, {"end": 0}, count(4, ok=60, failed=10, skipped=30))
    assert status(out).state == "stopped"  # killed while it put its files in order


def test_a_run_that_counted_nothing(out: Path, path: Path) -> None:
    """It died while it read: the lines that are there are counted, nobody knows of how many rows."""
    out.write_bytes(A + B + C[:9])
    out.with_name("out.jsonl.errors.jsonl.new").write_bytes(b"{}\n")
    write_journal(path, {"end": len(A), "sent": []})
    found = status(out)
    assert (found.state, found.ok, found.failed, found.total, found.left) == ("stopped", 2, 1, None, None)


def test_a_link_leads_to_the_output(out: Path, path: Path, tmp_path: Path) -> None:
    """As a run's own link does."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.jsonl"
    link.symlink_to(out)
    out.touch()
    write_journal(path, count(4, ok=7))
    assert status(link).ok == 7


def test_nothing_to_look_at(out: Path, tmp_path: Path) -> None:
    """One sentence each."""
    with pytest.raises(OutputError, match="there is no such file, and no journal of it"):
        status(out)
    out.write_bytes(b"my diary\n")
    with pytest.raises(OutputError, match="does not hold result lines of fastbatch"):
        status(out)
    with pytest.raises(OutputError, match="no file of results"):
        status(tmp_path)
    out.unlink()
    out.with_name("out.jsonl.journal").mkdir()
    with pytest.raises(OutputError, match="not an ordinary file"):
        status(out)


def test_a_file_that_may_not_be_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named, with the reason."""
    out.touch()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(out))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"out\.jsonl cannot be read: Permission denied"):
        status(out)


def test_a_run_that_ends_while_one_looks(out: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote last is not missed, and a journal that goes means that it is complete."""
    out.write_bytes(A)
    write_journal(path, count(4, ok=7))
    real, looks = watching._is_held, 0

    def is_held(fd: int) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            with path.open("ab") as file:
                file.write(entry_line(count(5, ok=8)))
        return real(fd)

    monkeypatch.setattr(watching, "_is_held", is_held)
    assert (status(out).ok, looks) == (8, 2)

    def goes(fd: int) -> bool:
        path.unlink(missing_ok=True)
        return True

    monkeypatch.setattr(watching, "_is_held", goes)
    assert status(out).state == "complete"


def test_a_journal_that_is_written_anew_while_one_looks(
    out: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that stands there is read, for whoever holds it holds that one."""
    write_journal(path, count(4, ok=7))
    held = LineFile(path)
    real, looks = watching._is_held, 0

    def is_held(fd: int) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            state = JournalState()
            state.about, state.counted = ABOUT, Counted(time=BEGAN + 5, total=100, ok=9)
            held.replace(state.short())
        return real(fd)

    monkeypatch.setattr(watching, "_is_held", is_held)
    found = status(out)
    assert (found.state, found.ok, looks) == ("running", 9, 2)
    held.close()


def test_a_journal_that_never_stands_still(out: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up with a sentence."""

    def replaced(fd: int) -> bool:
        path.unlink()
        write_journal(path)
        return False

    write_journal(path)
    monkeypatch.setattr(watching, "_is_held", replaced)
    with pytest.raises(OutputError, match="replaced again and again"):
        status(out)


def test_a_hole_in_the_middle_of_a_journal(out: Path, path: Path) -> None:
    """Is damage, though it looks like what a power failure leaves at an end: each entry is synced."""
    write_journal(path, count(4, ok=7))
    begin = path.stat().st_size
    hole = b"x" * (512 - begin % 512) + bytes(512) + b"x\n"
    with path.open("ab") as file:
        file.write(hole)
    assert status(out, 4).ok == 7
    with path.open("ab") as file:
        file.write(entry_line(count(6, ok=9)))
    with pytest.raises(OutputError, match=rf"journal is damaged at byte {begin};"):
        status(out, 4)
