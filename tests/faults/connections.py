"""Connections that are refused, break, or never come about."""

from __future__ import annotations

import asyncio

from faults.acts import chance, everybody_for, everybody_from, sick_always, sick_once, well
from faults.clinic import Visit
from faults.evidence import Evidence
from faults.fault import Act, Fault

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_SOON = 0.2  # seconds in which "at once" must have happened, and as many more as the machine takes


async def reset(visit: Visit) -> None:
    """RST before a byte."""
    visit.line.reset()


async def end(visit: Visit) -> None:
    """FIN before a byte."""
    visit.line.end()


def torn(data: bytes, *, reset: bool) -> Act:
    """Send something and break the connection, the hard way or the soft one."""

    async def behave(visit: Visit) -> None:
        await visit.line.send(data)
        await asyncio.sleep(0.02)  # so that it is read; a reset takes back what was not
        if reset:
            visit.line.reset()
        else:
            visit.line.end()

    return behave


TORN = {
    "headers": _HEAD + b"Content-Le",
    "body": _HEAD + b'Content-Length: 300\r\n\r\n{"id": "c", "choices": [',
    "chunks": _HEAD + b'Transfer-Encoding: chunked\r\n\r\n40\r\n{"id": "c"',
    "before the last chunk": _HEAD + b'Transfer-Encoding: chunked\r\n\r\na\r\n{"id":"c"}\r\n',
}


def on_a_used_connection(act: Act) -> Act:
    """The first sick request that comes on a connection which has carried another one."""
    met: list[str] = []

    async def behave(visit: Visit) -> None:
        if visit.sick and visit.nth == 1 and visit.line.request.nth > 1:
            met.append(visit.prompt)
            await act(visit)
        else:
            await visit.answer()

    return behave


def again_at_once(ran: Evidence) -> list[str]:
    """The sick row came again within a moment."""
    times = [arrival.at for arrival in ran.arrivals if arrival.prompt == "sick-0"]
    if len(times) < 2:
        return ["the sick row was not sent again"]
    took = times[1] - times[0]
    return [] if took < _SOON + ran.busy else [f"sent again after {took:.2f} s, not at once"]


def first_attempts(ran: Evidence) -> list[str]:
    """Every answered row says that it was sent once: what the outage took was no attempt."""
    more = {prompt: number for prompt, number in ran.attempts.items() if number != 1}
    return [f"attempts were consumed: {more}"] if more else []


def shut_for(seconds: float, at: int) -> Act:
    """At the request of this number the server goes away for some seconds, with what it had not answered."""

    async def behave(visit: Visit) -> None:
        if visit.number == at:

            async def away() -> None:
                await visit.clinic.server.shut()
                await asyncio.sleep(seconds)
                await visit.clinic.server.open()

            visit.clinic.later(away())
            await asyncio.sleep(5)
        await visit.answer(after=0.005)

    return behave


def _torn_faults() -> list[Fault]:
    row = "torn replies"
    found = []
    for name, data in TORN.items():
        for hard in (True, False):
            how = "RST" if hard else "FIN"
            found.append(
                Fault(
                    name=f"{how} in the {name}, once",
                    row=row,
                    act=sick_once(torn(data, reset=hard)),
                    sent=(2, 2),
                )
            )
            found.append(
                Fault(
                    name=f"{how} in the {name}, every time",
                    row=row,
                    act=sick_always(torn(data, reset=hard)),
                    code=1,
                    kind="ConnectionLost",
                    billed=True,
                    sent=(2, 2),
                )
            )
    return found


CONNECTIONS = (
    Fault(
        name="RST before a byte on a used connection",
        row="stale connections",
        act=on_a_used_connection(reset),
        concurrency=1,
        attempts=1,  # which this is not
        base=2.0,
        sent=(2, 2),
        holds=(again_at_once,),
    ),
    Fault(
        name="FIN before a byte on a used connection",
        row="stale connections",
        act=on_a_used_connection(end),
        concurrency=1,
        attempts=1,  # which this is not
        base=2.0,
        sent=(2, 2),
        holds=(again_at_once,),
    ),
    Fault(name="RST before a byte, once", row="torn replies", act=sick_once(reset), sent=(2, 2)),
    Fault(
        name="RST before a byte, every time",
        row="torn replies",
        act=sick_always(reset),
        code=1,
        kind="ConnectionLost",
        billed=True,
        sent=(2, 3),
    ),
    *_torn_faults(),
    Fault(
        name="every reply breaks off",
        row="torn replies",
        act=everybody_from(1, torn(TORN["body"], reset=False)),
        rows=60,
        attempts=6,
        options={"max_outage": 2},
        code=4,
        kind="ConnectionLost",
        may_fail=30,
        total=60 + 10,
        says="broke|outage|answer",
    ),
    Fault(
        name="one reply in three breaks off",
        row="torn replies",
        act=chance(0.35, torn(TORN["body"], reset=False)),
        rows=100,
        attempts=6,
        code=1,
        kind="ConnectionLost",
        may_fail=45,
        billed=True,
        total=100 + 10 + 10,  # the retry budget: ten, and one for every ten answers
    ),
    Fault(
        name="refused in the middle of a run, back soon",
        row="refused",
        act=shut_for(0.6, at=20),
        rows=60,
        total=60 + 4,
    ),
    Fault(
        name="refused for good",
        row="refused",
        act=well,
        place=lambda port: "http://127.0.0.1:9/v1",
        options={"max_outage": 1},
        code=4,
        total=0,
        cause="ConnectFailed",
        within=5.0,
        says="connect",
    ),
    Fault(
        name="connections that break at once, for a second",
        row="refused",
        act=everybody_for(1.0, reset, after=0.1),
        rows=100,
        attempts=6,
        code=(0, 1),
        kind="ConnectionLost",
        may_fail=16,
        total=100 + 25,
    ),
)
