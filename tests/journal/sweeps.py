"""Every end of a recorded run: what its crash leaves is recovered, and now and then the job is finished."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from journal.powerloss import Crash, crashes
from journal.promises import Known, check, finish, lay_out, recover, result_lines
from journal.scenarios import SCENARIOS, Desk, Scenario


def quick_folder() -> str | None:
    """A folder in memory where there is one: here nothing depends on a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Swept:
    """What came of many crashes of one scenario.

    Attributes:
        name: of the scenario.
        events: things that happened in the recorded run.
        crashes: ends that were looked at, by how they came.
        finished: jobs that were run on to their end.
        uncertain: rows listed, over all ends.
        broken: promises that were not kept, each with the crash that shows it.
    """

    name: str
    events: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    uncertain: int = 0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ways = ", ".join(f"{count:,} {how}" for how, count in sorted(self.crashes.items()))
        return (
            f"{self.name}: {self.events} events; {ways}; {self.finished:,} jobs finished, "
            f"{self.uncertain:,} rows listed; {len(self.broken)} broken"
        )


def sweep(
    name: str,
    seed: int,
    *,
    bytes_apart: int = 1,
    tears: int = 4,
    finish_every: int = 50,
    go_on: Callable[[], bool] = lambda: True,
) -> Swept:
    """Crash the run called `name` everywhere.

    Args:
        name: of a scenario.
        seed: of all that is random.
        bytes_apart: how far apart inside a write.
        tears: power failures of different outcomes at each point, beside the one that loses most.
        finish_every: how often a job is run on to its end.
        go_on: asked before each crash.
    """
    with tempfile.TemporaryDirectory(dir=quick_folder()) as made:
        folder = Path(made)
        scenario = SCENARIOS[name](Desk(folder, seed))
        swept = Swept(name, len(scenario.events))
        known, learnt = scenario.known.copy(), 0
        dice = Random(f"{name} {seed}")
        place = folder / "crash"
        place.mkdir()
        for crash in crashes(scenario.before, scenario.events, dice, bytes_apart=bytes_apart, tears=tears):
            if not go_on():
                break
            for event in scenario.events[learnt : crash.events]:
                known.learn(event)
            learnt = crash.events
            swept.crashes[crash.how] += 1
            finished = swept.crashes.total() % finish_every == 0
            try:
                _look(scenario, crash, place, known.copy(), swept, dice, finished=finished)
            except Exception as error:  # noqa: BLE001  (whatever it is, it must not be)
                where = f"{crash.how} after {crash.events} events and {crash.part} bytes"
                swept.broken.append(f"{name}, seed {seed}, {where}: {type(error).__name__}: {error}")
        return swept


def _look(
    scenario: Scenario, crash: Crash, place: Path, known: Known, swept: Swept, dice: Random, *, finished: bool
) -> None:
    """Recover what one crash left, and where `finished` is asked for, let the next run do the rest."""
    if crash.part:  # of the write that was under way whole lines may stand there
        known.written |= result_lines(scenario.events[crash.events].data)
    # The next run may be of the other mode.
    options = dict(scenario.options)
    if dice.random() < 0.2:
        options["ordered"] = not options.get("ordered", False)
    lay_out(place, crash.files)
    found = recover(place / "out.jsonl", ordered=options.get("ordered", False))
    check(known, found)
    swept.uncertain += len(found.uncertain)
    if finished:
        lay_out(place, crash.files)
        finish(scenario.rows, place / "out.jsonl", known, found, scenario.wanted, **options)
        swept.finished += 1
