"""A provider to practise on: an OpenAI-shaped HTTP server that is strict, fast and tells what it saw.

    async with Simulator(SimulatorConfig(rpm=600, failure_rates={"500": 0.03})) as simulator:
        ...                                    # simulator.base_url is "http://127.0.0.1:PORT/v1"
        print(simulator.stats().requests)

Laws:

1. *A witness counts at arrival.* Requests, limits and arrival times are taken when the last byte of a
   request has been read, before anything is decided about its answer.
2. *Limits are strict and written a second time.* `meters.py` shares no code with `fastbatch.limits`, so an
   error in one is seen by the other; and `ArrivalRecord` counts once more, from the arrivals alone.
3. *The same bytes get the same text*, or with `vary_repeats` each time another one. Text, latency and
   failures are drawn from the seed, the path, the body's bytes and how often that body came; never from a
   global generator.
4. *An admitted request that draws no failure is an answer and is billed*, even if the client hangs up first.
5. *Weather runs from the first request.* Spells are timed from there, so that a client's start does not shift
   them.
6. `provider.py` decides and does no I/O (time is passed in); `protocol.py` moves bytes and decides nothing.

Deliberately absent: models, tools, logprobs and structured outputs (`response_format` is read by nobody),
TLS, compression, streaming for anything but chat, and aiohttp: the server must not share the client's HTTP
code.
"""

from fastbatch.simulator.arrivals import ArrivalRecord
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats
from fastbatch.simulator.limits import SimulatedLimit
from fastbatch.simulator.server import Simulator
from fastbatch.simulator.spells import Spell
from fastbatch.simulator.thread import SimulatorThread

__all__ = [
    "ArrivalRecord",
    "SimulatedLimit",
    "Simulator",
    "SimulatorConfig",
    "SimulatorStats",
    "SimulatorThread",
    "Spell",
]
