"""A journal driven in every order, ended anywhere and opened again, against a model of what must be there."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from journal.powerloss import Disk, Files
from journal.promises import lay_out, recover
from journal.recording import Recording
from journal.samples import line_of
from journal.sweeps import quick_folder

from fastbatch.engine.done import Answers, last_answers
from fastbatch.engine.index import RowTable, id_number
from fastbatch.engine.journal import journal as journal_module
from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.files import replace_file
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.journal.order import ordered_lines

ROWS = [f"row-{number}" for number in range(6)]

rows = st.sampled_from(ROWS)
seeds = st.integers(0, 2**32)


class Died(BaseException):
    """The process ends here."""


class Stepped:
    """A group commit without a thread: it writes a batch, and tells of it, when the test says so."""

    def __init__(self, write: Any, written: Any, failed: Any, seal: Any) -> None:
        self._write, self._written, self._seal = write, written, seal
        self._items: list[Any] = []
        self._batch: list[Any] = []

    def add(self, item: Any, *, enough: bool) -> None:
        self._items.append(item)

    def write(self) -> None:
        """As the thread does."""
        self.tell()
        self._batch, self._items = self._items, []
        if self._batch:
            self._seal(self._batch)
            self._write(self._batch)

    def tell(self) -> None:
        """As the loop does afterwards."""
        batch, self._batch = self._batch, []
        if batch:
            self._written(batch)

    async def flush(self) -> None:
        while self._items or self._batch:
            self.write()
            self.tell()

    def close(self) -> None:
        self._items, self._batch = [], []


@cache
def line(custom_id: str, number: int) -> bytes:
    """The `number`-th answer to a row; few enough of them to be made once."""
    return line_of(custom_id, f"You said {custom_id} v{number} " + "x" * (number * 137 % 700))


@dataclass
class Model:
    """What must be found by whoever comes next.

    Attributes:
        safe: the answers that were acknowledged, by their number.
        written: the numbers of the answers that each row was given.
        left: attempts of rows whose request may have left: all of them must be listed, unless answered.
        free: rows whose last request cost nothing, which may be on the list as long as that is not on disk.
    """

    safe: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)


class Journals(RuleBasedStateMachine):
    """One output and its runs."""

    @initialize(long=st.sampled_from([700, 8 * 1024 * 1024]))
    def begin(self, long: int) -> None:
        """An empty folder."""
        self.exit = ExitStack()
        folder = self.exit.enter_context(tempfile.TemporaryDirectory(dir=quick_folder()))
        self.folder = Path(folder).resolve()
        self.exit.enter_context(mock.patch.object(journal_module, "GroupCommit", Stepped))
        self.exit.enter_context(mock.patch.object(journal_module, "_LONG", long))
        self.loop = asyncio.new_event_loop()
        self.exit.callback(self.loop.close)
        self.out = self.folder / "out.jsonl"
        self.model = Model()
        self.attempts = dict.fromkeys(ROWS, 0)
        self.journal: Journal | None = None
        self.sending: list[asyncio.Task[None]] = []
        self.waiting: set[str] = set()  # rows whose request waits for its entry
        self.watch()

    def teardown(self) -> None:
        """Let everything go."""
        if hasattr(self, "exit"):
            self.unwatch()
            self.let_go()
            self.exit.close()

    def watch(self) -> None:
        self.recording = Recording(self.folder)
        self.watching = self.recording.installed()
        self.watching.__enter__()

    def unwatch(self) -> None:
        self.watching.__exit__(None, None, None)

    def let_go(self) -> None:
        for task in self.sending:
            task.cancel()
        self.turn()
        self.sending.clear()
        self.waiting.clear()
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @property
    def running(self) -> Journal:
        assert self.journal is not None
        return self.journal

    @property
    def commit(self) -> Stepped:
        return self.running._commit  # type: ignore[return-value]

    # What a run does

    @precondition(lambda self: self.journal is None)
    @rule(ordered=st.booleans(), durability=st.sampled_from(["power", "power", "process"]))
    def open(self, ordered: bool, durability: Any) -> None:
        """A run begins, with what the one before left."""
        self.journal = Journal(self.out, ordered=ordered, durability=durability)
        self.ordered, self.durability = ordered, durability
        self.journal.open(input="rows.jsonl", model="m")

        async def start() -> None:
            self.running.start(recorded=self.recorded, failed=self.failed, count=lambda: Counted(time=1.0))

        self.loop.run_until_complete(start())

    def recorded(self, jobs: list[Any]) -> None:
        for custom_id, number in jobs:
            if number is not None:
                self.model.safe[custom_id] = number

    def failed(self, error: Exception) -> None:
        raise AssertionError("no disk fails here") from error

    @precondition(lambda self: self.journal is not None)
    @rule(custom_id=rows)
    def send(self, custom_id: str) -> None:
        """A request of a row that is not on its way is about to leave."""
        if custom_id in self.waiting or (custom_id in self.model.left and custom_id not in self.model.free):
            return
        self.waiting.add(custom_id)
        self.attempts[custom_id] += 1
        attempt = self.attempts[custom_id]
        number = ROWS.index(custom_id)

        async def leave() -> None:
            await self.running.sent(number, custom_id, "0" * 32, attempt, 10)
            self.model.left[custom_id] = attempt
            self.model.free.discard(custom_id)
            self.waiting.discard(custom_id)

        self.sending.append(self.loop.create_task(leave()))
        self.turn()

    @precondition(lambda self: self.journal is not None)
    @rule(custom_id=rows)
    def refuse(self, custom_id: str) -> None:
        """It came back, and cost nothing."""
        if custom_id in self.model.left and custom_id not in self.model.free:
            self.running.back(custom_id)
            self.model.free.add(custom_id)

    @precondition(lambda self: self.journal is not None)
    @rule(custom_id=rows)
    def answer(self, custom_id: str) -> None:
        """A row has its answer, of a request that left or of a cache."""
        if custom_id in self.waiting:
            return
        number = self.model.written.get(custom_id, 0) + 1
        self.model.written[custom_id] = number
        self.running.record((custom_id, number), custom_id, line=line(custom_id, number))
        if custom_id in self.model.left:
            self.model.free.add(custom_id)

    @precondition(lambda self: self.journal is not None)
    @rule(custom_id=rows)
    def fail(self, custom_id: str) -> None:
        """Or has failed for good."""
        if custom_id in self.waiting:
            return
        self.running.record((custom_id, None), custom_id)
        if custom_id in self.model.left:
            self.model.free.add(custom_id)

    @precondition(lambda self: self.journal is not None)
    @rule()
    def write(self) -> None:
        """The disk takes what has gathered; nobody is told yet."""
        self.commit.write()

    @precondition(lambda self: self.journal is not None)
    @rule()
    def tell(self) -> None:
        """Those who wait are told."""
        self.commit.tell()
        self.turn()
        self.turn()

    # How it ends

    @precondition(lambda self: self.journal is not None)
    @rule()
    def stop(self) -> None:
        """It ends early with everything written: the next one finds exactly that."""
        self.flush()
        self.running.stop()
        self.let_go()
        files = self.files()
        for ordered in (False, True):
            self.look(files, "stopped", ordered=ordered)

    def flush(self) -> None:
        self.loop.run_until_complete(self.running.flush())
        self.turn()
        self.turn()

    @precondition(lambda self: self.journal is not None)
    @rule()
    def undo(self) -> None:
        """It was not meant so: nothing is lost by that."""
        self.stop()
        journal = Journal(self.out)
        journal.open(input="rows.jsonl", model="m")
        journal.undo()
        journal.close()
        self.look(self.files(), "stopped", ordered=False)

    @precondition(lambda self: self.journal is not None)
    @rule()
    def complete(self) -> None:
        """It is done: one line a row, in order if so asked, and no journal but for what is open."""
        self.tidy()
        left = {row: attempt for row, attempt in self.model.left.items() if row not in self.model.free}
        self.model.left, self.model.free = left, set()
        names = {path.name for path in self.folder.iterdir()}
        assert names <= {"out.jsonl", *(["out.jsonl.journal"] if left else [])}
        if self.out.exists():
            lines = self.out.read_bytes().splitlines(keepends=True)
            expected = [line(row, number) for row, number in self.model.safe.items()]
            assert sorted(lines) == sorted(expected)
            if self.ordered:
                assert lines == [line(row, self.model.safe[row]) for row in ROWS if row in self.model.safe]
        self.look(self.files(), "stopped", ordered=False)

    def tidy(self) -> None:
        self.flush()
        journal = self.running
        journal.stop()
        journal.withdraw()
        if self.ordered:
            table = RowTable()
            Answers(journal.files, table).read()
            for number, row in enumerate(ROWS, 1):
                place = table.place(id_number(row))
                table.lines[place] = number
            replace_file(
                journal.output, ordered_lines(journal.files, table, by_record=False), keep_empty=True
            )
            journal.remove_part()
        else:
            replace_file(journal.output, last_answers(journal.output), keep_empty=True)
        journal.complete()
        self.let_go()

    @precondition(lambda self: self.journal is not None)
    @rule(seed=seeds, power=st.booleans())
    def crash(self, seed: int, power: bool) -> None:
        """The process is killed, or the machine loses its power, at any moment since it began."""
        self.unwatch()
        self.let_go()
        disk = Disk(self.recording.before)
        for event in self.recording.events:
            disk.play(event)
        files = disk.killed()
        if power and self.durability == "power":
            files = disk.torn(Random(seed)) if seed % 3 else disk.lost()
        self.go_on_from(files)

    @precondition(lambda self: self.journal is not None)
    @rule(seed=seeds, power=st.booleans(), call=st.integers(1, 6))
    def crash_while_writing(self, seed: int, power: bool, call: int) -> None:
        """The same in the middle of a batch: at one of its calls, with a part of what was to be written."""
        dice, left = Random(seed), [call]
        watched = {name: getattr(os, name) for name in ("write", "fdatasync")}

        def dying(name: str) -> Callable[..., Any]:
            def do(fd: int, *args: Any) -> Any:
                left[0] -= 1
                if left[0]:
                    return watched[name](fd, *args)
                if name == "write":
                    watched[name](fd, bytes(args[0])[: dice.randrange(len(args[0]))])
                raise Died

            return do

        with ExitStack() as stack:
            for name in watched:
                stack.enter_context(mock.patch(f"os.{name}", dying(name)))
            with suppress(Died):
                self.commit.write()
        self.crash(seed, power)

    # What the next one finds

    def files(self) -> Files:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def go_on_from(self, files: Files) -> None:
        self.look(files, "crashed", ordered=self.ordered)
        self.watch()

    def look(self, files: Files, how: str, *, ordered: bool) -> None:
        """Open the files once, hold them against the model, and put them back."""
        if how == "stopped":
            self.unwatch()
        lay_out(self.folder, files)
        model = self.model
        found = recover(self.out, ordered=ordered)
        numbers = {}
        for custom_id, text in found.lines.items():
            matching = [n for n in range(1, model.written[custom_id] + 1) if line(custom_id, n)[:-1] == text]
            assert len(matching) == 1, f"an answer of {custom_id} was invented"
            numbers[custom_id] = matching[0]
        uncertain = set(found.uncertain)
        must = {row for row in model.left if row not in model.free}
        if how == "stopped":
            assert numbers == model.safe
            assert uncertain == must
        for row, number in model.safe.items():
            assert numbers.get(row, 0) >= number, f"the answer of {row} is lost"
        unlisted = must - uncertain
        assert all(numbers.get(row, 0) > model.safe.get(row, 0) for row in unlisted), f"unlisted: {unlisted}"
        lay_out(self.folder, files)
        if how == "stopped":
            self.watch()
        else:
            model.safe |= {row: max(number, model.safe.get(row, 0)) for row, number in numbers.items()}
            model.left = {row: self.attempts[row] for row in uncertain}
            model.free = set()


Journals.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestJournals = Journals.TestCase
