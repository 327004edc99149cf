"""Taking the files of a run: who may, what a crash left is made whole, what is damaged is refused."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from journal.samples import (
    ABOUT,
    KEY,
    OTHER_KEY,
    Faults,
    descriptors,
    entries,
    line_of,
    write_journal,
)

from fastbatch.engine.journal import opening as opening_module
from fastbatch.engine.journal.entries import Counted, UncertainRow, entry_line
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.opening import open_files
from fastbatch.engine.journal.places import errors_path, held_by, journal_path, part_path, real_file
from fastbatch.errors import OutputError, StorageError

A, B, C, E = (line_of(name) for name in "abce")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def path(out: Path) -> Path:
    return journal_path(out)


@pytest.fixture
def part(out: Path) -> Path:
    return part_path(out)


def opened(out: Path, *, ordered: bool = False, durability: str = "power") -> Journal:
    journal = Journal(out, ordered=ordered, durability=durability)  # type: ignore[arg-type]
    journal.open(input="rows.jsonl", model="openai:m")
    return journal


def found(out: Path, **options: bool) -> tuple[UncertainRow, ...]:
    """What is uncertain; the files are let go."""
    journal = opened(out, **options)
    journal.close()
    return journal.uncertain


def sent(number: int, custom_id: str, row: int = 1, key: str = KEY, attempt: int = 1) -> list[object]:
    return [number, row, custom_id, key, attempt, 10]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_where_the_files_are(tmp_path: Path) -> None:
    """The name of the output and what is added; a link is followed, so that they are beside the file."""
    out = tmp_path / "out.jsonl"
    assert journal_path(out).name == "out.jsonl.journal"
    assert part_path(out).name == "out.jsonl.part"
    assert errors_path(out).name == "out.jsonl.errors.jsonl"
    assert real_file(out) == out
    assert real_file(Path("out.jsonl")) == Path("out.jsonl"), "as people called it"
    (tmp_path / "there").mkdir()
    out.symlink_to(tmp_path / "there" / "real.jsonl")
    assert real_file(out) == tmp_path / "there" / "real.jsonl"
    journal = Journal(out)
    assert journal.output == tmp_path / "there" / "real.jsonl"
    names = ["real.jsonl", "real.jsonl.part", "real.jsonl.journal"]
    names += [f"{name}.tmp" for name in names]
    assert journal.all_files == tuple(tmp_path / "there" / name for name in names)
    assert journal.files == journal.all_files[:1]
    assert Journal(out, ordered=True).files == journal.all_files[:2]


def test_a_first_run(out: Path, path: Path) -> None:
    """Makes both files; the journal says who runs, and that nothing is acknowledged."""
    journal = opened(out)
    assert out.read_bytes() == b""
    (entry,) = entries(path)
    about = entry.pop("run")
    assert entry == {"end": 0, "sent": []}
    assert about == {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "began": about["began"],
        "input": "rows.jsonl",
        "model": "openai:m",
        "data": "out.jsonl",
        "durability": "power",
        "form": 1,
    }
    assert about["began"] > 1_700_000_000
    assert journal.uncertain == ()
    journal.close()
    journal.close()


def test_an_ordered_run_collects_in_the_part(out: Path, path: Path, part: Path) -> None:
    """The output itself is not made before it is whole."""
    opened(out, ordered=True).close()
    assert not out.exists()
    assert part.read_bytes() == b""
    assert entries(path)[0]["run"]["data"] == "out.jsonl.part"


@pytest.mark.parametrize("ordered", [False, True])
def test_names_that_are_no_text(out: Path, ordered: bool) -> None:
    """Bytes that are no UTF-8, in the name of an input or an output: a run goes on all the same."""
    out = out.with_name(os.fsdecode(b"out-\xff.jsonl"))
    data = part_path(out) if ordered else out
    data.write_bytes(A)
    for _ in range(2):
        journal = Journal(out, ordered=ordered)
        journal.open(input=os.fsdecode(b"rows-\xfe.jsonl"), model="m\udcfd")
        assert data.read_bytes() == A
        journal.close()
    (entry,) = entries(journal_path(out))
    assert entry["end"] == len(A)
    assert entry["run"]["input"] == "rows-\\udcfe.jsonl"
    assert entry["run"]["data"] == "out-\\udcff.jsonl" + ".part" * ordered
    with data.open("ab") as file:
        file.write(B[:90])
    opened(out, ordered=ordered).close()
    assert data.read_bytes() == A, "the journal speaks of this file"


def test_one_run_at_a_time(out: Path, path: Path) -> None:
    """The second one is told by whom the output is held and what to do, and changes nothing."""
    journal = opened(out)
    before = files_of(out.parent)
    with pytest.raises(OutputError) as refused:
        opened(out)
    assert refused.value.holder == os.getpid()
    assert str(refused.value) == (
        f"{out} is held by another running fastbatch (process {os.getpid()} on {os.uname().nodename}); "
        f"wait for it, or choose another output. How far it is: fastbatch status {out}"
    )
    assert files_of(out.parent) == before
    journal.close()
    opened(out).close()


def test_a_holder_that_cannot_be_read_is_nameless(out: Path, path: Path) -> None:
    """A journal that is empty, of a newer version, or just being written."""
    journal = opened(out)
    newer = entry_line({"run": ABOUT._replace(form=99)._asdict()})
    for content in (b"", newer, b"1234"):
        path.write_bytes(content)
        with pytest.raises(OutputError, match=r"is held by another running fastbatch; wait for it"):
            opened(out)
    assert str(held_by(out.with_name("nobody"))).startswith(f"{out.with_name('nobody')} is held by another")
    path.write_bytes(entry_line({"run": ABOUT._asdict()}) + b"1234")
    with pytest.raises(OutputError, match=r"fastbatch \(process 4711 on there\); wait"):
        opened(out)
    journal.close()


def test_one_who_writes_the_output_without_a_journal_holds_it_too(out: Path) -> None:
    """Two outputs may be one file by two names."""
    journal = opened(out)
    other = out.with_name("other.jsonl")
    os.link(out, other)
    with pytest.raises(OutputError, match="is held by another running fastbatch"):
        opened(other)
    journal.close()
    assert not journal_path(other).exists()


def test_a_run_that_died_leaves_its_open_requests(out: Path, path: Path) -> None:
    """They are uncertain, in the order of the input, and stay on record for the run that comes after."""
    out.write_bytes(A)
    write_journal(
        path,
        {"end": 0, "sent": [sent(1, "a", 1), sent(2, "z", 9, attempt=3), sent(3, "y", 5)]},
        {"end": len(A), "closed": [1]},
    )
    uncertain = tuple(
        UncertainRow(name, row, attempt, 10, KEY, "rows.jsonl")
        for name, row, attempt in (("y", 5, 1), ("z", 9, 3))
    )
    assert found(out) == uncertain
    (entry,) = entries(path)
    assert entry["end"] == len(A)
    assert entry["sent"] == [[*sent(2, "z", 9, attempt=3), "rows.jsonl"], [*sent(3, "y", 5), "rows.jsonl"]]
    assert found(out) == uncertain


async def test_numbers_go_on(out: Path, path: Path) -> None:
    """A request of the next run has a number that no open one has; a row sent again takes its place."""
    write_journal(path, {"end": 0, "sent": [sent(4, "a"), sent(7, "b")]}, {"closed": [7]})
    journal = opened(out)
    journal.start(recorded=lambda jobs: None, failed=lambda error: None, count=Counted)
    await journal.sent(1, "c", KEY, 1, 10)
    await journal.sent(1, "a", KEY, 2, 10)
    journal.record(None, "c", line=C)
    await journal.flush()
    journal.stop()
    journal.close()
    said = entries(path)
    assert [entry.get("sent") for entry in said[1:3]] == [[sent(8, "c")], [sent(9, "a", attempt=2)]]
    assert said[3]["closed"] == [8]
    assert [row.attempt for row in found(out)] == [2]


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("end", [b"", B[:1], B[:50], B[:-2]])
def test_the_torn_end_of_the_data_is_cut_off(
    out: Path, path: Path, part: Path, ordered: bool, end: bytes
) -> None:
    """The row it was for is uncertain; what was acknowledged stays."""
    data = part if ordered else out
    data.write_bytes(A + end)
    write_journal(path, {"end": len(A), "sent": [sent(1, "b")]}, about=ABOUT._replace(data=data.name))
    assert [row.custom_id for row in found(out, ordered=ordered)] == ["b"]
    assert data.read_bytes() == A


@pytest.mark.parametrize("end", [B, B[:-1], B[:-1] + b"\0", B[:-1] + bytes(700)])
def test_an_answer_that_was_not_acknowledged_counts(out: Path, path: Path, end: bytes) -> None:
    """Whole behind what was acknowledged: its request is not open any more."""
    out.write_bytes(A + end)
    write_journal(path, {"end": len(A), "sent": [sent(1, "b"), sent(2, "c", 2)]})
    assert [row.custom_id for row in found(out)] == ["c"]
    assert out.read_bytes() == A + B
    assert entries(path)[0]["end"] == len(A + B)


def test_an_answer_to_another_request_closes_nothing(out: Path, path: Path) -> None:
    """The row has changed since: what is open is not what was answered."""
    out.write_bytes(B)
    write_journal(path, {"end": 0, "sent": [sent(1, "b", key=OTHER_KEY)]})
    assert [row.key for row in found(out)] == [OTHER_KEY]


def test_answers_behind_a_hole_are_kept(out: Path, path: Path) -> None:
    """A power failure took sectors of one line, and not the lines behind it."""
    hole = len(A) // 512 * 512 + 512
    data = bytearray(A + line_of("b", "long " * 400) + C + E)
    data[hole : hole + 512] = bytes(512)
    out.write_bytes(bytes(data))
    write_journal(path, {"end": len(A), "sent": [sent(1, "b"), sent(2, "c", 2)]})
    assert [row.custom_id for row in found(out)] == ["b"]
    assert out.read_bytes() == A + C + E


def test_a_finished_output_is_looked_at_from_its_last_line(out: Path) -> None:
    """Without a journal nothing more is known of it; all of it is read soon enough."""
    for count in (1, 3, 700):
        whole = A * count
        for end, kept in ((b"", b""), (B[:60], b""), (B[:-1], B)):
            out.write_bytes(whole + end)
            assert found(out) == ()
            assert out.read_bytes() == whole + kept
            journal_path(out).unlink()


@pytest.mark.parametrize("last", [C, line_of("long", "x" * 200_000)])
def test_only_the_end_of_a_finished_output_is_looked_at(
    out: Path, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    """A million answers are not read twice: damage before the last line is found by whoever reads them."""
    whole = A * 3000 + A[:99] + b"?" + A[100:] + last
    out.write_bytes(whole)
    real, looked = os.pread, []

    def counted(fd: int, size: int, offset: int) -> bytes:
        data = real(fd, size, offset)
        looked.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    found(out)
    assert out.read_bytes() == whole
    assert sum(looked) < 3 * len(last) + 200_000
    out.write_bytes(whole + b"hello\n")
    journal_path(out).unlink()
    with pytest.raises(OutputError, match=rf"\(at byte {len(whole)}\)"):
        opened(out)


def test_a_line_longer_than_a_look_is_found(out: Path) -> None:
    """The last line may begin far before the end."""
    long = line_of("long", "x" * 200_000)
    for size in (1, 65_535, 65_536, 65_537, 200_000):
        out.write_bytes(A + long[:size])
        found(out)
        assert out.read_bytes() == A
        journal_path(out).unlink()
    out.write_bytes(A + long)
    found(out)
    assert out.read_bytes() == A + long


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"id,name\n1,x\n",
        b'{"id":"batch_req_',
        b"\n",
        b"[1,\n2]\n",
        b"plain\n" + A[:40],
        b"x" * 300_000,
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_alone(out: Path, content: bytes) -> None:
    """Not a byte is cut off it, whatever its end looks like, and no journal is left beside it."""
    out.write_bytes(content)
    if content == b'{"id":"batch_req_':
        out.write_bytes(content := b"first\n" + content)
    with pytest.raises(OutputError) as refused:
        opened(out)
    assert str(refused.value) == (
        f"{out} does not hold result lines of fastbatch (at byte 0); move the file away or choose another "
        f"output; if they were once, run: fastbatch repair {out}"
    )
    assert files_of(out.parent) == {"out.jsonl": content}


def test_a_foreign_last_line_is_refused(out: Path) -> None:
    """Something was appended to results of ours."""
    out.write_bytes(A + b"hello\n")
    with pytest.raises(OutputError, match=rf"does not hold result lines of fastbatch \(at byte {len(A)}\)"):
        opened(out)
    assert files_of(out.parent) == {"out.jsonl": A + b"hello\n"}


@pytest.mark.parametrize("place", [0, 3, len(B) // 2, len(B) - 3, len(B) - 2])
def test_damage_behind_what_was_acknowledged_is_refused(out: Path, path: Path, place: int) -> None:
    """A line with its newline was whole; which byte of the file, and the cure."""
    damaged = bytearray(A + B + C)
    damaged[len(A) + place] ^= 0x55
    out.write_bytes(bytes(damaged))
    write_journal(path, {"end": len(A)})
    with pytest.raises(OutputError) as refused:
        opened(out)
    assert str(refused.value) == (
        f"{out} is damaged at byte {len(A)}: what stands there is not what was written, and was safe once. "
        f"Nothing was sent. This keeps every good record and sets the rest aside: fastbatch repair {out}"
    )
    assert out.read_bytes() == bytes(damaged)


def test_a_foreign_end_behind_what_was_acknowledged_is_refused(out: Path, path: Path) -> None:
    """Not the beginning of a line of ours: somebody else wrote there."""
    out.write_bytes(A + b"hello")
    write_journal(path, {"end": len(A)})
    with pytest.raises(OutputError, match=f"is damaged at byte {len(A)}:"):
        opened(out)
    assert out.read_bytes() == A + b"hello"


def test_an_output_shorter_than_what_was_acknowledged_is_damaged(out: Path, path: Path) -> None:
    """At its end; and where it is gone altogether, no empty one is left in its place."""
    out.write_bytes(A)
    write_journal(path, {"end": len(A + B), "sent": []})
    with pytest.raises(OutputError, match=f"is damaged at byte {len(A)}"):
        opened(out)
    assert out.read_bytes() == A
    out.unlink()
    with pytest.raises(OutputError, match="is damaged at byte 0"):
        opened(out)
    assert not out.exists()
    out.write_bytes(A + B)
    assert found(out) == (), "put back, it goes on"


@pytest.mark.parametrize("place", [0, 7, 8, 9, 30])
def test_a_damaged_journal_is_refused_and_kept(out: Path, path: Path, place: int) -> None:
    """Wherever it is damaged: without it nobody knows what was paid for. Twice in a row."""
    write_journal(path, {"end": 0, "sent": [sent(1, "a")]}, {"end": 0, "sent": [sent(2, "b")]})
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    damaged = bytearray(whole)
    damaged[begin + place] ^= 1
    path.write_bytes(bytes(damaged))
    for _ in range(2):
        with pytest.raises(
            OutputError, match=f"^{path} is damaged at byte {begin}: .*: fastbatch repair {out}$"
        ):
            opened(out)
        assert files_of(out.parent) == {path.name: bytes(damaged)}
    path.write_bytes(whole)
    assert len(found(out)) == 2


def test_the_last_newline_of_a_journal_is_no_unfinished_entry(out: Path, path: Path) -> None:
    """Where another byte stands in its place the entry was whole once, and what it says must not be lost."""
    write_journal(path, {"end": 0, "sent": [sent(1, "a")]})
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    path.write_bytes(whole[:-1] + b"\x0b")
    with pytest.raises(OutputError, match=f"is damaged at byte {begin}:"):
        opened(out)
    for end in (b"", b"\0", bytes(400)):
        path.write_bytes(whole[:-1] + end)
        assert [row.custom_id for row in found(out)] == ["a"]


@pytest.mark.parametrize("size", [1, 9, 20, -2])
def test_the_torn_end_of_a_journal_is_cut_off(out: Path, path: Path, size: int) -> None:
    """The entry was being written, so nothing it names has left."""
    write_journal(path, {"end": 0, "sent": [sent(1, "a")]})
    with path.open("ab") as file:
        file.write(entry_line({"end": 0, "sent": [sent(2, "b")]})[:size])
    assert [row.custom_id for row in found(out)] == ["a"]


def test_a_journal_that_was_never_begun(out: Path, path: Path) -> None:
    """Its first entry is torn: there was none, and a run that is refused leaves none."""
    path.write_bytes(entry_line({"run": ABOUT._asdict()})[:50])
    out.write_bytes(b"junk\n")
    with pytest.raises(OutputError):
        opened(out)
    assert files_of(out.parent) == {"out.jsonl": b"junk\n"}


def test_a_folder_that_cannot_be_synced(out: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new output could be gone after a power failure: the run does not begin."""
    Faults(out.parent, monkeypatch).set("fsync", OSError(errno.EIO, ""))
    with pytest.raises(StorageError, match=f"^Results cannot be written to {out}: the disk reports an error"):
        opened(out)


