"""An endpoint that is down for a while, or for good: the run parks, probes and goes on."""

from __future__ import annotations

import asyncio

from faults.acts import everybody_for, everybody_from, refuse, sick_always, sick_once, well
from faults.clinic import Visit
from faults.connections import first_attempts, reset
from faults.evidence import Evidence
from faults.fault import Act, Check, Fault
from faults.slowness import silent

DOWN = {
    "500": "500 Internal Server Error",
    "502": "502 Bad Gateway",
    "503": "503 Service Unavailable",
    "529": "529 Overloaded",
}
_NEWS = 5  # failures in a row that are an outage; what is in flight then fails, too


def _probes(seconds: float) -> float:
    """Requests in an outage of some seconds, at most: quick ones at first, then one every five seconds."""
    return 8 + seconds / 5


def parked(seconds: float) -> Check:
    """While the endpoint is down, it is asked a few times a second at most, after the first moment."""

    def check(ran: Evidence) -> list[str]:
        if not ran.refusals:
            return ["nobody met the outage"]
        began = ran.refusals[0]
        probes = sum(began + 0.3 < refused < began + seconds for refused in ran.refusals)
        most = _probes(seconds)
        return [] if probes <= most else [f"{probes} requests in {seconds:g} s of an outage, not {most:g}"]

    return check


def away_for(seconds: float, at: int) -> Act:
    """At the request of this number nobody listens any more for some seconds; what arrived is answered."""

    async def behave(visit: Visit) -> None:
        if visit.number == at:

            async def away() -> None:
                await asyncio.sleep(0.1)
                await visit.clinic.server.shut()
                await asyncio.sleep(seconds)
                await visit.clinic.server.open()

            visit.clinic.later(away())
        await visit.answer("Connection: close", after=0.02)
        visit.line.end()

    return behave


def outages(scale: float) -> tuple[Fault, ...]:
    """Outages of `scale` × 60 s."""
    seconds = 60 * scale
    rows = 120 if scale < 1 else 2000
    limit = 2 * seconds + 10
    return (
        Fault(
            name="refused, the server comes up later",
            row="refused",
            act=well,
            late=max(0.6, 3 * scale),
            total=8,
            holds=(first_attempts,),
            within=limit,
        ),
        Fault(
            name="nobody listens for a while",
            row="refused",
            act=away_for(seconds, at=20),
            rows=rows,
            total=rows + 8,
            within=limit,
        ),
        *(
            Fault(
                name=f"a burst of {name}",
                row="outages",
                act=everybody_for(seconds, refuse(status), after=0.1),
                rows=rows,
                concurrency=8,
                attempts=3,
                total=rows + 2 * 8 + _NEWS + round(_probes(seconds)),
                holds=(parked(seconds),),
                within=limit,
            )
            for name, status in DOWN.items()
        ),
        Fault(
            name="every connection breaks for a while",
            row="outages",
            act=everybody_for(seconds, reset, after=0.1),
            rows=rows,
            concurrency=8,
            attempts=6,
            code=(0, 1),
            kind="ConnectionLost",
            may_fail=2 * 8 + round(_probes(seconds)),
            total=rows + 2 * 8 + _NEWS + round(_probes(seconds)),
            within=limit,
        ),
    )


OUTAGES = (
    Fault(
        name="an outage longer than --max-outage",
        row="outages",
        act=everybody_from(4, refuse(DOWN["503"])),
        rows=60,
        attempts=3,
        options={"max_outage": 1},
        code=4,
        total=3 + 2 * 4 + _NEWS + 8,
        says="fail",
        within=8.0,
    ),
    Fault(
        name="an endpoint that never answers, longer than --max-outage",
        row="outages",
        act=everybody_from(1, silent),
        rows=60,
        timeout=0.3,
        options={"max_outage": 1},
        code=4,
        kind="RequestTimeout",
        may_fail=14,
        total=4 + 14,
        says="answer",
        within=8.0,
    ),
    Fault(
        name="one row is 500 every time, the others are well",
        row="outages",
        act=sick_always(refuse(DOWN["500"])),
        code=1,
        kind="ServerError",
        billed=False,
        sent=(2, 2),
    ),
    Fault(
        name="one row is 529 every time, the others are well",
        row="outages",
        act=sick_always(refuse(DOWN["529"], "overloaded_error")),
        code=1,
        kind="Overloaded",
        billed=False,
        sent=(2, 2),
    ),
    Fault(
        name="503 that states when to come again",
        row="outages",
        act=sick_once(refuse(DOWN["503"], None, "Retry-After: 0.4")),
        sent=(2, 2),
    ),
    Fault(name="408, once", row="outages", act=sick_once(refuse("408 Request Timeout")), sent=(2, 2)),
    Fault(name="409, once", row="outages", act=sick_once(refuse("409 Conflict")), sent=(2, 2)),
    Fault(
        name="500 that asks not to be asked again",
        row="outages",
        act=sick_always(refuse(DOWN["500"], None, "x-should-retry: false")),
        code=1,
        kind="ServerError",
    ),
)
