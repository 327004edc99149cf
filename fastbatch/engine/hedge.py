"""Hedging: a straggler is asked a second time, and whichever answers first counts.

It pays twice for some requests, so it is off unless asked for, and never goes beyond its share. The second
request keeps to the limits like any other, and is not sent where that would mean to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastbatch.engine.clock import Clock
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import Gate
from fastbatch.engine.latencies import Latencies
from fastbatch.engine.line import Admission
from fastbatch.errors import ConnectFailed, RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

_STRAGGLER = 95.0  # percentile of the answers so far that a request must be slower than
_KNOWN = 20  # answers that must have come before a straggler can be told

_LOOK_AGAIN = 0.1  # seconds, at least, until a straggler for which there was no room is looked at again

Again = Callable[[], tuple[Admission, HTTPCall] | None]
Lost = Callable[[HTTPReply | RequestError | None], None]  # None: it was given up on its way


def spare(concurrency: int, share: float) -> int:
    """Requests beyond `concurrency` that must find a connection: the second ones of stragglers."""
    return int(concurrency * share) + 1 if share else 0


class Hedge:
    """Sends stragglers twice, at most `share` of all requests.

    Args:
        share: further requests allowed, as a part of those that were sent (0.05: one in twenty).
        latencies: of the answers so far.
        counters: how many were sent; counts the second ones in `hedged`.
        clock: when is a request slow.
    """

    def __init__(self, share: float, latencies: Latencies, counters: Counters, clock: Clock) -> None:
        self._share = share
        self._latencies = latencies
        self._counters = counters
        self._clock = clock

    async def send(
        self,
        transport: Transport,
        call: HTTPCall,
        timeout: Timeout,
        gate: Gate[Any],
        *,
        again: Again,
        lost: Lost,
    ) -> tuple[HTTPReply, Admission | None]:
        """The reply to `call`, or to the same asked again, whichever comes first.

        With the reply to the second one comes its admission, which the caller ends; any other is ended here.

        Args:
            transport: sends it.
            call: what to send.
            timeout: of each.
            gate: is told when the second one is over.
            again: lets a second one through, if there is room at once.
            lost: is told what the one of two came to that does not count.

        Raises:
            RequestError: neither was answered.
        """
        first = asyncio.ensure_future(transport.send(call, timeout))
        second: asyncio.Future[HTTPReply] | None = None
        admission: Admission | None = None
        won = False
        try:
            found, began, not_before = None, self._clock.time(), 0.0
            while found is None and await self._slow(first, began, not_before):
                found = again() if self._affordable() else None
                not_before = self._clock.time() + _LOOK_AGAIN
            if found is not None:
                admission, other = found
                self._counters.hedged += 1
                second = asyncio.ensure_future(transport.send(other, timeout))
                counts = await _first_good(first, second)
                won = counts is second
                reply = await counts
                if won:
                    winner, admission = admission, None
                    return reply, winner
                return reply, None
            return await first, None
        finally:
            if second is not None:
                lost(_came(first if won else second))
            for one in (first, second):
                if one is not None and not one.done():
                    one.cancel()
            await asyncio.gather(*filter(None, (first, second)), return_exceptions=True)
            if admission is not None:
                gate.leave(admission, None)

    async def _slow(self, first: asyncio.Future[HTTPReply], began: float, not_before: float) -> bool:
        """Wait until the first one is answered, or is a straggler."""
        if self._latencies.count < _KNOWN:
            return False
        slow = asyncio.get_running_loop().create_future()
        due = began + self._latencies.percentile(_STRAGGLER)
        timer = self._clock.call_at(max(due, not_before), _ring, slow)
        try:
            await asyncio.wait({first, slow}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            slow.cancel()
        return not first.done()

    def _affordable(self) -> bool:
        counters = self._counters
        return counters.hedged + 1 <= self._share * (counters.sent + counters.in_flight)


async def _first_good(
    first: asyncio.Future[HTTPReply], second: asyncio.Future[HTTPReply]
) -> asyncio.Future[HTTPReply]:
    """The one that brings the first answer; the first where neither does.

    Where the first was never sent, the second: what that came to may have been billed.
    """
    pending = {first, second}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            if not one.cancelled() and one.exception() is None and 200 <= one.result().status < 300:
                return one
    return second if isinstance(first.exception(), ConnectFailed) else first


def _came(one: asyncio.Future[HTTPReply]) -> HTTPReply | RequestError | None:
    if not one.done() or one.cancelled():
        return None
    error = one.exception()
    if error is None:
        return one.result()
    return error if isinstance(error, RequestError) else None


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)