def test_a_journal_with_a_hole_in_the_middle_is_damaged(out: Path, path: Path) -> None:
    """An entry is written when the one before it is synced: none is left out by a power failure."""
    write_journal(path, {"end": 0, "sent": [sent(n, f"row-{n}") for n in range(40)]}, {"end": 0})
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + bytes(512) + whole[1536:])
    with pytest.raises(OutputError, match=f"is damaged at byte {whole.index(bytes([10])) + 1}:"):
        opened(out)


def test_a_journal_of_a_newer_version_is_refused(out: Path, path: Path) -> None:
    """It is not read as far as it is understood, and stays as it is."""
    write_journal(path, {"end": 0}, about=ABOUT._replace(form=2))
    before = files_of(out.parent)
    with pytest.raises(OutputError, match=f"^{path} cannot be read: it was written by a newer version"):
        opened(out)
    assert files_of(out.parent) == before


def test_refused_files_are_let_go(out: Path, path: Path, part: Path) -> None:
    """No descriptor and no lock is left by an opening that came to nothing."""
    out.write_bytes(b"junk\n")
    part.write_bytes(A)
    before = descriptors()
    for ordered in (False, True):
        with pytest.raises(OutputError):
            opened(out, ordered=ordered)
    out.write_bytes(A)
    part.write_bytes(b"junk\n")
    for ordered in (False, True):
        with pytest.raises(OutputError):
            opened(out, ordered=ordered)
    assert descriptors() == before
    part.unlink()
    found(out)


