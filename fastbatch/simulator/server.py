"""The simulator as a server on a port."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastbatch.errors import ServiceError
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import ArrivalRecord, SimulatorStats
from fastbatch.simulator.protocol import Connection
from fastbatch.simulator.provider import SimulatedProvider

# Thousands of clients may connect in one burst; the kernel cuts this to net.core.somaxconn.
_BACKLOG = 4096


class Simulator:
    """A running OpenAI-shaped provider.

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
        self._host = host
        self._port = port
        self._clock = clock
        self._provider = SimulatedProvider(self.config, created=int(time.time()))
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._provider, self._connections, loop, self._clock),
                self._host,
                self._port,
                backlog=_BACKLOG,
            )
        except OSError as error:
            raise ServiceError(
                f"the simulator cannot listen on {self._host}:{self._port} ({error.strerror or error}); "
                "choose another port, or 0 for a free one"
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for connection in list(self._connections):
                connection.abort()
            await server.wait_closed()
            # Before Python 3.12 that does not wait for connections; an abort takes one round of the loop.
            while self._connections:  # noqa: ASYNC110
                await asyncio.sleep(0)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def root_url(self) -> str:
        """The address without `/v1`, for `/simulator/stats`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client calls base_url; ends in `/v1`."""
        return f"{self.root_url}/v1"

    @property
    def arrivals(self) -> array[float]:
        """Monotonic seconds at which POST requests arrived, ascending (the last `arrivals_kept`)."""
        return self.record.times

    @property
    def record(self) -> ArrivalRecord:
        """The arrivals with their tokens and whether they were admitted; `busiest(per)` checks a window."""
        return self._provider.tally.arrivals

    def stats(self) -> SimulatorStats:
        """What it saw so far."""
        return self._provider.stats()

    def reset(self) -> None:
        """Start counting anew, with full limits and no memory of bodies."""
        self._provider.reset()
