"""The simulator for code without an event loop: it runs its own, in its own thread."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from fastbatch.simulator.arrivals import ArrivalRecord
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats
from fastbatch.simulator.limits import SimulatedLimit
from fastbatch.simulator.server import Simulator

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where it is installed (half the CPU a request), else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class SimulatorThread:
    """A `Simulator` as an ordinary context manager.

    Entering returns when it listens; leaving cuts its connections and joins the thread.

    >>> with SimulatorThread() as simulator:
    ...     simulator.stats().requests
    0
    """

    def __init__(
        self, config: SimulatorConfig | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._simulator = Simulator(config, host=host, port=port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        listening: Future[None] = Future()
        # A daemon, so that a test that forgets to leave does not hang the interpreter's exit.
        self._thread = threading.Thread(
            target=self._run, args=(listening,), name="fastbatch-simulator", daemon=True
        )
        self._thread.start()
        listening.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None and self._stop is not None:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join()

    def _run(self, listening: Future[None]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: Future[None]) -> None:
        self._stop = asyncio.Event()
        try:
            await self._simulator.__aenter__()
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits in __enter__
            listening.set_exception(error)
            return
        self._loop = asyncio.get_running_loop()
        listening.set_result(None)
        await self._stop.wait()
        await self._simulator.__aexit__(None, None, None)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask inside the loop's thread, so that no answer shows half a request; after the end, directly."""
        loop = self._loop
        if loop is None:
            return question()
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
                answer.set_exception(error)

        loop.call_soon_threadsafe(ask)
        return answer.result()

    @property
    def config(self) -> SimulatorConfig:
        """What it is like."""
        return self._simulator.config

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._simulator.port

    @property
    def root_url(self) -> str:
        """The address without `/v1`: for Azure, Anthropic, Gemini, Ollama, and `/simulator/stats`."""
        return self._simulator.root_url

    @property
    def base_url(self) -> str:
        """What an OpenAI client calls base_url; ends in `/v1`. Those of other APIs take `root_url`."""
        return self._simulator.base_url

    @property
    def arrivals(self) -> array[float]:
        """Monotonic seconds at which POST requests arrived, ascending (a copy)."""
        return self.record.times

    @property
    def record(self) -> ArrivalRecord:
        """The arrivals with their amounts and ends (a copy)."""
        return self._ask(self._simulator.record.copy)

    def stats(self) -> SimulatorStats:
        """What it saw so far, also after its end."""
        return self._ask(self._simulator.stats)

    def batch_rows(self) -> dict[str, tuple[int, int]]:
        """What each row of a batch was called -> how often it was asked, and how often it was billed."""
        return self._ask(self._simulator.batch_rows)

    def set_limits(self, *limits: SimulatedLimit) -> None:
        """Keep these limits from now on, until `reset`; one that only changes its amount keeps its count."""
        self._ask(lambda: self._simulator.set_limits(*limits))

    def reset(self) -> None:
        """Start counting anew, with the limits of the config, full, no memory of bodies, and fair weather."""
        self._ask(self._simulator.reset)
