"""One run against one strict server, and what the server saw of it.

The server is the simulator, whose limits and whose record share no code with what is judged here. Times are
seconds after the first request, so that the client's start does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import cached_property

from fastbatch import Limits, OpenAIProvider, RequestManager
from fastbatch.simulator import (
    ArrivalRecord,
    SimulatedLimit,
    SimulatorConfig,
    SimulatorStats,
    SimulatorThread,
)
from fastbatch.simulator.arrivals import ADMITTED


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A server, a job, and how the client is set up.

    Attributes:
        limit: the first limit of the server; use is measured against it.
        config: the whole server, `limit` among its limits.
        declared: what the user says about limits; None: nothing, they are learned.
        trouble: seconds of the run in which nothing can be answered, for the ideal time.
        patience: seconds after which the run is given up; rows not answered by then have failed.
    """

    rows: int
    limit: SimulatedLimit
    config: SimulatorConfig
    declared: Limits | None = None
    concurrency: int = 256
    trouble: float = 0.0
    patience: float = 30.0

    def prompts(self) -> list[dict[str, str]]:
        """As many different rows as asked for."""
        return [{"custom_id": f"row-{n}", "prompt": f"What is {n} plus one?"} for n in range(self.rows)]


@dataclass
class Outcome:
    """What became of a scene: the client's count of answers, and the server's record of arrivals."""

    scene: Scene
    answered: int
    stats: SimulatorStats
    record: ArrivalRecord = field(repr=False)

    @cached_property
    def first(self) -> float:
        """When the first request arrived, by the server's clock."""
        return self.record.times[0]

    @property
    def failed(self) -> int:
        """Rows without an answer."""
        return self.scene.rows - self.answered

    @property
    def refused(self) -> float:
        """Share of all requests that a limit refused."""
        return (self.stats.refused_429 + self.stats.refused_busy) / self.stats.requests

    @property
    def attempts(self) -> float:
        """Requests that arrived, for each row."""
        return self.stats.requests / self.scene.rows

    @property
    def lasted(self) -> float:
        """Seconds from the first arrival to the last."""
        return self.record.times[-1] - self.first

    @property
    def ideal(self) -> float:
        """Seconds that the job takes whoever never lets the limit rest: full windows, and the trouble."""
        limit = self.scene.limit
        windows = (self.scene.rows - 1) // limit.amount
        return windows * limit.per + self.scene.trouble

    def use(self, begin: float, end: float, factor: float = 1.0) -> float:
        """Used share of `factor` times the limit from `begin` to `end` seconds after the first arrival."""
        limit = self.scene.limit
        used = self.record.used(self.first + begin, self.first + end, what=limit.what)
        return used / (factor * limit.amount * (end - begin) / limit.per)

    def windows(self) -> list[float]:
        """The use of each whole window after the first arrival."""
        per = self.scene.limit.per
        return [self.use(n * per, (n + 1) * per) for n in range(int(self.lasted / per))]

    def told(self) -> str:
        """All figures in one line."""
        windows = " ".join(f"{use:.1%}" for use in self.windows()[:12])
        ends = ", ".join(f"{count} {end}" for end, count in self.record.ends().items() if end != ADMITTED)
        return (
            f"{self.answered} of {self.scene.rows} rows answered, {self.attempts:.3f} requests a row, "
            f"{self.refused:.2%} refused by limits ({ends or 'nothing else'}); {self.lasted:.2f} s, ideal "
            f"{self.ideal:.2f} s; use by window: {windows}"
        )


def play(scene: Scene, run: Callable[[Scene, str], int] | None = None) -> Outcome:
    """Run the scene's job; `run(scene, base_url)` gives the number of answered rows."""
    with SimulatorThread(scene.config) as simulator:
        answered = (run or _by_library)(scene, simulator.base_url)
        return Outcome(scene, answered, simulator.stats(), simulator.record)


def _by_library(scene: Scene, base_url: str) -> int:
    return asyncio.run(_answer(scene, base_url))


async def _answer(scene: Scene, base_url: str) -> int:
    provider = OpenAIProvider("sk-test", base_url=base_url)
    manager = RequestManager(
        provider, model="m", concurrency=scene.concurrency, limits=scene.declared, timeout=20.0
    )
    answered = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(scene.patience), aclosing(manager.stream(scene.prompts())) as results:
            async for result in results:
                answered += result.ok
    return answered
