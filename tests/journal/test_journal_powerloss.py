"""A process killed, or a machine without power, anywhere in a run: nothing that was promised is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from journal.powerloss import Disk, crashes
from journal.promises import Asked, Broken, Known, Recovered, check
from journal.recording import Event, Recording
from journal.samples import line_of
from journal.scenarios import SCENARIOS, Desk, Scenario, plain
from journal.sweeps import sweep

from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.lines import LineFile


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_promised_is_broken_wherever_a_run_ends(name: str) -> None:
    """The way back never fails, no answer is invented or lost, nothing is bought unlisted, all gets done."""
    swept = sweep(name, 1, bytes_apart=150, tears=1, finish_every=30)
    assert swept.broken == []
    assert min(swept.crashes.values()) > 40
    assert swept.finished > 3


def told_too_early(self: Journal, rows: Sequence[Any], then: Callable[[], None]) -> None:
    """Requests leave before their entry is written."""
    LEAVE(self, rows, lambda: None)
    then()


def said_to_be_synced(self: LineFile) -> None:
    """Nothing is."""
    self.synced = self.end


LEAVE = Journal.leave


@pytest.mark.parametrize(
    ("place", "name", "instead", "said"),
    [
        (Journal, "leave", told_too_early, "nobody is told"),
        (LineFile, "sync", said_to_be_synced, "acknowledged and lost"),
    ],
)
def test_a_broken_promise_is_found(place: type, name: str, instead: Any, said: str) -> None:
    """A journal that tells too early, or does not sync, does not pass."""

    def broken(desk: Desk) -> Scenario:
        with mock.patch.object(place, name, instead):
            return plain(desk)

    with mock.patch.dict(SCENARIOS, {"plain": broken}):
        swept = sweep("plain", 1, bytes_apart=200, tears=1, finish_every=1000)
    assert any(said in line for line in swept.broken)


def asked(custom_id: str, version: int = 0) -> Asked:
    return Asked(custom_id, version)


def answer(custom_id: str, version: int = 0) -> bytes:
    return line_of(custom_id, f"You said {custom_id} v{version} ")[:-1]


@pytest.mark.parametrize(
    ("known", "found", "said"),
    [
        (Known(), Recovered([], {"a": answer("a")}), "never written"),
        (Known(answered={"a": 0}), Recovered([], {}), "acknowledged and lost"),
        (
            Known(answered={"a": 1}, written={answer("a")}),
            Recovered([], {"a": answer("a")}),
            "acknowledged and lost",
        ),
        (Known(left={asked("a")}), Recovered(["b"], {}), "nobody is told"),
        (
            Known(left={asked("a", 1)}, written={answer("a")}),
            Recovered([], {"a": answer("a")}),
            "nobody is told",
        ),
        (Known(), Recovered(["a", "a"], {}), "listed twice"),
    ],
)
def test_what_is_held_against_the_promises(known: Known, found: Recovered, said: str) -> None:
    """Each of them can be broken."""
    with pytest.raises(Broken, match=said):
        check(known, found)


def test_what_keeps_the_promises() -> None:
    """More than was promised is fine: an answer nobody was told of, a listed row that never left."""
    known = Known(left={asked("a"), asked("b")}, answered={"c": 0}, written={answer("a"), answer("c", 1)})
    check(known, Recovered(["b", "d"], {"a": answer("a"), "c": answer("c", 1)}))


def test_what_a_power_failure_may_leave() -> None:
    """Something between what was synced and what was written; names change in their order."""
    disk = Disk({"old": b"1"})
    for event in (
        Event("write", "old", 1, b"2"),
        Event("made", "new"),
        Event("write", "new", 0, b"x" * 600),
    ):
        disk.play(event)
    assert disk.killed() == {"old": b"12", "new": b"x" * 600}
    assert disk.lost() == {"old": b"1"}
    disk.play(Event("sync", "new"))
    disk.play(Event("rename", "new", to="old"))
    assert disk.lost() == {"old": b"1"}
    left = [disk.torn(Random(seed)) for seed in range(60)]
    assert {tuple(files) for files in left} == {("old",), ("old", "new")}
    assert {files["old"][:2] for files in left} >= {b"1", b"12", b"xx"}
    disk.play(Event("folder"))
    assert disk.lost() == {"old": b"x" * 600}
    disk.play(Event("cut", "old", 10))
    disk.play(Event("unlink", "old"))
    assert (disk.killed(), disk.lost()) == ({}, {"old": b"x" * 600})


def test_holes_are_whole_sectors() -> None:
    """What is missing reads as zeros, up to any length that the file had on its way."""
    disk = Disk({"a": b"s" * 100})
    disk.play(Event("write", "a", 100, b"u" * 2000))
    left = {disk.torn(Random(seed))["a"] for seed in range(300)}
    assert len(left) > 50
    assert all(100 <= len(data) <= 2100 and data[:100] == b"s" * 100 for data in left)
    assert any(b"u\0" in data for data in left)
    for data in left:
        for start in range(0, len(data), 512):
            kept = data[max(start, 100) : start + 512]
            assert kept.strip(b"u") == b"" or kept.strip(b"\0") == b""


def test_every_end_of_a_run_is_played() -> None:
    """Behind each event and inside each write, killed and without power."""
    events = [Event("write", "a", 1, b"234"), Event("sync", "a"), Event("write", "a", 4, b"5")]
    ends = list(crashes({"a": b"1"}, events, Random(1), bytes_apart=1, tears=0))
    assert [(end.events, end.part, end.how, end.files["a"]) for end in ends] == [
        (0, 0, "killed", b"1"),
        (0, 0, "lost", b"1"),
        (0, 1, "killed", b"12"),
        (0, 1, "lost", b"1"),
        (0, 2, "killed", b"123"),
        (0, 2, "lost", b"1"),
        (1, 0, "killed", b"1234"),
        (1, 0, "lost", b"1"),
        (2, 0, "killed", b"1234"),
        (2, 0, "lost", b"1234"),
        (3, 0, "killed", b"12345"),
        (3, 0, "lost", b"1234"),
    ]


def test_what_is_recorded_is_what_happened(tmp_path: Path) -> None:
    """Played to its end, a recording gives the folder as it is."""
    scenario = SCENARIOS["changed_ordered"](Desk(tmp_path, 3))
    disk = Disk(scenario.before)
    for event in scenario.events:
        disk.play(event)
    there = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert disk.killed() == disk.lost() == there
    assert list(there) == ["out.jsonl"]


def test_a_recording_leaves_other_folders_alone(tmp_path: Path) -> None:
    """Only calls on files of its folder are events."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    recording = Recording(inside)
    with recording.installed():
        for folder in (inside, outside):
            file = LineFile(folder / "lines")
            file.append(b"a\n")
            file.replace(b"b\n")
            file.remove()
            file.close()
    assert [event.what for event in recording.events] == [
        *("made", "write", "made", "write", "sync", "rename", "folder", "unlink", "folder")
    ]
