"""Small jobs killed at every disk call of their first run, and at one of the run that picks up the pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from crashlab.disk import Failpoint, Moment
from crashlab.job import IN_MEMORY, Job
from crashlab.scenario import Kill, Scenario
from crashlab.totals import ENOUGH, Totals

# Told apart by their seeds.
TINY_JOBS = (
    Scenario(seed=1, rows=12, concurrency=3),
    Scenario(seed=2, rows=12, concurrency=3, ordered=True),
    Scenario(seed=3, rows=12, concurrency=2, changed=True),
    Scenario(seed=4, rows=12, concurrency=2, changed=True, ordered=True),
    Scenario(seed=5, rows=12, concurrency=1, durability="process", cache=True),
    Scenario(seed=6, rows=12, concurrency=4, failures={"500": 0.3}, cache=True),
    Scenario(seed=7, rows=12, concurrency=3, decision="skip"),
    Scenario(seed=8, rows=12, concurrency=3, power=True),
    Scenario(seed=9, rows=12, concurrency=2, power=True, ordered=True, changed=True),
    Scenario(seed=10, rows=12, concurrency=2, switching=True, sample=True),
    Scenario(seed=11, rows=12, concurrency=3, power=True, switching=True, short_journal=True),
    Scenario(seed=12, rows=12, concurrency=3, stream=True),
    Scenario(seed=13, rows=12, concurrency=2, stream=True, power=True, changed=True),
)
MOMENTS: tuple[Moment, ...] = ("before", "during", "after")
_AGAIN = 5  # each so many-th job is run once more when it is done
_STRIDE = 17  # of the place in the second run: prime, so that neighbours in the first lie far apart


def sweep(
    scenarios: Iterable[Scenario] = TINY_JOBS,
    moments: Iterable[Moment] = MOMENTS,
    *,
    turns: int = 1,
    go_on: Callable[[], bool] = lambda: True,
) -> Totals:
    """Kill each job's first run at every disk call, its next run at `turns` places, and let it finish."""
    totals = Totals()
    for scenario in scenarios:
        with Job(scenario, place=IN_MEMORY) as job:  # undisturbed, to count
            job.begin()
            job.run()
            calls = {moment: job.calls(moment) for moment in MOMENTS}
        totals.add(job, _again(scenario))
        for moment in moments:
            for place in count(1):
                killed = False
                for turn in range(turns):
                    if not go_on() or totals.broken_jobs >= ENOUGH:
                        return totals
                    then = 1 + (place * _STRIDE + turn * calls["before"] // turns) % calls["before"]
                    killed |= _killed_twice(scenario, Failpoint(place, moment), then, totals)
                # How much is written at once is a matter of timing, so no two runs make the same calls.
                if not killed and place >= calls[moment]:
                    break
    return totals


def _killed_twice(scenario: Scenario, first: Failpoint, then: int, totals: Totals) -> bool:
    """One job; whether its first run came as far as `first`."""
    with Job(scenario, place=IN_MEMORY) as job:
        job.begin()
        killed = job.run(Kill(failpoint=first)).killed
        if killed:
            job.run(Kill(failpoint=Failpoint(then, "before")))
        job.finish(again=first.number % _AGAIN == 0)
    where = f"killed {first.moment} disk call {first.number}, then before {then}"
    totals.add(job, f"{_again(scenario)} ({where})")
    return killed


def _again(scenario: Scenario) -> str:
    return f"--only sweep --job {scenario.seed}"