def test_an_unordered_run_takes_what_an_ordered_one_had_collected(out: Path, path: Path, part: Path) -> None:
    """The lines of the part are appended to the output, the part goes, its requests stay on record."""
    out.write_bytes(A)
    part.write_bytes(B + C[:-1])
    write_journal(
        path,
        {"end": len(B), "sent": [sent(1, "b"), sent(2, "c"), sent(3, "d")]},
        about=ABOUT._replace(data=part.name),
    )
    assert [row.custom_id for row in found(out)] == ["b", "d"], (
        "b was acknowledged and not closed: it is open"
    )
    assert out.read_bytes() == A + B + C
    assert not part.exists()
    assert entries(path)[0]["end"] == len(A + B + C)
    assert found(out, ordered=True) != ()
    assert part.read_bytes() == b""


def test_a_part_that_is_damaged_stays_where_it_is(out: Path, path: Path, part: Path) -> None:
    """Nothing of it is taken over."""
    out.write_bytes(A)
    part.write_bytes(b"junk\n")
    write_journal(path, {"end": 0}, about=ABOUT._replace(data=part.name))
    with pytest.raises(
        OutputError, match=f"^{part} does not hold result lines of fastbatch .at byte 0.; .*{out}$"
    ):
        opened(out)
    assert (out.read_bytes(), part.read_bytes()) == (A, b"junk\n")


