"""What all jobs came to, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from crashlab.job import Job

ENOUGH = 3  # jobs with broken promises, after which nobody needs to wait for more


@dataclass
class Totals:
    """Sums over jobs.

    `most_repeated` is (requests repeated in one run, the job's concurrency), of all pairs the one in
    which the window was used up most.
    """

    jobs: int = 0
    rows: int = 0
    runs: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    repeated: int = 0
    most_repeated: tuple[int, int] = (0, 1)
    unlisted: int = 0
    broken_jobs: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, job: Job, repeat_with: str) -> None:
        """Add a job that is over; `repeat_with` are the arguments that play it again."""
        ledger, scenario = job.ledger, job.scenario
        self.jobs += 1
        self.rows += scenario.rows
        self.runs += job.runs
        self.kills += job.kills
        self.lost += ledger.lost
        self.doubled += ledger.doubled
        self.repeated += ledger.repeated
        self.unlisted += ledger.unlisted
        most = (ledger.most_repeated, scenario.concurrency)
        self.most_repeated = max(self.most_repeated, most, key=lambda pair: (pair[0] / pair[1], pair[1]))
        self.broken_jobs += bool(job.broken)
        for sentence in job.broken:
            where = f"{scenario}, files in {job.place}; again with: dev.py crash {repeat_with}"
            self.broken.append(f"{sentence}\n    {where}")

    def lines(self, title: str) -> list[str]:
        """The table."""
        most, concurrency = self.most_repeated
        return [
            f"{title}: {self.kills:,} kills in {self.jobs:,} jobs of {self.rows:,} rows, {self.runs:,} runs",
            f"  rows lost                    {self.lost:>8,}",
            f"  rows doubled                 {self.doubled:>8,}",
            f"  requests paid for again      {self.repeated:>8,}   at most {most} in one run at "
            f"concurrency {concurrency}",
            f"  of these not listed before   {self.unlisted:>8,}",
            f"  promises broken              {len(self.broken):>8,}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
