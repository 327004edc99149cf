"""Jobs drawn from a seed, each killed at random until it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from crashlab.job import Job
from crashlab.scenario import Scenario
from crashlab.totals import ENOUGH, Totals


def random_kills(
    kills: int,
    seed: int,
    go_on: Callable[[], bool] = lambda: True,
    rows: tuple[int, int] = (500, 4000),
    workers: int = 1,
) -> Totals:
    """Jobs `seed`, `seed + 1`, … until there have been so many kills, or `go_on` says no between two jobs."""
    totals = Totals()
    while totals.kills < kills and totals.broken_jobs < ENOUGH and go_on():
        scenario = replace(Scenario.draw(seed, rows), workers=workers)
        with Job(scenario) as job:
            job.begin()
            for kill in scenario.kill_plan():
                if kill is None or job.broken or not job.run(kill).killed:
                    break
            if not job.broken:
                job.finish()
        totals.add(job, f"--only random --kills 1 --rows {rows[1]} --workers {workers} --seed {seed}")
        seed += 1
    return totals