def test_an_ordered_run_after_another_one_keeps_the_output_beside_it(
    out: Path, path: Path, part: Path
) -> None:
    """Its torn end goes, its last answers count, and new lines go to the part."""
    out.write_bytes(A + B + C[:70])
    write_journal(path, {"end": len(A), "sent": [sent(1, "b"), sent(2, "c")]})
    journal = opened(out, ordered=True)
    assert [row.custom_id for row in journal.uncertain] == ["c"]
    assert out.read_bytes() == A + B
    assert entries(path)[0]["run"]["data"] == part.name
    assert entries(path)[0]["end"] == 0
    journal.close()


def test_a_large_part_is_taken_over_in_pieces(out: Path, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size, wherever they begin and end."""
    for size in (1, 100, len(B), len(B + C), 10_000):
        out.write_bytes(A)
        part.write_bytes(B + C)
        monkeypatch.setattr(opening_module, "_CHUNK", size)
        found(out)
        assert out.read_bytes() == A + B + C
        journal_path(out).unlink()


def test_a_run_that_dies_while_it_takes_over_a_part_loses_nothing(
    out: Path, path: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call of the disk; whichever way the next run goes, it finds all lines."""
    for fatal in range(1, 40):
        for ordered in (False, True):
            for each in out.parent.iterdir():
                each.unlink()
            out.write_bytes(A)
            part.write_bytes(B + C + E)
            requests = [sent(3, "d"), sent(4, "c"), sent(5, "e")]
            write_journal(path, {"end": len(B), "sent": requests}, about=ABOUT._replace(data=part.name))
            with monkeypatch.context() as patch:
                faults = Faults(out.parent, patch)
                died = OSError(errno.EIO, "")
                for call in ("write", "fdatasync", "fsync"):
                    faults.set(call, *[None] * (fatal - 1), died)
                try:
                    opened(out).close()
                except StorageError:
                    pass
                else:
                    assert fatal > 5
                    return
            journal = opened(out, ordered=ordered)
            assert [row.custom_id for row in journal.uncertain] == ["d"]
            lines = b"".join(each.read_bytes() for each in journal.files if each.exists()).splitlines(True)
            assert set(lines) == {A, B, C, E}
            journal.close()


@pytest.mark.parametrize("ordered", [False, True])
def test_whose_a_request_is_stays_known(
    out: Path, path: Path, part: Path, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    """Another input takes over and dies at any call of the disk: what the first one sent is still its own."""
    for fatal in range(1, 40):
        for each in out.parent.iterdir():
            each.unlink()
        part.write_bytes(B)
        about = ABOUT._replace(data=part.name, input="first.jsonl")
        write_journal(path, {"end": len(B), "sent": [sent(3, "d")]}, about=about)
        path.write_bytes(path.read_bytes()[:-1])  # as a process leaves it that was killed there
        ended = True
        with monkeypatch.context() as patch:
            faults = Faults(out.parent, patch)
            for call in ("write", "fdatasync", "fsync"):
                faults.set(call, *[None] * (fatal - 1), OSError(errno.EIO, ""))
            journal = Journal(out, ordered=ordered)
            with suppress(StorageError):
                journal.open(input="second.jsonl", model="m")
                ended = False
            journal.close()
        journal = Journal(out, ordered=ordered)
        journal.open(input="third.jsonl", model="m")
        journal.close()
        assert entries(path)[0]["sent"] == [[*sent(3, "d"), "first.jsonl"]]
        if not ended:
            break
    assert fatal > 3


def test_everything_found_is_synced_before_anything_is_built_on_it(
    out: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was killed may have left what is not on the disk yet: first that, then the new entry."""
    out.write_bytes(A + B)
    write_journal(path, {"end": len(A)})
    faults = Faults(out.parent, monkeypatch)
    opened(out).close()
    calls = faults.made("write", "fdatasync", "fsync")
    assert calls == [
        ("fdatasync", path.name),
        ("write", path.name),
        ("fdatasync", out.name),
        ("write", f"{path.name}.tmp"),
        ("fdatasync", f"{path.name}.tmp"),
        ("fsync", out.parent.name),
    ]
    faults.calls.clear()
    opened(out, durability="process").close()
    assert ("fdatasync", out.name) not in faults.calls
    assert ("fdatasync", path.name) not in faults.calls


def test_a_new_output_is_there_after_a_power_failure(
    out: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is synced before the journal speaks of it."""
    faults = Faults(out.parent, monkeypatch)
    opened(out).close()
    folder = ("fsync", out.parent.name)
    assert faults.calls.index(folder) < faults.calls.index(("write", f"{path.name}.tmp"))
    assert faults.calls.count(folder) == 2


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync", "ftruncate"])
def test_a_disk_that_fails_while_opening_costs_nothing(
    out: Path, path: Path, part: Path, monkeypatch: pytest.MonkeyPatch,
    durability: str, ordered: bool, code: int, call: str,
) -> None:  # fmt: skip
    """At every call: the run ends with one sentence, and all answers and open requests are still there."""
    data = part if ordered else out
    for fatal in range(1, 12):
        for each in out.parent.iterdir():
            each.unlink()
        data.write_bytes(A + B[:-1])
        write_journal(path, {"end": len(A), "sent": [sent(3, "d")]}, about=ABOUT._replace(data=data.name))
        with path.open("ab") as file:
            file.write(b"torn")
        before = descriptors()
        with monkeypatch.context() as patch:
            Faults(out.parent, patch).set(call, *[None] * (fatal - 1), OSError(code, os.strerror(code)))
            try:
                opened(out, ordered=ordered, durability=durability).close()
            except StorageError:
                assert descriptors() == before
            else:
                assert fatal > 1
                return
        journal = opened(out, ordered=ordered)
        assert [row.custom_id for row in journal.uncertain] == ["d"]
        assert data.read_bytes() == A + B
        journal.close()
    raise AssertionError("it never came to its end")


def test_opening_tells_who_ran_before(out: Path, path: Path) -> None:
    """And how far; nobody where there was no journal."""
    first = open_files(out, ABOUT)
    assert (first.before, first.state.about, first.data.made) == (None, ABOUT, True)
    first.journal.append(entry_line({"count": list(Counted(time=5.0, ok=3))}))
    first.journal.close()
    first.data.close()
    second = open_files(out, ABOUT._replace(pid=1))
    assert (second.before, second.data.made) == ((ABOUT, Counted(time=5.0, ok=3)), False)
    assert second.state.about == ABOUT._replace(pid=1)
    second.journal.close()
    second.data.close()


def test_the_first_to_come_is_named_before_anything_is_read(
    out: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long output takes its time; whoever comes meanwhile is told by whom it is held."""
    out.write_bytes(A)
    write_journal(path, {"end": 0}, about=ABOUT._replace(pid=1, host="gone"))
    real, said = os.pread, []

    def slow(fd: int, size: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{fd}").readlink() == out and not said:
            said.append(1)
            with pytest.raises(OutputError, match=rf"\(process {os.getpid()} on {os.uname().nodename}\)"):
                opened(out)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", slow)
    found(out)
    assert said
