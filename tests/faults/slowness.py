"""Servers that take their time: each deadline holds within 0.2 s."""

from __future__ import annotations

import contextlib
import socket

from faults.acts import sick_always, well
from faults.clinic import Visit
from faults.evidence import Evidence
from faults.fault import Act, Check, Fault

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# The deadline begins before the server has seen the request, on a busy machine noticeably.
_EARLY, _LATE = 0.15, 0.2


async def silent(visit: Visit) -> None:
    """Never a byte."""
    visit.clinic.held.append(await visit.line.hung_up())


def drip(start: bytes, piece: bytes) -> Act:
    """A piece every 20 ms, for ever."""

    async def behave(visit: Visit) -> None:
        await visit.line.send(start)
        visit.clinic.held.append(await visit.line.drip(piece, 0.02))

    return behave


def stall(start: bytes) -> Act:
    """Something, then nothing."""

    async def behave(visit: Visit) -> None:
        await visit.line.send(start)
        visit.clinic.held.append(await visit.line.hung_up())

    return behave


def given_up_after(seconds: float) -> Check:
    """The server saw the client hang up when the deadline was over, not before and not long after."""

    def check(ran: Evidence) -> list[str]:
        late = _LATE + ran.busy  # others may hold the processors; that is not ours
        early = _EARLY + ran.busy
        off = [f"{held:.3f}" for held in ran.held if not seconds - early <= held <= seconds + late]
        if not ran.held:
            return ["nobody hung up"]
        return [f"hung up after {', '.join(off)} s instead of {seconds:g} s"] if off else []

    return check


def _slow(name: str, act: Act, deadline: float, **options: float) -> Fault:
    return Fault(
        name=name,
        row="slow replies",
        act=sick_always(act),
        timeout=options.pop("timeout", deadline),
        options=options,
        code=1,
        kind="RequestTimeout",
        billed=True,
        sent=(2, 2),
        holds=(given_up_after(deadline),),
        calm=True,
    )


# Sockets that nobody accepts from; the first connection fills the queue, a second one is not even refused.
_FULL: list[socket.socket] = []


def full_queue(_port: int) -> str:
    """An address that neither takes nor refuses a connection."""
    if not _FULL:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        _FULL.append(listening)
        for _ in range(3):
            knocking = socket.socket()
            knocking.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                knocking.connect(listening.getsockname())
            _FULL.append(knocking)
    return f"http://127.0.0.1:{_FULL[0].getsockname()[1]}/v1"


def closed() -> None:
    """Let go of the sockets."""
    while _FULL:
        _FULL.pop().close()


SLOWNESS = (
    _slow("never answers", silent, 0.5),
    _slow("headers byte by byte", drip(_HEAD + b"X: ", b"x"), 0.5),
    _slow("a body byte by byte", drip(_HEAD + b"Content-Length: 99999\r\n\r\n", b" "), 0.5),
    _slow("chunks one by one", drip(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), 0.5),
    _slow("stops in the body", stall(_HEAD + b"Content-Length: 99\r\n\r\n{"), 0.5),
    _slow("no first byte in time", silent, 0.3, first_byte_timeout=0.3, timeout=5.0),
    _slow(
        "stands still in the body",
        stall(_HEAD + b"Content-Length: 99\r\n\r\n{"),
        0.3,
        idle_timeout=0.3,
        timeout=5.0,
    ),
    _slow("stands still in the headers", stall(_HEAD), 0.3, idle_timeout=0.3, timeout=5.0),
    Fault(
        name="no connection in time",
        row="slow replies",
        act=well,
        place=full_queue,
        options={"connect_timeout": 0.3, "max_outage": 0.8},
        code=4,
        total=0,
        cause="ConnectTimeout",
        within=4.0,
        says="connect",
        calm=True,
    ),
)
