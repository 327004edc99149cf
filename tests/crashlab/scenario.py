"""What a job is like and when it is killed, all drawn from one number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from crashlab.disk import Failpoint

_LONGEST = 3.0  # seconds that a job's answers may take, kills left aside


@dataclass(frozen=True)
class Kill:
    """When to kill: so many seconds from the start, or the board's `kill_at`, or a disk call."""

    seconds: float | None = None
    arrivals: int = 0
    after: int = 0  # microseconds
    failpoint: Failpoint | None = None


@dataclass(frozen=True)
class Scenario:
    """One job: how many rows, how they are answered, and about how often it is killed on the way."""

    seed: int
    rows: int
    concurrency: int
    latency: float = 0.0  # seconds
    durability: str = "power"
    ordered: bool = False
    cache: bool = False
    failures: Mapping[str, float] = field(default_factory=dict)
    decision: str = "retry"
    changed: bool = False  # done once already, before some of its rows were changed
    power: bool = False  # a power failure follows each kill
    switching: bool = False  # each run decides anew whether it is `ordered`
    sample: bool = False  # equal rows buy an answer each
    short_journal: bool = False  # it is written anew every few entries
    stream: bool = False  # by `manager.stream` with a journal, which knows no order, rather than `run_file`
    workers: int = 1  # processes that ask; it is the one that they work for that is killed
    sabotage: str = ""  # one of `sabotage.WAYS`
    kills: int = 0

    @classmethod
    def draw(cls, seed: int, rows: tuple[int, int] = (500, 4000)) -> Scenario:
        """The scenario of a number; the same in every run."""
        dice = Random(seed)
        concurrency = min(128, round(2 ** dice.uniform(0, 7.2)))
        latency = dice.choice((0.0, 0.001, 0.005, 0.02))
        count = dice.randint(*rows)
        if latency:
            count = max(100, min(count, round(_LONGEST / latency * concurrency)))
        durability = dice.choice(("power", "power", "process"))
        stream = dice.random() < 0.15
        return cls(
            seed=seed,
            rows=count,
            concurrency=concurrency,
            latency=latency,
            durability=durability,
            ordered=dice.random() < 0.4 and not stream,
            cache=dice.random() < 0.4,
            failures={"500": 0.08, "429": 0.02} if dice.random() < 0.35 else {},
            decision="retry" if dice.random() < 0.8 else "skip",
            changed=dice.random() < 0.2,
            power=durability == "power" and dice.random() < 0.3,
            switching=dice.random() < 0.15 and not stream,
            sample=dice.random() < 0.15,
            short_journal=dice.random() < 0.2,
            stream=stream,
            kills=dice.randint(10, 40),
        )

    def kill_plan(self) -> Iterator[Kill | None]:
        """One after the other when each run is killed; None at the end of the plan lets it finish."""
        dice = Random(self.seed * 7919 + 1)
        step = max(1, self.rows // self.kills) if self.kills else 1
        for _ in range(2 * self.kills):
            kind = dice.choices(("arrivals", "later", "time", "start", "disk"), (35, 30, 10, 10, 15))[0]
            if kind in ("arrivals", "later"):
                after = dice.randrange(20_000) if kind == "later" else 0
                yield Kill(arrivals=dice.randint(1, 2 * step), after=after)
            elif kind == "disk":
                number = dice.randint(1, 40)
                yield Kill(failpoint=Failpoint(number, dice.choice(("before", "during", "after"))))
            else:
                yield Kill(seconds=dice.uniform(0, 0.1 if kind == "start" else 0.5))
        yield None
