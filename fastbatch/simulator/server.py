"""The simulator as a server on a port."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastbatch.errors import ServiceError
from fastbatch.simulator.arrivals import ArrivalRecord
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats
from fastbatch.simulator.doors import Doors
from fastbatch.simulator.limits import SimulatedLimit
from fastbatch.simulator.protocol import Connection
from fastbatch.simulator.provider import SimulatedProvider


class Simulator:
    """A running provider that speaks every dialect.

    Args:
        config: what it is like; by default fast, unlimited and reliable.
        host: the address to listen on. There is no TLS: keep it on loopback.
        port: 0 lets the system choose.
        clock: monotonic seconds at arrival. The default and not `loop.time()`, because uvloop's stands
            still while one round of callbacks runs and would date a burst too early.

    Raises:
        ServiceError: on entering, when the port cannot be had.

    >>> async def main():
    ...     async with Simulator(SimulatorConfig(rpm=600)) as simulator:
    ...         return simulator.base_url
    >>> asyncio.run(main()).startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config or SimulatorConfig()
        self._clock = clock
        epoch = time.time() - clock()
        self._provider = SimulatedProvider(self.config, created=int(time.time()), epoch=epoch)
        self._provider.on_first = self._first
        self._provider.on_work = self._work
        self._worker: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._doors = Doors(self._connection, host, port, self.config.weather, self._cut)

    async def __aenter__(self) -> Self:
        try:
            await self._doors.open()
        except OSError as error:
            raise ServiceError(
                f"the simulator cannot listen on {self._doors.host}:{self._doors.port} "
                f"({error.strerror or error}); choose another port, or 0 for a free one"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._doors.close()
        self._cut()
        # Before Python 3.12 closing does not wait for connections; an abort takes one round of the loop.
        while self._connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if self._worker is not None:
            self._worker.cancel()

    def _work(self) -> None:
        """Have the batches' work done from the next round of the loop on, a slice in each."""
        if self._worker is not None:
            self._worker.cancel()
        self._worker = asyncio.get_running_loop().call_later(0, self._slice)

    def _slice(self) -> None:
        wait = self._provider.work(self._clock())
        loop = asyncio.get_running_loop()
        self._worker = None if wait is None else loop.call_later(wait, self._slice)

    def _connection(self) -> Connection:
        return Connection(self._provider, self._connections, asyncio.get_running_loop(), self._clock)

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    def _first(self, now: float | None) -> None:
        if now is None:
            self._doors.again()
        else:
            self._doors.begin()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._doors.port

    @property
    def root_url(self) -> str:
        """The address without `/v1`: for Azure, Anthropic, Gemini, Ollama, and `/simulator/stats`."""
        host = self._doors.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client calls base_url; ends in `/v1`. Those of other APIs take `root_url`."""
        return f"{self.root_url}/v1"

    @property
    def arrivals(self) -> array[float]:
        """Monotonic seconds at which POST requests arrived, ascending (the last `arrivals_kept`)."""
        return self.record.times

    @property
    def record(self) -> ArrivalRecord:
        """The arrivals with amounts and ends, for `busiest(per)`, `used(begin, end)`, `ends(begin, end)`."""
        return self._provider.tally.arrivals

    def stats(self) -> SimulatorStats:
        """What it saw so far."""
        return self._provider.stats()

    def batch_rows(self) -> dict[str, tuple[int, int]]:
        """What each row of a batch was called -> how often it was asked, and how often it was billed."""
        return dict(self._provider.tally.batches.names)

    def set_limits(self, *limits: SimulatedLimit) -> None:
        """Keep these limits from now on, until `reset`; one that only changes its amount keeps its count."""
        self._provider.set_limits(limits, self._clock())

    def reset(self) -> None:
        """Start counting anew, with the limits of the config, full, no memory of bodies, and fair weather."""
        self._provider.reset()
