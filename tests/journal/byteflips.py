"""Damages the files of finished and unfinished runs, and looks at what the next run makes of them.

Whatever byte was changed: either the run is refused with a sentence that names the file and the place, and
nothing was sent or changed; or it goes on, every answer it counts is one that was written, byte for byte, and
what it buys again was listed before. A file that was refused is then repaired: that must work, keep every
good line and invent none.

Some damage cannot be seen: a journal or a finished output that was cut off behind a whole line is one of an
earlier moment, and an earlier line of an id, doubled behind the later one, is the last one. There, too, no
answer is invented; what is bought again unlisted is counted apart (`unseen`).
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fakes import FakeTransport, echo, manager_on
from journal.powerloss import Files
from journal.promises import Asked, Known, lay_out, recover
from journal.scenarios import SCENARIOS, Desk
from journal.sweeps import quick_folder

from fastbatch.engine.journal.repair import repair
from fastbatch.errors import OutputError

# Scenario, and the moment of it at which the process was killed; 1 is its end.
MOMENTS = (
    ("plain", 0.3),
    ("plain", 0.7),
    ("plain", 1.0),
    ("ordered", 0.5),
    ("ordered", 0.9),
    ("ordered", 1.0),
    ("failing", 0.8),
    ("failing", 1.0),
    ("resumed", 0.5),
    ("changed", 0.8),
    ("ordered_after_unordered", 0.7),
)
_PLACE = re.compile(r"\bat byte \d+|, line \d+:")


class Left(NamedTuple):
    """What a run left, and what is known of it."""

    name: str
    files: Files
    known: Known
    rows: Path
    wanted: list[Asked]
    options: dict[str, Any]


@dataclass
class Report:
    """What became of many damaged outputs.

    Attributes:
        turns: how many were damaged, each in one place.
        where: which file and how.
        refused, went_on: what the next run did.
        repaired: lines that a repair kept, of those that were refused.
        bought: requests of runs that went on.
        listed: of those that had been bought before, those that were listed.
        unseen: the others, where the damage cannot be seen.
        wrong: what must never be; one line each.
        seconds: it took.
    """

    turns: int = 0
    where: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    went_on: int = 0
    repaired: int = 0
    bought: int = 0
    listed: int = 0
    unseen: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.turns:,} damaged outputs in {self.seconds:.0f} s: "
            + ", ".join(f"{count:,} {how}" for how, count in sorted(self.where.items())),
            f"refused {self.refused:,} (repairs kept {self.repaired:,} lines), went on {self.went_on:,}",
            f"bought {self.bought:,}; bought again: listed {self.listed:,}, unlisted 0, "
            f"behind damage that cannot be seen {self.unseen:,}",
            f"wrong {len(self.wrong)}",
        ]
        return "\n".join([*lines, *self.wrong[:20]])


def flip_outputs(
    count: int, seed: int = 1, *, first: int = 0, go_on: Callable[[], bool] = lambda: True
) -> Report:
    """Damage `count` outputs, each in one place, and run on.

    Args:
        count: how many.
        seed: of all that is random.
        first: number of the first turn, to play one again.
        go_on: asked before each turn.
    """
    report, began = Report(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=quick_folder()) as made:
        folder = Path(made)
        left = [_left(folder / f"made-{number}", *moment, seed) for number, moment in enumerate(MOMENTS)]
        place = folder / "turn"
        place.mkdir()
        for number in range(first, first + count):
            if not go_on():
                break
            dice = Random(f"{seed} {number}")
            _turn(dice.choice(left), place, dice, report, f"seed {seed}, turn {number}")
            report.turns += 1
    report.seconds = time.monotonic() - began
    return report


def _left(folder: Path, name: str, share: float, seed: int) -> Left:
    folder.mkdir()
    scenario = SCENARIOS[name](Desk(folder, seed))
    files, known = scenario.at(share)
    return Left(f"{name} {share}", files, known, scenario.rows, scenario.wanted, scenario.options)


def damaged(data: bytes, dice: Random) -> tuple[str, bytes]:
    """How a file was damaged, and what it is now."""
    how = dice.choices(("flip", "zero", "swap", "cut", "double"), (12, 2, 3, 2, 2))[0]
    at, other = dice.randrange(len(data)), dice.randrange(len(data))
    if how == "flip":
        return how, data[:at] + bytes([data[at] ^ dice.randrange(1, 256)]) + data[at + 1 :]
    if how == "zero":
        return how, data[:at] + b"\0" + data[at + 1 :]
    if how == "swap":
        changed = bytearray(data)
        changed[at], changed[other] = data[other], data[at]
        return how, bytes(changed)
    if how == "cut":
        return how, data[:at]
    if dice.random() < 0.5:  # whole lines
        lines = data.splitlines(keepends=True)
        at, other = dice.randrange(len(lines)), dice.randrange(len(lines) + 1)
        return how, b"".join([*lines[:other], lines[at], *lines[other:]])
    at, end = sorted((at, other))
    other = dice.randrange(len(data))
    return how, data[:other] + data[at:end] + data[other:]


def _turn(left: Left, place: Path, dice: Random, report: Report, label: str) -> None:
    """Damage one output, run on, and repair it where that was refused."""
    names = [name for name, data in left.files.items() if data and "errors" not in name]
    name = dice.choice(names)
    how, data = damaged(left.files[name], dice)
    report.where[f"{name.removeprefix('out.jsonl').removeprefix('.') or 'output'} {how}"] += 1
    files = left.files | {name: data}
    lay_out(place, files)
    label = f"{label}, {left.name}, {how} {name}"
    out, transport, told = place / "out.jsonl", FakeTransport(echo), set[str]()

    def listen(uncertain: Any) -> str:
        told.update(row.custom_id for row in uncertain)
        return "retry"

    run = manager_on(transport, concurrency=4).run_file_async(
        left.rows, out, on_uncertain=listen, **left.options
    )
    try:
        try:
            asyncio.run(run)
        except OutputError as refused:
            report.refused += 1
            _refused(left, place, files, str(refused), transport, report, label)
            return
        report.went_on += 1
        seen = how != "cut" and not (how == "double" and left.name.startswith("changed"))
        _went_on(left, out, transport, told, report, label, seen=seen)
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        report.wrong.append(f"{label}: {type(error).__name__}: {error}")


def _refused(
    left: Left, place: Path, files: Files, said: str, transport: FakeTransport, report: Report, label: str
) -> None:
    """Refused: with a place, before anything was sent, and not a whole line is missing; a repair helps."""
    if not _PLACE.search(said) or not any(str(place / name) in said for name in files):
        report.wrong.append(f"{label}: refused without a place: {said}")
    if transport.calls:
        report.wrong.append(f"{label}: sent before it was refused")
    good = _good(left, place)
    if missing := _good_lines(left, files.values()) - good:
        report.wrong.append(f"{label}: refused, and lines are gone: {missing}")
    repaired = repair(place / "out.jsonl")
    report.repaired += repaired.kept
    found = recover(place / "out.jsonl", ordered=left.options.get("ordered", False))
    if invented := set(found.lines.values()) - left.known.written:
        report.wrong.append(f"{label}: repaired to what was never written: {invented}")
    if missing := good - _good(left, place):
        report.wrong.append(f"{label}: repaired, and lines are gone: {missing}")


def _good(left: Left, place: Path) -> set[bytes]:
    return _good_lines(
        left, (path.read_bytes() for path in place.glob("out.jsonl*") if "damaged" not in path.name)
    )


def _good_lines(left: Left, contents: Any) -> set[bytes]:
    """Lines that were written, in the files of results or wherever they stand now."""
    return {line for data in contents for line in data.split(b"\n") if line in left.known.written}


def _went_on(
    left: Left, out: Path, transport: FakeTransport, told: set[str], report: Report, label: str, *, seen: bool
) -> None:
    """Finished: each row has one answer, written before or bought now; what was bought again was listed."""
    bought = Counter(Asked.of(prompt) for prompt in transport.prompts)
    report.bought += bought.total()
    if any(count > 1 for count in bought.values()):
        report.wrong.append(f"{label}: bought twice: {bought}")
    lines = out.read_bytes().splitlines()
    found = recover(out)
    if len(lines) != len(left.wanted) or not set(left.wanted) <= found.answered:
        report.wrong.append(f"{label}: finished with {len(lines)} lines for {found.answered}")
    new = {asked.custom_id for asked in bought}
    if invented := {row for row, line in found.lines.items() if row not in new} - {
        row for row, line in found.lines.items() if line in left.known.written
    }:
        report.wrong.append(f"{label}: never written: {invented}")
    paid = left.known.left | {Asked(row, version) for row, version in left.known.answered.items()}
    again = paid & set(bought)
    listed = {asked for asked in again if asked.custom_id in told}
    report.listed += len(listed)
    if seen and again != listed:
        report.wrong.append(f"{label}: bought again and not told: {again - listed}")
    report.unseen += len(again) - len(listed)
