"""What was promised, held against the folder that a run left behind when it ended at some point.

A prompt of these runs is `row-3 v1`: the row's id, and how often its content was changed. The fake provider
says it again, so that every answer tells which question it belongs to.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fakes import FakeTransport, echo, manager_on, prompt_of
from journal.powerloss import Files
from journal.recording import Event
from journal.samples import holds

from fastbatch import RequestManager
from fastbatch.engine.done import Answers
from fastbatch.engine.index import RowTable
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.tail import lines_from
from fastbatch.formats.results import read_result, scan_result

_SAID = re.compile(rb"You said (\S+) v(\d+)")


class Broken(AssertionError):
    """A promise was not kept."""


class Asked(NamedTuple):
    """A row as it was when it was asked."""

    custom_id: str
    version: int

    @classmethod
    def of(cls, prompt: str) -> Asked:
        """What a prompt asks."""
        custom_id, version = prompt.split()
        return cls(custom_id, int(version.removeprefix("v")))

    def __str__(self) -> str:
        return f"{self.custom_id} v{self.version}"


@dataclass
class Known:
    """What is known from outside of a run that ended.

    Attributes:
        left: requests that left and may have been billed, of which nobody was told anything since.
        silent: those of them that one attempt got no reply to; no later refusal makes them free.
        answered: rows whose answer was acknowledged, and to which version of them.
        written: every result line that was ever written.
    """

    left: set[Asked] = field(default_factory=set)
    silent: set[Asked] = field(default_factory=set)
    answered: dict[str, int] = field(default_factory=dict)
    written: set[bytes] = field(default_factory=set)

    def copy(self) -> Known:
        """The same, to go on from."""
        return Known(set(self.left), set(self.silent), dict(self.answered), set(self.written))

    def learn(self, event: Event) -> None:
        """Something happened."""
        self.written.update(result_lines(event.data))
        if event.what not in ("left", "free", "silent", "spent", "told", "failed"):
            return
        asked = Asked.of(event.name)
        if event.what == "left":
            self.left.add(asked)
        elif event.what == "silent":
            self.silent.add(asked)
        elif event.what == "free" and asked not in self.silent:
            self.left.discard(asked)
        elif event.what in ("spent", "told", "failed"):  # failed rows run again, listed or not
            self.left.discard(asked)
            self.silent.discard(asked)
        if event.what == "told":
            self.answered[asked.custom_id] = asked.version


def result_lines(data: bytes) -> set[bytes]:
    """The whole result lines in some bytes of a file."""
    return {line for line in data.split(b"\n") if scan_result(line) is not None}


def lay_out(folder: Path, files: Files) -> None:
    """Make `folder` hold these files and no others."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


class Recovered(NamedTuple):
    """What the next run finds: rows that are uncertain, and the last line of each row that has one."""

    uncertain: list[str]
    lines: dict[str, bytes]

    @property
    def answered(self) -> set[Asked]:
        """What these lines answer."""
        return {Asked(custom_id, version_of(line)) for custom_id, line in self.lines.items()}


def version_of(line: bytes) -> int:
    """Which version of its row a line answers."""
    said = _SAID.search(line)
    assert said is not None
    return int(said[2])


def recover(out: Path, *, ordered: bool = False) -> Recovered:
    """Open the journal and read the answers, as a run does before it sends anything."""
    journal = Journal(out, ordered=ordered)
    journal.open(input="rows.jsonl", model="m")
    try:
        answers = Answers(journal.files, RowTable())
        answers.read()
        lines: dict[str, bytes] = {}
        for path in journal.files:
            data = path.read_bytes() if path.exists() else b""
            for line in lines_from(lambda at, size, data=data: data[at : at + size], 0):  # type: ignore[misc]
                finished = read_result(line.text)
                if finished is None:
                    raise Broken(f"counted as a line, and is none: {line.text[:80]!r}")
                lines[finished.custom_id] = line.text
        if answers.count != len(lines) or not all(holds(answers, custom_id) for custom_id in lines):
            raise Broken("what stands in the files is not what is counted")
        return Recovered([row.custom_id for row in journal.uncertain], lines)
    finally:
        journal.close()


def check(known: Known, found: Recovered) -> None:
    """Raise `Broken` unless what is found is what was promised."""
    if invented := set(found.lines.values()) - known.written:
        raise Broken(f"never written: {invented}")
    answered = dict(found.answered)
    if lost := {row for row, version in known.answered.items() if answered.get(row, -1) < version}:
        raise Broken(f"acknowledged and lost: {lost}")
    unlisted = {asked for asked in known.left - found.answered if asked.custom_id not in found.uncertain}
    if unlisted:
        raise Broken(f"may have been paid for, and nobody is told: {unlisted}")
    if len(set(found.uncertain)) != len(found.uncertain):
        raise Broken(f"listed twice: {found.uncertain}")


def finish(
    rows: Path, out: Path, known: Known, found: Recovered, wanted: Iterable[Asked], **options: Any
) -> None:
    """Let the next run finish the job; raise `Broken` unless it buys what is missing, and nothing else.

    Args:
        wanted: the rows of the input, in its order.
    """
    wanted = list(wanted)
    transport = FakeTransport(echo)
    told: list[str] = []

    def ask(uncertain: Any) -> str:
        if transport.calls:
            raise Broken("told when it was too late")
        told.extend(row.custom_id for row in uncertain)
        return "retry"

    manager: RequestManager[Any] = manager_on(transport, concurrency=4)
    asyncio.run(manager.run_file_async(rows, out, on_uncertain=ask, **options))
    bought = Counter(Asked.of(prompt) for prompt in transport.prompts)
    missing = set(wanted) - found.answered
    if set(bought) != missing or any(count > 1 for count in bought.values()):
        raise Broken(f"bought {bought}, missing were {missing}")
    if unlisted := {asked for asked in known.left & set(bought) if asked.custom_id not in told}:
        raise Broken(f"bought again, and nobody was told: {unlisted}")
    lines = out.read_bytes().splitlines()
    order = [json.loads(line)["custom_id"] for line in lines]
    rows_in_order = [asked.custom_id for asked in wanted]
    if sorted(order) != sorted(rows_in_order) or (options.get("ordered") and order != rows_in_order):
        raise Broken(f"the output holds {order}")
    kept = {found.lines[asked.custom_id] for asked in set(wanted) & found.answered}
    if changed := kept - set(lines):
        raise Broken(f"answers changed: {changed}")
    if left := {path.name for path in out.parent.iterdir()} - {out.name}:
        raise Broken(f"files were left: {left}")


__all__ = ["Asked", "Broken", "Known", "Recovered", "check", "finish", "lay_out", "prompt_of", "recover"]
