"""A run's journal while it is written and when it ends: what is safe before whom is told what."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from journal.samples import KEY, OTHER_KEY, Faults, entries, line_of

from fastbatch.engine.journal import journal as journal_module
from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.places import errors_path, journal_path, part_path
from fastbatch.errors import StorageError

COUNTED = Counted(time=1_700_000_000.0, total=9, ok=2)


class Running:
    """A journal at work, and what it told."""

    def __init__(self, out: Path, **options: Any) -> None:
        self.out = out
        self.path = journal_path(out)
        self.data = part_path(out) if options.get("ordered") else out
        self.recorded: list[list[Any]] = []
        self.failures: list[Exception] = []
        self.at: list[tuple[str, Any]] = []  # what was told, among the disk calls of `faults`
        self.journal = Journal(out, **options)
        self.journal.open(input="rows.jsonl", model="openai:m")
        self.errors = errors_path(out).with_name("errors.new")

    def start(self) -> Running:
        self.journal.start(
            recorded=self.on_recorded,
            failed=self.failures.append,
            count=lambda: COUNTED,
            errors=self.errors,
        )
        return self

    def on_recorded(self, jobs: list[Any]) -> None:
        self.recorded.append(jobs)

    async def sent(self, custom_id: str, *, row: int = 1, attempt: int = 1, key: str = KEY) -> None:
        await self.journal.sent(row, custom_id, key, attempt, 10)

    def answer(self, custom_id: str, *, key: str = KEY) -> bytes:
        line = line_of(custom_id, key=key)
        self.journal.record(custom_id, custom_id, line=line)
        return line

    def uncertain(self) -> list[tuple[str, int]]:
        """What the next run finds."""
        self.journal.stop()
        self.journal.close()
        again = Journal(self.out)
        again.open(input="rows.jsonl", model="openai:m")
        again.close()
        return [(row.custom_id, row.attempt) for row in again.uncertain]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path / "out.jsonl")
    yield made
    made.journal.stop()
    made.journal.close()


@pytest.fixture
def faults(tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(tmp_path, monkeypatch)


async def test_a_request_leaves_when_its_entry_is_synced(running: Running, faults: Faults) -> None:
    """It names the row, the request and the attempt, and whoever waits is woken behind the sync."""
    running.start()
    sending = asyncio.ensure_future(running.journal.sent(12, "row-12", OTHER_KEY, 3, 210))
    await asyncio.sleep(0)
    assert not sending.done()
    await sending
    assert faults.calls == [("write", running.path.name), ("fdatasync", running.path.name)]
    assert entries(running.path)[1:] == [
        {"end": 0, "sent": [[1, 12, "row-12", OTHER_KEY, 3, 210]], "count": list(COUNTED)}
    ]
    assert running.recorded == []


async def test_an_answer_is_synced_before_the_entry_that_speaks_of_it(
    running: Running, faults: Faults
) -> None:
    """Data, sync, entry, sync, and only then is anybody told."""
    running.start()
    await running.sent("a")
    faults.calls.clear()
    line = running.answer("a")
    assert running.recorded == []
    await running.journal.flush()
    data, journal = running.data.name, running.path.name
    assert faults.calls == [("write", data), ("fdatasync", data), ("write", journal), ("fdatasync", journal)]
    assert running.recorded == [["a"]]
    assert running.data.read_bytes() == line
    assert entries(running.path)[-1] == {"end": len(line), "closed": [1], "count": list(COUNTED)}


async def test_process_durability_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: Any) -> None:
    """What is written survives the end of the process without a sync."""
    running = Running(tmp_path / "out.jsonl", durability="process").start()
    faults = Faults(tmp_path, monkeypatch)
    await running.sent("a")
    running.answer("a")
    await running.journal.flush()
    running.journal.stop()
    assert running.recorded == [["a"]]
    assert faults.made("fdatasync", "fsync") == []
    assert [entry["run"]["durability"] for entry in entries(running.path)[:1]] == ["process"]
    running.journal.close()


async def test_what_comes_together_is_one_entry(running: Running, faults: Faults) -> None:
    """Answers, failures, requests about to leave and such that cost nothing: two syncs for all of them."""
    running.start()
    await asyncio.gather(*(running.sent(name, row=row) for row, name in enumerate("abc", 1)))
    faults.calls.clear()
    sending = asyncio.gather(running.sent("c", attempt=2), running.sent("d"))  # in the turn of the loop below
    lines = running.answer("a") + running.answer("cached")
    running.journal.record("b", "b", error=b"failed\n")
    running.journal.back("c")
    await running.journal.flush()
    await sending
    assert len(faults.made("fdatasync")) == 2
    assert running.data.read_bytes() == lines
    assert running.errors.read_bytes() == b"failed\n"
    assert running.recorded == [["a", "cached", "b"]]
    assert entries(running.path)[1:] == [
        {
            "end": 0,
            "sent": [[number, number, name, KEY, 1, 10] for number, name in enumerate("abc", 1)],
            "count": list(COUNTED),
        },
        {
            "end": len(lines),
            "closed": [1, 2, 3],
            "sent": [[4, 1, "c", KEY, 2, 10], [5, 1, "d", KEY, 1, 10]],
            "count": list(COUNTED._replace(ok=2, failed=1)),
        },
    ]
    assert running.uncertain() == [("c", 2), ("d", 1)]


async def test_counters_hear_of_a_batch_with_its_entry(running: Running) -> None:
    """Who looks on is told of every line that is acknowledged, though the run itself counts it later."""
    running.start()
    await running.sent("a")
    for names in ("a", "bc", "def"):
        for name in names:
            running.answer(name)
        running.journal.record("job", "x", error=b"failed\n")
        await running.journal.flush()
    told = [Counted(*entry["count"]) for entry in entries(running.path) if "count" in entry]
    assert [(count.ok, count.failed) for count in told[1:]] == [(max(COUNTED.ok, 1), 1), (3, 2), (6, 3)]


async def test_failures_of_one_batch_are_whole_lines(running: Running) -> None:
    """One behind the other, as they came."""
    running.start()
    for name in "abc":
        running.journal.record(name, name, error=f"{name} failed\n".encode())
    await running.journal.flush()
    running.journal.record("d", "d", error=b"d failed\n")
    await running.journal.flush()
    assert running.errors.read_bytes() == b"a failed\nb failed\nc failed\nd failed\n"


async def test_a_failed_row_is_closed_and_recorded_apart(running: Running, faults: Faults) -> None:
    """Its record stands before the entry does, and nothing in the output; the file is made when needed."""
    running.start()
    await running.sent("a")
    assert not running.errors.exists()
    faults.calls.clear()
    running.journal.record("job", "a", error=b"failed\n")
    await running.journal.flush()
    assert [call for call in faults.calls if call[0] == "write"] == [
        ("write", running.errors.name),
        ("write", running.path.name),
    ]
    assert running.recorded == [["job"]]
    assert running.data.read_bytes() == b""
    assert running.uncertain() == []


async def test_a_row_that_cost_nothing_is_not_uncertain(running: Running) -> None:
    """It may leave again; one that nobody sent is no news."""
    running.start()
    await running.sent("a")
    await running.sent("b")
    running.journal.back("a")
    running.journal.back("never sent")
    await running.journal.flush()
    assert entries(running.path)[-1]["closed"] == [1]
    running.journal.back("a")
    await running.journal.flush()
    assert entries(running.path)[-1]["closed"] == [1]
    assert running.uncertain() == [("b", 1)]


async def test_a_record_for_nobody_closes_nothing(running: Running) -> None:
    """A row that stays uncertain has its record, and stays open."""
    running.start()
    await running.sent("a")
    running.journal.record("job", "", error=b"uncertain\n")
    await running.journal.flush()
    assert running.recorded == [["job"]]
    assert running.uncertain() == [("a", 1)]


async def test_counters_stand_behind_the_last_entry(running: Running) -> None:
    """For whoever looks at a run that has ended."""
    running.start()
    await running.sent("a")
    running.journal.stop()
    running.journal.stop()
    assert entries(running.path)[-1] == {"count": list(COUNTED)}
    assert len(entries(running.path)) == 3


async def test_a_run_that_never_began_to_write_says_nothing(running: Running) -> None:
    """Stopping it changes no file, and flushing waits for nothing."""
    before = running.path.read_bytes()
    await running.journal.flush()
    running.journal.back("a")
    running.journal.stop()
    assert running.path.read_bytes() == before


BROKEN = [
    ("write", "out.jsonl", errno.ENOSPC),
    ("write", "out.jsonl", errno.EFBIG),
    ("fdatasync", "out.jsonl", errno.EIO),
    ("write", "out.jsonl.journal", errno.ENOSPC),
    ("fdatasync", "out.jsonl.journal", errno.EIO),
]


@pytest.mark.parametrize(("call", "name", "code"), BROKEN)
async def test_a_disk_that_fails_ends_the_run(
    running: Running, faults: Faults, call: str, name: str, code: int
) -> None:
    """Everybody hears of it, nobody is told that anything is safe, nothing more is written."""
    running.start()
    await running.sent("a")
    await running.sent("b")
    whole = running.path.read_bytes()
    faults.calls.clear()
    before_it = [None] if call == "fdatasync" and name.endswith("journal") else []
    if call == "write" and name.endswith("journal"):
        before_it = [None]
    faults.set(call, *before_it, OSError(code, "no"))
    line = running.answer("a")
    sending = asyncio.ensure_future(running.sent("c"))
    await running.journal.flush()
    with pytest.raises(StorageError) as failed:
        await sending
    assert [type(error) for error in running.failures] == [StorageError]
    assert running.failures[0] is failed.value
    assert str(running.out.with_name(name)) in str(failed.value)
    assert running.recorded == []
    calls = list(faults.calls)
    running.answer("b")
    running.journal.back("c")
    with pytest.raises(StorageError):
        await running.sent("d")
    await running.journal.flush()
    running.journal.stop()
    assert faults.calls == calls, "a disk that failed is not tried again"
    assert running.path.read_bytes() == whole
    assert running.data.read_bytes() == (line if name.endswith("journal") else b"")
    faults.set(call)
    assert running.uncertain() == ([("b", 1)] if name.endswith("journal") else [("a", 1), ("b", 1)])


async def test_an_errors_file_that_cannot_be_written_ends_the_run(running: Running, faults: Faults) -> None:
    """A failure that is on record nowhere has not happened."""
    running.start()
    await running.sent("a")
    faults.set("write", OSError(errno.ENOSPC, ""))
    running.journal.record("job", "a", error=b"failed\n")
    await running.journal.flush()
    assert len(running.failures) == 1
    assert running.recorded == []
    assert running.uncertain() == [("a", 1)]


async def test_one_who_stops_waiting_is_no_trouble(running: Running) -> None:
    """A cancelled request stays on record, as it may not be known whether it left."""
    running.start()
    sending = asyncio.ensure_future(running.sent("a"))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await running.sent("b")
    assert running.failures == []
    assert running.uncertain() == [("a", 1), ("b", 1)]


async def test_one_who_stopped_waiting_hears_of_no_failure(running: Running, faults: Faults) -> None:
    """The others do."""
    running.start()
    faults.set("write", OSError(errno.ENOSPC, ""))
    first, second = asyncio.ensure_future(running.sent("a")), asyncio.ensure_future(running.sent("b"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(StorageError):
        await second
    assert first.cancelled()


async def test_a_journal_does_not_grow_without_end(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is long is written anew: what is open is in it, under the same lock, and nothing is lost."""
    monkeypatch.setattr(journal_module, "_LONG", 2000)
    running.start()
    await running.sent("stays")
    sizes = []
    for number in range(60):
        await running.sent(f"row-{number}")
        running.answer(f"row-{number}")
        await running.journal.flush()
        sizes.append(running.path.stat().st_size)
    assert max(sizes) <= 2000 + 300
    assert sum(later < earlier for earlier, later in pairwise(sizes)) > 3
    said = entries(running.path)
    assert said[0]["run"]["data"] == "out.jsonl"
    assert running.uncertain() == [("stays", 1)]
    assert len(running.data.read_bytes().splitlines()) == 60


