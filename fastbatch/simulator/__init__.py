"""A provider to practise on: an HTTP server that speaks every dialect, is strict and tells what it saw.

    async with Simulator(SimulatorConfig(rpm=600, failure_rates={"500": 0.03})) as simulator:
        ...                                    # OpenAI's clients take simulator.base_url (…/v1),
        ...                                    # all others simulator.root_url, "http://127.0.0.1:PORT"
        print(simulator.stats().requests)

Laws:

1. *A witness counts at arrival.* Requests, limits and arrival times are taken when the last byte of a
   request has been read, before anything is decided about its answer.
2. *Limits are strict and written a second time.* `meters.py` shares no code with `fastbatch.limits`, so an
   error in one is seen by the other; and `ArrivalRecord` counts once more, from the arrivals alone.
3. *The same bytes get the same text*, or with `vary_repeats` each time another one. Text, latency and
   failures are drawn from the seed, the path, the body's bytes and how often that body came; never from a
   global generator.
4. *An admitted request that draws no failure is an answer and is billed*, even if the client hangs up first,
   and also if it was drawn to be "invalid": nobody is paid back for an answer that does not fit.
5. *Weather runs from the first request.* Spells are timed from there, so that a client's start does not shift
   them.
6. `provider.py` decides and does no I/O (time is passed in); `protocol.py` moves bytes and decides nothing.
7. *A batch is many requests that wait.* Its rows are thought, failed and counted like those that come alone;
   what they used is told apart, and costs half (see `batches`).
8. *Dialects are words.* `routes.py` says which path is whose; what is counted, thought and billed is the same
   in all of them. A body is read as strictly as its API reads it, so that a wrong translation is found out.

Deliberately absent: models, calls that nobody forced, logprobs, pictures, schemas with a `pattern`
(refused, see `schemas.py`), TLS, compression, and aiohttp: the server must not share the client's HTTP code,
nor its translations (`fastbatch.providers`).
"""

from fastbatch.simulator.arrivals import ArrivalRecord
from fastbatch.simulator.clockwork import BatchConfig
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats
from fastbatch.simulator.limits import SimulatedLimit
from fastbatch.simulator.server import Simulator
from fastbatch.simulator.spells import Spell
from fastbatch.simulator.thread import SimulatorThread

__all__ = [
    "ArrivalRecord",
    "BatchConfig",
    "SimulatedLimit",
    "Simulator",
    "SimulatorConfig",
    "SimulatorStats",
    "SimulatorThread",
    "Spell",
]
