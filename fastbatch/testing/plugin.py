"""Fixtures for pytest, found through the entry point `pytest11`.

    def test_my_pipeline(fastbatch_simulator):
        run_my_pipeline(base_url=fastbatch_simulator.base_url)
        assert fastbatch_simulator.stats().answered == 10

    def test_it_survives_errors(fastbatch_simulators):
        flaky = fastbatch_simulators(SimulatorConfig(failure_rates={"500": 0.5}))

Law: importing this module imports nothing but pytest; the server loads when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastbatch.simulator import SimulatorConfig, SimulatorThread


@pytest.fixture
def fastbatch_simulators() -> Iterator[Callable[..., SimulatorThread]]:
    """Start simulated providers, `fastbatch_simulators(config)`; they stop when the test ends."""
    from fastbatch.simulator import SimulatorThread

    with ExitStack() as running:

        def start(config: SimulatorConfig | None = None) -> SimulatorThread:
            return running.enter_context(SimulatorThread(config))

        yield start


@pytest.fixture
def fastbatch_simulator(fastbatch_simulators: Callable[..., SimulatorThread]) -> SimulatorThread:
    """A simulated provider that is fast, unlimited and reliable."""
    return fastbatch_simulators()
