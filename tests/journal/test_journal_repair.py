"""Repairing a damaged output: every good record is kept, and what was there is set aside."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from journal.samples import ABOUT, KEY, OTHER_KEY, Faults, descriptors, entries, line_of, write_journal

from fastbatch.engine.journal import repair as repair_module
from fastbatch.engine.journal.entries import Counted, UncertainRow, entry_line
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.lines import LineFile
from fastbatch.engine.journal.places import journal_path, part_path
from fastbatch.engine.journal.repair import Repaired, repair
from fastbatch.errors import OutputError, StorageError

A, B, C = line_of("a"), line_of("b"), line_of("c")
NOW = 1_700_000_000


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def path(out: Path) -> Path:
    return journal_path(out)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of what is set aside are those of one moment."""
    monkeypatch.setattr(repair_module.time, "time", lambda: NOW + 0.7)


def broken(line: bytes, at: int = 100) -> bytes:
    return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]


def sent(number: int, custom_id: str, row: int = 1, key: str = KEY) -> list[object]:
    return [number, row, custom_id, key, 2, 10]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_to_repair(out: Path, path: Path) -> None:
    """Files without damage stay as they are, and nothing is set aside."""
    out.write_bytes(A + B)
    before = out.stat().st_ino
    assert repair(out) == Repaired(2, 0, (), 0, 0, (), ())
    assert (out.read_bytes(), out.stat().st_ino) == (A + B, before)
    assert names(out.parent) == ["out.jsonl"]


def test_damaged_lines_are_left_out(out: Path) -> None:
    """Each stretch is counted, whose it seems to be is told, and the file as it was has another name."""
    damaged = A + broken(B, 300) + b"junk\n" + C + broken(line_of("d"), 20)
    out.write_bytes(damaged)
    aside = out.with_name(f"out.jsonl.damaged-{NOW}")
    assert repair(out) == Repaired(2, 3, ("b", "d"), 0, 0, (aside,), ())
    assert out.read_bytes() == A + C
    assert aside.read_bytes() == damaged
    assert names(out.parent) == ["out.jsonl", aside.name]


def test_repairing_twice(out: Path) -> None:
    """What was set aside first is not overwritten."""
    for _ in range(2):
        out.write_bytes(A + b"junk\n")
        repair(out)
    assert names(out.parent) == ["out.jsonl", f"out.jsonl.damaged-{NOW}", f"out.jsonl.damaged-{NOW + 1}"]
    assert repair(out).damaged == 0


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (broken(line_of("Grüße"), 200), ("Grüße",)),
        (broken(line_of('quo"te'), 200), ('quo\\"te',)),
        (line_of("torn")[:150], ("torn",)),
        (line_of("torn")[:60], ()),
        (broken(B, 3), ()),
        (broken(line_of("x" * 256), 400), ("x" * 256,)),
        (broken(line_of("x" * 257), 400), ()),
        (b"x" + B, ()),
        (line_of("name").replace(b'"name"', b'"n\xffme"'), ("n\ufffdme",)),
    ],
)
def test_whose_a_damaged_line_is(out: Path, line: bytes, lost: tuple[str, ...]) -> None:
    """As far as its beginning can be read."""
    out.write_bytes(A + line)
    assert (repair(out).lost, out.read_bytes()) == (lost, A)


def test_a_part_is_repaired_too(out: Path) -> None:
    """Both files of an ordered run, each set aside if it was damaged."""
    part = part_path(out)
    out.write_bytes(A)
    part.write_bytes(B + b"junk\n" + C)
    done = repair(out)
    assert (done.kept, done.damaged, done.set_aside) == (
        3,
        1,
        (part.with_name(f"{part.name}.damaged-{NOW}"),),
    )
    assert (out.read_bytes(), part.read_bytes()) == (A, B + C)
    out.write_bytes(b"junk\nmore junk\n")
    part.write_bytes(B + b"junk\n" + C)
    done = repair(out)
    assert (done.kept, done.damaged, len(done.set_aside)) == (2, 3, 2)
    assert (out.read_bytes(), part.read_bytes()) == (b"", B + C)


def test_a_damaged_journal(out: Path, path: Path) -> None:
    """Good entries still count; what is open is told, and vouches for nothing of the output any more."""
    out.write_bytes(A)
    write_journal(
        path,
        {"end": len(A), "sent": [sent(1, "a"), sent(2, "d", 5), sent(3, "e", 4)]},
        {"end": len(A), "sent": [sent(4, "f")]},
        {"end": len(A), "closed": [3], "count": list(Counted(time=9.0, ok=1))},
    )
    first, second, third, fourth = path.read_bytes().splitlines(keepends=True)
    damaged = first + second + broken(third, 40) + fourth
    path.write_bytes(damaged)
    aside = path.with_name(f"{path.name}.damaged-{NOW}")
    assert repair(out) == Repaired(1, 0, (), 3, 1, (aside,), (UncertainRow("d", 5, 2, 10, KEY),))
    assert aside.read_bytes() == damaged
    said = entries(path)
    assert said[0] == {"run": ABOUT._asdict()}
    assert said[1] == {"end": 0, "sent": [sent(2, "d", 5)], "count": list(Counted(time=9.0, ok=1))}
    journal = Journal(out)
    journal.open(input="rows.jsonl", model="m")
    journal.close()
    assert [row.custom_id for row in journal.uncertain] == ["d"]


