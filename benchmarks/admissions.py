"""Limiters at work: how long the processor is busy letting so many requests through.

Each measures its own section with the processor's clock: the making of ten thousand tasks beforehand and the
idle time between admissions do not count. aiolimiter is imported where it is used, as it is in nobody's
environment but its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module

import uvloop

_FREE = 1_000_000_000  # requests a second: nobody ever waits

# 500 in 0.1 s keep ten thousand waiters queueing for two seconds, most of them at any moment.
_CONTENDED = 500
_PER = 0.1


async def busy(admit: Callable[[], Awaitable[None]], waiters: int, admissions: int) -> float:
    """CPU seconds for `admissions` calls of `admit` from `waiters` tasks that come at once."""
    turns = iter(range(admissions))

    async def work() -> None:
        for _ in turns:
            await admit()

    tasks = [asyncio.ensure_future(work()) for _ in range(waiters)]
    began = time.process_time()
    await asyncio.gather(*tasks)
    return time.process_time() - began


async def ours(waiters: int, admissions: int) -> float:
    """fastbatch's gate over a ledger with one sliding window, and the settlement that follows."""
    from fastbatch.engine.clock import SystemClock
    from fastbatch.engine.gate import Gate
    from fastbatch.engine.lane import Group, Lane, Way
    from fastbatch.limits.cost import Cost
    from fastbatch.limits.options import Limits, Window
    from fastbatch.providers.openai import OpenAIProvider

    window = Window(requests=_FREE, per=1.0) if waiters == 1 else Window(requests=_CONTENDED, per=_PER)
    provider = OpenAIProvider("key", base_url="http://127.0.0.1/v1", env={})
    lane = Lane(provider, limits=Limits(windows=(window,)), concurrency=waiters)
    gate = Gate([Group([Way(lane)])], SystemClock())
    line = gate.line(0, "model")

    async def admit() -> None:
        gate.leave(await gate.enter(line, Cost), None)

    return await busy(admit, waiters, admissions)


async def aiolimiter(waiters: int, admissions: int) -> float:
    """aiolimiter's leaky bucket at the same rate; it has nothing to settle."""
    make = import_module("aiolimiter").AsyncLimiter
    limiter = make(_FREE, 1.0) if waiters == 1 else make(_CONTENDED, _PER)
    return await busy(limiter.acquire, waiters, admissions)


if __name__ == "__main__":
    chosen = {"ours": ours, "aiolimiter": aiolimiter}[sys.argv[1]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps({"cpu_s": runner.run(chosen(int(sys.argv[2]), int(sys.argv[3])))}))
