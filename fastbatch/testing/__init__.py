"""For the tests of people who use fastbatch: a provider that costs nothing, and a clock that stands still.

    from fastbatch.testing import SimulatorConfig, SimulatorThread

    with SimulatorThread(SimulatorConfig(rpm=600, failure_rates={"500": 0.1})) as simulator:
        ...                                     # any OpenAI client with base_url=simulator.base_url,
        ...                                     # Anthropic's, Google's or Ollama's with simulator.root_url
        assert simulator.stats().repeated_bodies == 0

Under pytest the fixtures `fastbatch_simulator` and `fastbatch_simulators` are there without an import (see
`plugin.py`). A provider of your own is tested by a class that inherits `ProviderContract` (see `providers`).

Laws: names load when they are first used, because pytest imports this package in every project where
fastbatch is installed; nothing here is needed to run fastbatch, and nothing in fastbatch imports it.

Deliberately absent: mocks of our own objects. The simulator answers on a real socket, so a test against it
also tests the way there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbatch.simulator import (
        BatchConfig,
        SimulatedLimit,
        Simulator,
        SimulatorConfig,
        SimulatorStats,
        SimulatorThread,
        Spell,
    )
    from fastbatch.testing.clock import ManualClock
    from fastbatch.testing.providers import ProviderContract

__all__ = [
    "BatchConfig",
    "ManualClock",
    "ProviderContract",
    "SimulatedLimit",
    "Simulator",
    "SimulatorConfig",
    "SimulatorStats",
    "SimulatorThread",
    "Spell",
]

_HOMES = dict.fromkeys(__all__, "fastbatch.simulator") | {
    "ManualClock": "fastbatch.testing.clock",
    "ProviderContract": "fastbatch.testing.providers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