def test_an_answer_of_another_request_closes_nothing(out: Path, path: Path) -> None:
    """The row was changed, and sent again."""
    out.write_bytes(A)
    write_journal(path, {"end": 0, "sent": [sent(1, "a", key=OTHER_KEY)]})
    assert [row.key for row in repair(out).uncertain] == [OTHER_KEY]


def test_a_journal_of_which_nothing_is_left(out: Path, path: Path) -> None:
    """Becomes an empty one: the next run begins anew, with the answers that are there."""
    out.write_bytes(A)
    path.write_bytes(b"junk\n\nmore\n")
    done = repair(out)
    assert (done.kept, done.entries_kept, done.entries_damaged) == (1, 0, 3)
    assert path.read_bytes() == b""


def test_lines_are_kept_where_only_a_journal_is_left(out: Path, path: Path) -> None:
    """The output is gone; what was open is still told."""
    write_journal(path, {"end": 700, "sent": [sent(1, "a")]})
    done = repair(out)
    assert (done.kept, done.damaged, [row.custom_id for row in done.uncertain]) == (0, 0, ["a"])
    assert names(out.parent) == [path.name]
    assert entries(path)[1]["end"] == 0


def test_a_file_of_somebody_else_is_left_alone(out: Path, path: Path) -> None:
    """It holds no line of ours, and no journal says that it should; with a journal it is ours."""
    out.write_bytes(b"id,name\n1,x\n")
    with pytest.raises(OutputError) as refused:
        repair(out)
    assert str(refused.value) == f"{out} holds no result line of fastbatch; it was left as it is"
    assert names(out.parent) == ["out.jsonl"]
    assert out.read_bytes() == b"id,name\n1,x\n"
    write_journal(path, {"end": 0})
    assert (repair(out).damaged, out.read_bytes()) == (2, b"")


def test_an_empty_output_is_fine(out: Path) -> None:
    """Nothing is damaged in it."""
    out.touch()
    assert repair(out) == Repaired(0, 0, (), 0, 0, (), ())
    assert out.read_bytes() == b""


def test_nothing_is_there(out: Path) -> None:
    """Neither an output nor a journal of it: a sentence, and no new file."""
    with pytest.raises(OutputError) as refused:
        repair(out)
    assert str(refused.value) == f"{out}: there is no such file, and no journal of it"
    assert names(out.parent) == []


def test_a_running_output_is_not_repaired(out: Path) -> None:
    """Whoever holds it is named, and no descriptor is left."""
    journal = Journal(out)
    journal.open(input="rows.jsonl", model="m")
    before = descriptors()
    with pytest.raises(
        OutputError, match=rf"is held by another running fastbatch \(process {os.getpid()} on"
    ):
        repair(out)
    assert descriptors() == before
    journal.close()
    repair(out)
    assert descriptors() == before - 2
    LineFile(journal_path(out)).close()


def test_a_journal_of_a_newer_version_is_not_repaired(out: Path, path: Path) -> None:
    """It may say what we do not understand."""
    path.write_bytes(entry_line({"run": ABOUT._replace(form=2)._asdict()}))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"^{path} cannot be read: it was written by a newer version"):
        repair(out)
    assert path.read_bytes() == before


def test_a_link_is_followed(out: Path, tmp_path: Path) -> None:
    """What it leads to is repaired; it stays a link."""
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real.jsonl"
    real.write_bytes(A + b"junk\n")
    out.symlink_to(real)
    repair(out)
    assert out.is_symlink()
    assert real.read_bytes() == A
    assert names(real.parent) == ["real.jsonl", f"real.jsonl.damaged-{NOW}"]


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_disk_that_fails_loses_no_line(
    out: Path, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fatal: int
) -> None:
    """Wherever it does: the damaged file stands in its place or beside it, and repairing again helps."""
    out.write_bytes(A + broken(B) + C)
    write_journal(path, {"end": len(A + B + C), "sent": [sent(1, "b")]})
    with monkeypatch.context() as patch:
        Faults(out.parent, patch).set(call, *[None] * (fatal - 1), OSError(errno.ENOSPC, ""))
        try:
            repair(out)
        except StorageError as failed:
            assert "the disk is full" in str(failed)
    done = repair(out)
    assert (done.kept, [row.custom_id for row in done.uncertain]) == (2, ["b"])
    assert out.read_bytes() == A + C
    assert any(each.read_bytes() == A + broken(B) + C for each in out.parent.glob("*.damaged-*"))


def test_a_file_system_without_links(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is touched where nothing can be set aside."""

    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    out.write_bytes(A + b"junk\n")
    with pytest.raises(StorageError, match=rf"out\.jsonl\.damaged-{NOW}: Operation not permitted"):
        repair(out)
    assert out.read_bytes() == A + b"junk\n"
    assert names(out.parent) == ["out.jsonl"]


def test_results_that_are_gone_are_counted(out: Path, path: Path) -> None:
    """Whole lines were cut off, or the file is not there: how much the journal knew of, and no more."""
    write_journal(path, {"end": len(A + B)})
    out.write_bytes(A)
    done = repair(out)
    assert (done.kept, done.damaged, done.missing) == (1, 0, len(B))
    assert repair(out).missing == 0, "it was told once, and nothing is vouched for any more"
    write_journal(path, {"end": len(A + B)})
    out.unlink()
    assert repair(out).missing == len(A + B)
