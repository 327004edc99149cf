"""Time that jumps, a process that is stopped, and descriptors that run out."""

from __future__ import annotations

import asyncio
import os
import signal

from faults.acts import well
from faults.clinic import Visit
from faults.evidence import Evidence
from faults.fault import Act, Check, Fault
from faults.toofast import http_date, never_before, slow_then


def stopped(seconds: float, at: int) -> Act:
    """At the request of this number the client is stopped; its answers arrive while it sleeps."""

    async def behave(visit: Visit) -> None:
        if visit.number == at:
            os.kill(visit.clinic.pid, signal.SIGSTOP)

            async def wake() -> None:
                await asyncio.sleep(seconds)
                os.kill(visit.clinic.pid, signal.SIGCONT)

            visit.clinic.later(wake())
        await visit.answer(after=0.05)

    return behave


def at_most(number: int, seconds: float) -> Check:
    """In every sliding window of the server."""

    def check(ran: Evidence) -> list[str]:
        times = sorted(arrival.at for arrival in ran.arrivals)
        close = [b - a for a, b in zip(times, times[number:], strict=False) if b - a < seconds]
        return [f"{number + 1} requests in {min(close):.3f} s, not {seconds:g} s"] if close else []

    return check


async def slowly(visit: Visit) -> None:
    """A good answer that takes a moment, so that a thousand are under way at once."""
    await visit.answer(after=0.1)


def clocks(scale: float) -> tuple[Fault, ...]:
    """A stop of `scale` × 30 s, at least 1.2 s."""
    sleep = max(1.2, 30 * scale)
    jumps = {"an hour ahead": 3600.0, "an hour back": -3600.0}
    return (
        *(
            Fault(
                name=f"the clock jumps {name}",
                row="clocks",
                act=slow_then(http_date),
                rows=12,
                concurrency=2,
                sent=(2, 2),
                options={"window": "30/1s"},
                holds=(never_before(0.9), at_most(30, 1.0)),
                clock=seconds,
                within=8.0,
            )
            for name, seconds in jumps.items()
        ),
        Fault(
            name="stopped for longer than the timeout",
            row="clocks",
            act=stopped(sleep, at=12),
            rows=60,
            timeout=0.6,
            options={"window": "30/1s"},
            sick=0,
            holds=(at_most(30, 1.0),),
            within=sleep + 10,
            calm=True,
        ),
        Fault(
            name="256 descriptors and a concurrency of 1000",
            row="descriptors",
            act=slowly,
            rows=1000,
            sick=0,
            concurrency=1000,
            files=256,
            within=20.0,
        ),
    )


CLOCKS = (Fault(name="nothing at all", row="clocks", act=well),)
