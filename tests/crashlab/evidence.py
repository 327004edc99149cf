"""What a run left on the disk, read by code that shares nothing with what wrote it."""

from __future__ import annotations

import fcntl
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from crashlab.inputs import Inputs

OUTPUT = "out.jsonl"
PART = f"{OUTPUT}.part"
JOURNAL = f"{OUTPUT}.journal"
ERRORS = f"{OUTPUT}.errors.jsonl"
# Every name that a job may leave beside its input between two runs, and those that it may leave at its end.
ON_THE_WAY = {OUTPUT, PART, ERRORS, JOURNAL, f"{ERRORS}.new"}
ON_THE_WAY |= {f"{name}.tmp" for name in ON_THE_WAY}
AT_THE_END = {OUTPUT, ERRORS}


@dataclass
class Found:
    """What stands in a job's folder.

    Attributes:
        answered: rows with an answer on record, and the checksum of their line.
        stale: rows with an answer on record to what they asked before they were changed.
        failed: rows with an error on record.
        settled: those of them whose error stands in the errors file itself.
        order: the rows of the output as they stand there.
        doubled: rows whose answer, or error, one file holds twice.
        problems: what is not as it should be, in sentences.
        names: the files, the input left out.
        held: whether a process has a lock on one of them.
    """

    answered: dict[int, bytes] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    held: bool = False


def look(folder: Path, inputs: Inputs, *, after_power_failure: bool = False) -> Found:
    """Read everything in `folder` that belongs to the job.

    After a power failure damaged lines are what was being written; the next run has to clear them away.
    """
    found = Found(names={path.name for path in folder.iterdir()} - {inputs.path.name})
    for name in (OUTPUT, PART):
        rows = [_answer(line, name, inputs, found) for line in _whole_lines(folder / name)]
        if name == OUTPUT:
            found.order = [abs(row) for row in rows]
        found.doubled += _repeated(rows)
    for name in (ERRORS, f"{ERRORS}.new"):
        rows = [_error(line, name, found) for line in _whole_lines(folder / name)]
        found.failed |= set(rows)
        if name == ERRORS:
            found.settled = set(rows)
        found.doubled += _repeated(rows)
    if after_power_failure:
        found.problems = [problem for problem in found.problems if "damaged" not in problem]
    found.held = any(_is_held(folder / name) for name in found.names)
    return found


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file without what stands behind its last newline."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _answer(line: bytes, name: str, inputs: Inputs, found: Found) -> int:
    """Take in an output line; the number of its row, below zero for a stale answer, 0 for none."""
    head, mark, tail = line.rpartition(b',"crc":"')
    if not mark or tail != b'%08x"}}' % zlib.crc32(head):
        found.problems.append(f"I2: {name} has a damaged line: {line[:60]!r}…")
        return 0
    record: dict[str, Any] = orjson.loads(line)
    number: int = record["fastbatch"]["row"]
    row = inputs.rows.get(number)
    if row is None:
        found.problems.append(f"I2: row {number} stands in {name} and not in the input")
        return 0
    if row.custom_id is not None and record["custom_id"] != row.custom_id:
        found.problems.append(f"I2: row {number} has the id {record['custom_id']!r} in {name}")
    text = record["response"]["body"]["choices"][0]["message"]["content"]
    said = text.replace(".", " ").replace(":", " ").split()
    if row.word in said:
        found.answered[number] = tail
        return number
    if row.before in said:
        found.stale.add(number)
        return -number
    found.problems.append(f"I2: row {number} has another row's answer in {name}: {text[:60]!r}…")
    return 0


def _error(line: bytes, name: str, found: Found) -> int:
    """Take in a line of an errors file; the number of its row."""
    try:
        number: int = orjson.loads(line)["fastbatch"]["row"]
    except (ValueError, KeyError, TypeError):
        found.problems.append(f"I2: {name} has a damaged line: {line[:60]!r}…")
        return 0
    return number


def _repeated(numbers: list[int]) -> list[int]:
    if len(set(numbers)) == len(numbers):
        return []
    return sorted(number for number, times in Counter(numbers).items() if times > 1 and number)


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