async def test_a_long_journal_is_eight_megabytes(running: Running) -> None:
    """Short enough to be read at once after a crash."""
    assert journal_module._LONG == 8 * 1024 * 1024


async def test_a_complete_run_leaves_no_journal(running: Running) -> None:
    """The output stands on its own."""
    running.start()
    await running.sent("a")
    running.answer("a")
    await running.journal.flush()
    running.journal.stop()
    running.journal.complete()
    assert not running.path.exists()
    running.journal.close()


async def test_rows_that_stay_uncertain_keep_the_journal(running: Running) -> None:
    """Nobody has settled them; it vouches for nothing of the output."""
    running.start()
    for name in ("a", "kept"):
        await running.sent(name)
    running.answer("a")
    await running.journal.flush()
    running.journal.stop()
    running.journal.complete()
    first, second = entries(running.path)
    assert first["run"]["data"] == "out.jsonl"
    assert second == {"end": 0, "sent": [[2, 1, "kept", KEY, 1, 10]], "count": list(COUNTED)}
    assert running.uncertain() == [("kept", 1)]


async def test_an_output_about_to_be_replaced_is_vouched_for_by_nobody(
    running: Running, faults: Faults
) -> None:
    """Each entry is synced before the next, so that a power failure cannot take one of two."""
    running.start()
    running.answer("a")
    await running.journal.flush()
    running.journal.stop()
    faults.calls.clear()
    running.journal.withdraw()
    name = running.path.name
    assert faults.calls == [("fdatasync", name), ("write", name), ("fdatasync", name)]
    assert entries(running.path)[-1] == {"end": 0}
    running.data.write_bytes(b"")
    assert running.uncertain() == []


