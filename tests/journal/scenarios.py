"""Runs from file to file against a fake provider, recorded: what may be left of them is played afterwards."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from fakes import FakeTransport, answer_to, manager_on, prompt_of, refusal
from journal.powerloss import Disk, Files
from journal.promises import Asked, Known, lay_out, result_lines
from journal.recording import Event, Recording

from fastbatch.engine.journal import journal as journal_module
from fastbatch.engine.journal.journal import Journal
from fastbatch.errors import RequestTimeout
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.retry import RetryPolicy

# What becomes of an attempt: an answer, a refusal that cost nothing (by its status), or nobody knows.
Fate = int | str
ANSWER, SILENT = "answer", "silent"
Fates = Mapping[str, list[Fate]]

ROWS = 12
ATTEMPTS = 3


@dataclass
class Scenario:
    """A recorded run, and what the next one should do.

    Attributes:
        rows: its input, beside the folder that is damaged.
        wanted: the rows of it.
        before, events: the files when it began, and what happened.
        known: what was known when it began.
        options: of the run, and of the one after it.
    """

    rows: Path
    wanted: list[Asked]
    before: Files
    events: list[Event]
    known: Known
    options: dict[str, Any] = field(default_factory=dict)

    def at(self, share: float) -> tuple[Files, Known]:
        """The files as they were when `share` of the events had happened and the process was killed."""
        disk, known = Disk(self.before), self.known.copy()
        for event in self.events[: int(share * len(self.events))]:
            disk.play(event)
            known.learn(event)
        return disk.killed(), known


class Provider:
    """Answers after some turns of the loop, as the dice say; `fates` tells what rows get instead, in turn."""

    def __init__(self, recording: Recording, dice: Random, fates: Fates) -> None:
        self._recording = recording
        self._dice = dice
        self._fates = defaultdict(list, {row: list(fate) for row, fate in fates.items()})
        self._sent: Counter[str] = Counter()

    async def __call__(self, call: HTTPCall) -> HTTPReply:
        prompt = prompt_of(call)
        self._recording.note("left", prompt)
        self._sent[prompt] += 1
        for _ in range(self._dice.randrange(12)):
            await asyncio.sleep(0)
        fates = self._fates[Asked.of(prompt).custom_id]
        fate = fates.pop(0) if fates else ANSWER
        if fate == SILENT:
            self._recording.note("silent" if self._sent[prompt] < ATTEMPTS else "spent", prompt)
            raise RequestTimeout("no complete reply within 1 s")
        if isinstance(fate, int):
            self._recording.note("free", prompt)
            return refusal(fate)
        return answer_to(f"You said {prompt} " + "x" * self._dice.choice((0, 5, 200, 600, 1500)))


class Desk:
    """Where runs are recorded: an input, and a folder of its own for the output."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rows = folder / "rows.jsonl"
        self.folder = folder / "run"
        self.folder.mkdir()
        self.out = self.folder / "out.jsonl"
        self.dice = Random(seed)

    def write(self, *, count: int = ROWS, changed: int = 0) -> list[Asked]:
        """An input of so many rows, of which the first `changed` have another content than before."""
        wanted = [Asked(f"row-{number}", int(number < changed)) for number in range(count)]
        lines = ({"id": asked.custom_id, "prompt": str(asked)} for asked in wanted)
        self.rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return wanted

    def record(
        self,
        wanted: list[Asked],
        *,
        known: Known | None = None,
        fates: Fates | None = None,
        long: int = journal_module._LONG,
        may_end: type[Exception] | tuple[()] = (),
        **options: Any,
    ) -> Scenario:
        """Run the input into the output, and write down what happens.

        Args:
            wanted: its rows.
            known: what is known of an earlier run, whose files are there.
            fates: what rows get instead of an answer, attempt by attempt.
            long: bytes at which a journal is written anew.
            may_end: the run may end with it.
            options: of the run.
        """
        recording = Recording(self.folder)
        known = Known() if known is None else known
        for data in recording.before.values():
            known.written |= result_lines(data)
        manager = manager_on(
            FakeTransport(Provider(recording, self.dice, fates or {})),
            concurrency=3,
            retry=RetryPolicy(attempts=ATTEMPTS, base=0.0),
        )
        run = manager.run_file_async(self.rows, self.out, on_uncertain=lambda uncertain: "retry", **options)
        with (
            acknowledged(recording),
            recording.installed(),
            mock.patch.object(journal_module, "_LONG", long),
            suppress(may_end),
        ):
            asyncio.run(run)
        return Scenario(self.rows, wanted, recording.before, recording.events, known, options)

    def go_back(self, scenario: Scenario, share: float) -> Known:
        """Put the files of an earlier moment in their place, as after a kill; what is known of them."""
        files, known = scenario.at(share)
        lay_out(self.folder, files)
        return known


