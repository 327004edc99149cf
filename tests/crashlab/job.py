"""One job from its first run to its last: run, kill, look, and check, until it is done."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Protocol, Self

from crashlab.board import Board
from crashlab.disk import Moment
from crashlab.evidence import OUTPUT, look
from crashlab.inputs import KINDS, TINY, change_input, write_input
from crashlab.ledger import Ledger, Listed, RunFacts
from crashlab.power import fail_power, sizes
from crashlab.scenario import Kill, Scenario
from crashlab.victim import SECRET, Ended, Reports, Task, run_forked
from crashlab.witness import Witness

from fastbatch.engine.journal.status import read_status
from fastbatch.errors import OutputError
from fastbatch.simulator import SimulatorConfig

# What is killed at every call needs no real disk: a kill takes nothing from the kernel, a power failure is
# played. Syncing one would take most of the time.
_MEMORY = Path("/dev/shm")
IN_MEMORY = _MEMORY if os.access(_MEMORY, os.W_OK) else None


class Runner(Protocol):
    """Runs a task to its end or its kill: in a fork, or as the real tool."""

    def __call__(self, task: Task, kill: Kill | None, board: Board, reports: Reports) -> Ended: ...


class Job:
    """An input, a server, a folder (in `place`, by default where temporary files are), and the runs so far.

    Attributes:
        place: where everything of the job is.
        kills: runs that were killed.
        runs: all of them.
        broken: what was not as promised, in sentences.
    """

    def __init__(self, scenario: Scenario, run: Runner = run_forked, place: Path | None = None) -> None:
        self.scenario = scenario
        self.kills = self.runs = 0
        self.broken: list[str] = []
        self._run = run
        self._finishing = False
        self.place = Path(tempfile.mkdtemp(prefix="fastbatch-crash-", dir=place))
        self._folder = self.place / "job"  # holds the input and what fastbatch writes, and nothing else
        self._folder.mkdir()
        self._reports = Reports(*(self.place / name for name in ("told", "outcome", "log", "notes")))
        self._dice = Random(scenario.seed)
        kinds = TINY if scenario.rows < 50 else KINDS
        self._inputs = write_input(self._folder / "in.jsonl", scenario.rows, self._dice, kinds)
        self.ledger = Ledger(self._inputs, scenario.concurrency, scenario.switching)
        self._board = Board.shared()
        config = SimulatorConfig(
            seed=scenario.seed,
            latency=scenario.latency,
            latency_sigma=0.5 if scenario.latency else 0.0,
            failure_rates=scenario.failures,
        )
        self._witness = Witness(config, self._board)
        self._task = Task(
            self._folder / self._inputs.path.name,
            self._folder / OUTPUT,
            self._witness.base_url,
            self.place / "cache" if scenario.cache else None,
            scenario,
        )

    def begin(self) -> None:
        """Bring a job that has a past to where it is killed: done once, then some of its rows change."""
        if self.scenario.changed:
            self.run()
            self._inputs = change_input(self._inputs, self._dice)
            self.ledger.change(self._inputs, look(self._folder, self._inputs))

    def run(self, kill: Kill | None = None) -> Ended:
        """One run, and what it broke."""
        before, safe = self._board.arrived, sizes(self._folder)
        self._reports.told.unlink(missing_ok=True)
        if self.scenario.switching and not self._finishing:
            ordered = self._dice.random() < 0.5
            self._task = replace(self._task, scenario=replace(self.scenario, ordered=ordered))
        ended = self._run(self._task, kill, self._board, self._reports)
        self.runs += 1
        self.kills += ended.killed
        seen = self._witness.seen()
        if lost_power := ended.killed and self.scenario.power:
            fail_power(self._folder, self._reports.notes, safe, self._dice)
        facts = RunFacts(
            killed=ended.killed,
            outcome=ended.outcome,
            seen=seen,
            arrived_before=before,
            found=look(self._folder, self._inputs, after_power_failure=lost_power),
            listed=_listed(self._reports.told),
            listed_at=self._board.told_at - 1 if self._board.told_at else None,
            decision=self.scenario.decision,
            ordered=self._task.scenario.ordered,
            acknowledged=(self._board.answered, self._board.failed),
            lost_power=lost_power,
            status=self._status(),
        )
        if ended.hung:
            self._note("I4: the run hung; its threads are in the log")
        for sentence in self.ledger.enter(facts):
            self._note(sentence)
        return ended

    def finish(self, again: bool = True) -> None:
        """Run to the end, then if wanted once more: nothing is sent again, and nothing changes."""
        if self.run().killed:
            self._note("I4: somebody else killed the run")
        for path in self.place.rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                self._note(f"I6: the key stands in {path.name}")
        if again and not self.broken:
            self._finish_again()

    def _finish_again(self) -> None:
        self._finishing = True
        output, arrived = self._task.output.read_bytes(), self._board.arrived
        open_rows = sum(row.refused for row in self._inputs.rows.values())
        ended = self.run()
        if (requests := self._board.arrived - arrived) > open_rows:
            self._note(f"I5: {requests} requests of a job that was done, {open_rows} rows had failed")
        if self._task.output.read_bytes() != output:
            self._note("I5: running a job again that was done changed its output")
        if ended.outcome.get("ok"):
            self._note(f"I5: running a job again that was done answered {ended.outcome['ok']} rows")

    def calls(self, moment: Moment = "before") -> int:
        """Disk calls of the last run that have this moment."""
        return self._board.writes if moment == "during" else self._board.calls

    def _status(self) -> set[tuple[int, int]] | None:
        """What whoever looks on is told to be uncertain; looking changes nothing."""
        before = _states(self._folder)
        try:
            status = read_status(self._task.output, now=time.time())
        except OutputError as error:
            if before.keys() - {self._inputs.path.name}:
                self._note(f"I4: the status is: {error}")
            return None
        finally:
            if before != _states(self._folder):
                self._note("I8: looking at the status changed a file")
        return {(row.row, row.attempt) for row in status.uncertain}

    def _note(self, sentence: str) -> None:
        self.broken.append(f"run {self.runs}: {sentence}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server; what is left on the disk stays where something was broken."""
        self._witness.close()
        if (not self.broken or self.scenario.sabotage) and error is None:
            shutil.rmtree(self.place)


def _states(folder: Path) -> dict[str, tuple[int, ...]]:
    """What changes when a file does."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def _listed(told: Path) -> list[Listed]:
    """What the run said is uncertain; a line that it died in was not said."""
    lines = told.read_bytes().split(b"\n")[:-1] if told.exists() else []
    return [Listed(*row) for line in lines for row in json.loads(line)]