async def test_the_part_of_an_ordered_run(tmp_path: Path) -> None:
    """Lines go there, and it goes when they stand in the output."""
    running = Running(tmp_path / "out.jsonl", ordered=True).start()
    line = running.answer("a")
    await running.journal.flush()
    assert running.data.read_bytes() == line
    assert not running.out.exists()
    running.journal.stop()
    running.journal.withdraw()
    running.journal.remove_part()
    assert not running.data.exists()
    running.journal.complete()
    assert not running.path.exists()
    running.journal.close()


def test_undoing_a_first_run_leaves_nothing(running: Running) -> None:
    """Neither a journal nor an empty output."""
    running.journal.undo()
    running.journal.close()
    assert not list(running.out.parent.iterdir())


def test_undoing_before_anything_was_opened(tmp_path: Path) -> None:
    """Is allowed, as closing is."""
    journal = Journal(tmp_path / "out.jsonl")
    journal.undo()
    journal.close()
    assert not list(tmp_path.iterdir())


async def test_undoing_keeps_what_was_there(running: Running) -> None:
    """An output, what is open in its journal, and who ran before and how far."""
    running.start()
    await running.sent("a")
    await running.sent("b")
    line = running.answer("a")
    await running.journal.flush()
    running.journal.stop()
    running.journal.close()
    first = entries(running.path)[0]["run"]
    again = Journal(running.out, ordered=True)
    again.open(input="other.jsonl", model="another")
    again.undo()
    again.close()
    said = entries(running.path)
    assert said[0]["run"] == first | {"data": "out.jsonl.part"}
    assert said[1]["count"] == list(COUNTED)
    assert sorted(path.name for path in running.out.parent.iterdir()) == ["out.jsonl", "out.jsonl.journal"]
    assert running.data.read_bytes() == line
    assert running.uncertain() == [("b", 1)]


def test_an_output_that_was_there_stays(tmp_path: Path) -> None:
    """Undoing takes away only what opening made."""
    out = tmp_path / "out.jsonl"
    for content in (b"", line_of("a")):
        out.write_bytes(content)
        journal = Journal(out)
        journal.open(input="rows.jsonl", model="m")
        journal.undo()
        journal.close()
        assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
        assert out.read_bytes() == content


async def test_undoing_on_a_full_disk_keeps_the_journal(running: Running, faults: Faults) -> None:
    """What was wrong before is what must be said."""
    running.start()
    await running.sent("a")
    running.journal.stop()
    running.journal.close()
    again = Journal(running.out)
    again.open(input="rows.jsonl", model="m")
    faults.set("write", OSError(errno.ENOSPC, ""))
    again.undo()
    again.close()
    assert running.uncertain() == [("a", 1)]
