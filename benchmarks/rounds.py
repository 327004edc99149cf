"""Round by round: every contestant once, then every contestant again, so that a busy minute hits them all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from contestants import BASELINE, Contestant
from load import Task, write_rows
from measure import HERE, Cores, Cost, middle, on_core, run_child
from peers import Environments
from servers import Server


@dataclass
class Result:
    """What one contestant took at one concurrency: raw figures of every round, and of starting up."""

    contestant: Contestant
    concurrency: int
    rows: int
    startup: list[Cost] = field(default_factory=list)
    rounds: list[Cost] = field(default_factory=list)
    ratio: float | None = None

    def cpu_us(self) -> list[float]:
        """CPU microseconds a row in each round, start-up taken off."""
        start = middle(self.startup, "cpu_s")
        return [(cost.cpu_s - start) / self.rows * 1e6 for cost in self.rounds]

    def compare(self, bare: Result) -> None:
        """Set `ratio`: the median over the rounds of our CPU to the bare loop's in the same round.

        So few rows that a bare round is lost in the noise of starting up give none.
        """
        pairs = zip(self.cpu_us(), bare.cpu_us(), strict=True)
        ratios = [ours / theirs for ours, theirs in pairs if theirs > 0]
        self.ratio = median(ratios) if ratios else None

    def to_dict(self) -> dict[str, Any]:
        """Everything for the JSON."""
        cpu = median(self.cpu_us())
        return {
            "name": self.contestant.name,
            "title": self.contestant.title,
            "unit": self.contestant.unit,
            "concurrency": self.concurrency,
            "rows": self.rows,
            "cpu_us": cpu,
            "per_cpu_second": 1e6 / cpu if cpu > 0 else None,
            "wall_s": middle(self.rounds, "wall_s"),
            "peak_rss_bytes": max(cost.peak_rss_bytes for cost in self.rounds),
            "startup_cpu_s": middle(self.startup, "cpu_s"),
            "ratio": self.ratio,
            "startup": [cost.raw() for cost in self.startup],
            "rounds": [cost.raw() for cost in self.rounds],
        }


class Race:
    """Runs contestants against one server.

    Args:
        server: where they send; where it counts, nobody is believed who asked less than its rows.
        folder: for inputs, caches and outputs.
        cores: the client's core is taken from here.
        rows, bulk_rows: how many rows a contestant sends; and one that sends none goes through.
        environments: where other people's packages are installed and stay; else they are thrown away.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        cores: Cores,
        *,
        rows: int,
        bulk_rows: int,
        environments: Path | None = None,
    ) -> None:
        self._server = server
        self._folder = folder
        self._cores = cores
        self._rows = {"request": rows, "row": bulk_rows}
        self._environments = Environments(environments or folder)
        self.left_out: dict[str, str] = {}  # other people's packages that could not be measured, and why
        self._inputs: dict[int, Path] = {}
        self._prepared: dict[str, Path] = {}

    def run(self, chosen: Sequence[Contestant], concurrency: Sequence[int], rounds: int) -> list[Result]:
        """All results in the order of the table; progress is said on stderr."""
        results = [
            Result(contestant, in_flight, self._size(contestant))
            for in_flight in concurrency
            for contestant in chosen
            # Nothing is in flight in a run that sends nothing.
            if contestant.unit == "request" or in_flight == concurrency[0]
        ]
        for contestant in chosen:
            self._try(contestant, partial(self._environments.python, contestant.needs))
            self._prepare(contestant, concurrency[0])
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            turn = number % len(results)  # another one goes first each time
            for result in results[turn:] + results[:turn]:
                if result.contestant.name not in self.left_out:
                    self._try(result.contestant, partial(self._measure, result))
        results = [result for result in results if result.contestant.name not in self.left_out]
        bare = {result.concurrency: result for result in results if result.contestant.name == BASELINE}
        for result in _sending(results):
            if result.concurrency in bare:
                result.compare(bare[result.concurrency])
        return results

    def _try(self, contestant: Contestant, step: Callable[[], object]) -> None:
        """Take a step; where it is another package's that fails, the others go on without it."""
        try:
            step()
        except RuntimeError as error:
            if not contestant.needs:
                raise
            self.left_out[contestant.name] = str(error)
            print(f"{contestant.name} is left out: {error}", file=sys.stderr, flush=True)

    def _measure(self, result: Result) -> None:
        result.startup.append(self._once(result.contestant, result.concurrency, 0))
        result.rounds.append(self._once(result.contestant, result.concurrency, result.rows))

    def _prepare(self, contestant: Contestant, concurrency: int) -> None:
        program = contestant.prepare
        if program and program not in self._prepared:
            print(f"preparing {contestant.name}", file=sys.stderr, flush=True)
            folder = self._folder / f"prepared-{len(self._prepared)}"
            folder.mkdir()
            task = self._task(contestant, self._size(contestant), concurrency, folder, None)
            self._child(contestant, program, task)
            self._prepared[program] = folder

    def _once(self, contestant: Contestant, concurrency: int, rows: int) -> Cost:
        folder = self._folder / "run"
        folder.mkdir()
        try:
            # Without rows there is nothing that a preparation could be used for.
            prepared = self._prepared.get(contestant.prepare) if rows else None
            task = self._task(contestant, rows, concurrency, folder, prepared)
            before = self._server.requests()
            cost = self._child(contestant, contestant.program, task)
            if contestant.unit == "request" and before is not None:
                asked = (self._server.requests() or 0) - before - 1  # which was the question itself
                if asked < rows:
                    raise RuntimeError(f"{contestant.name} made {asked} requests for {rows} rows")
            return cost
        finally:
            shutil.rmtree(folder)

    def _size(self, contestant: Contestant) -> int:
        return max(1, self._rows[contestant.unit] // contestant.one_in)

    def _task(
        self, contestant: Contestant, rows: int, concurrency: int, folder: Path, prepared: Path | None
    ) -> Task:
        server = self._server
        if rows not in self._inputs:
            self._inputs[rows] = write_rows(self._folder / f"rows-{rows}.jsonl", rows)
        url, ca_file = (server.tls_url, server.ca_file) if contestant.tls else (server.base_url, None)
        return Task(url, rows, concurrency, self._inputs[rows], folder, prepared, ca_file)

    def _child(self, contestant: Contestant, program: str, task: Task) -> Cost:
        python = self._environments.python(contestant.needs)
        with on_core(self._cores.client):
            return run_child([str(HERE / "child.py"), program, task.to_json()], python=python)


def _sending(results: Sequence[Result]) -> Iterator[Result]:
    return (result for result in results if result.contestant.unit == "request")