@contextmanager
def acknowledged(recording: Recording) -> Iterator[None]:
    """Write down what the journal says is safe."""
    start = Journal.start

    def noted(self: Journal, *, recorded: Callable[[list[Any]], None], **options: Any) -> None:
        def first_noted(jobs: list[Any]) -> None:
            for job in jobs:
                prompt = job.request.body["messages"][-1]["content"]
                recording.note("told" if job.outcome.error is None else "failed", prompt)
            recorded(jobs)

        start(self, recorded=first_noted, **options)

    with mock.patch.object(Journal, "start", noted):
        yield


def plain(desk: Desk) -> Scenario:
    """From nothing to the end."""
    return desk.record(desk.write())


def ordered(desk: Desk) -> Scenario:
    """The same with lines in a part, which are put in order at the end."""
    return desk.record(desk.write(), ordered=True)


FATES: Fates = {
    "row-0": [429, 500],
    "row-2": [400],
    "row-3": [SILENT],
    "row-5": [SILENT, 429],
    "row-7": [SILENT, SILENT, SILENT],
    "row-9": [500, 500, 500],
}


def failing(desk: Desk) -> Scenario:
    """Rows that are refused, that get no reply, that are sent again, and that fail for good."""
    return desk.record(desk.write(), fates=FATES)


def failed_rows_again(desk: Desk) -> Scenario:
    """Failed rows of a finished run are run again, some fail again; others are new."""
    desk.record(desk.write(count=8), fates=FATES)
    return desk.record(desk.write(), fates={"row-2": [400], "row-10": [SILENT]})


def resumed(desk: Desk) -> Scenario:
    """A run that was killed on its way goes on."""
    wanted = desk.write()
    known = desk.go_back(desk.record(wanted), 0.45)
    return desk.record(wanted, known=known)


def after_power_failure(desk: Desk) -> Scenario:
    """A run whose power failed goes on: with holes, torn lines, and names that are old."""
    wanted = desk.write()
    first = desk.record(wanted)
    number = desk.dice.randrange(len(first.events) // 3, len(first.events))
    while first.events[number].what != "sync":
        number -= 1
    disk, known = Disk(first.before), Known()
    for event in first.events[:number]:
        disk.play(event)
        known.learn(event)
    lay_out(desk.folder, disk.torn(desk.dice))
    return desk.record(wanted, known=known)


def ordered_resumed(desk: Desk) -> Scenario:
    """An ordered one goes on, too, with failures on the way."""
    wanted = desk.write()
    known = desk.go_back(desk.record(wanted, ordered=True), 0.45)
    return desk.record(wanted, known=known, fates={"row-9": [SILENT], "row-10": [429]}, ordered=True)


def part_taken_over(desk: Desk) -> Scenario:
    """An ordered run that was killed is gone on with unordered."""
    wanted = desk.write()
    known = desk.go_back(desk.record(wanted, ordered=True), 0.6)
    return desk.record(wanted, known=known)


def ordered_after_unordered(desk: Desk) -> Scenario:
    """The other way round."""
    wanted = desk.write()
    known = desk.go_back(desk.record(wanted), 0.6)
    return desk.record(wanted, known=known, ordered=True)


def changed(desk: Desk) -> Scenario:
    """Rows of a finished output have changed: new answers take the place of old ones."""
    known = desk.record(desk.write()).at(1.0)[1]
    return desk.record(desk.write(changed=5), known=known)


def changed_ordered(desk: Desk) -> Scenario:
    """The same in the order of the input."""
    known = desk.record(desk.write(), ordered=True).at(1.0)[1]
    return desk.record(desk.write(changed=5), known=known, ordered=True)


def rewritten(desk: Desk) -> Scenario:
    """The journal grows too long again and again, and is written anew."""
    return desk.record(desk.write(), fates={"row-1": [SILENT], "row-4": [429]}, long=300)


SCENARIOS: dict[str, Callable[[Desk], Scenario]] = {
    made.__name__: made
    for made in (
        plain,
        ordered,
        failing,
        failed_rows_again,
        resumed,
        after_power_failure,
        ordered_resumed,
        part_taken_over,
        ordered_after_unordered,
        changed,
        changed_ordered,
        rewritten,
    )
}
