"""An endpoint on a manual clock: its answers take time, and outages come and go."""

import asyncio
from collections.abc import Callable
from typing import Any

from fakes import echo, prompt_of, refusal

from fastbatch.errors import ConnectFailed, ConnectionLost, RequestTimeout
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.testing import ManualClock

HANG = 10.0  # seconds after which a request that hangs is given up


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """Sleep on `clock`."""
    bell = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.time() + seconds, _ring, bell)
    try:
        await bell
    finally:
        timer.cancel()


class Sky:
    """What a `FakeTransport` answers with; it notes when each prompt came.

    Args:
        clock: the test's.
        latency: seconds until an answer, or a function from call to seconds.
        outages: (from, until, how), `how` being a status, `refused`, `hang` or `reset`.
        otherwise: the answer to a call in fair weather.
    """

    def __init__(
        self,
        clock: ManualClock,
        *,
        latency: float | Callable[[HTTPCall], float] = 0.5,
        outages: tuple[tuple[float, float, Any], ...] = (),
        otherwise: Callable[[HTTPCall], HTTPReply] = echo,
    ) -> None:
        self.clock = clock
        self.latency = latency if callable(latency) else lambda call: latency
        self.outages = outages
        self.otherwise = otherwise
        self.came: list[tuple[float, str]] = []

    async def __call__(self, call: HTTPCall) -> HTTPReply:
        now = self.clock.time()
        self.came.append((now, prompt_of(call)))
        how = next((how for began, ended, how in self.outages if began <= now < ended), None)
        if how == "refused":
            raise ConnectFailed("cannot connect to fake.test:80")
        if how == "hang":
            await pass_time(self.clock, HANG)
            raise RequestTimeout(f"no complete reply within {HANG:g} s")
        if how == "reset":
            raise ConnectionLost("the connection was reset")
        if how is not None:
            return refusal(how)
        await pass_time(self.clock, self.latency(call))
        return self.otherwise(call)

    def between(self, began: float, ended: float) -> list[tuple[float, str]]:
        """What came in a stretch of time."""
        return [each for each in self.came if began <= each[0] < ended]


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)


def lanes_of(manager: Any) -> list[Any]:
    """The lanes of a manager, its fallbacks' after its own."""
    return [lane for place in manager._settings.addresses for lane in place.lanes]


def assert_clean(manager: Any, clock: ManualClock) -> None:
    """No run has left a reservation, a probe or a timer behind."""
    for lane in lanes_of(manager):
        assert [ledger.in_flight for ledger in lane.ledgers().values() if ledger.in_flight] == []
        assert not lane.weather._probing
    assert clock.timers == 0


def of_a_day(call: HTTPCall, left: int) -> HTTPReply:
    """An answer that says how much is left of a day's ten requests."""
    reply = echo(call)
    reply.headers.update(
        {
            "x-ratelimit-limit-requests-day": "10",
            "x-ratelimit-remaining-requests-day": str(left),
            "x-ratelimit-reset-requests-day": "80000",
        }
    )
    return reply
