"""Asks a provider what its batch API wants asked: call after call, patiently, until nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastbatch.engine.clock import Clock
from fastbatch.engine.events import Counters
from fastbatch.errors import RequestError, RunStopped
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.providers.base import Provider
from fastbatch.providers.batches import LaterCall, Steps
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

T = TypeVar("T")

# Seconds. What is uploaded has 64 MB at most: at 1 Mbit/s nine minutes.
_TIMEOUT = Timeout(900.0, 20.0, 600.0, 120.0)
_DOWNLOAD = Timeout(4 * 3600.0, 20.0, 120.0, 120.0)
_LEAST, _MOST = 2.0, 60.0  # seconds between two tries
_FIRST = 30.0  # seconds in which an endpoint that never answered may be away
_ERROR = 64 * 1024  # bytes of a reply that is an error


class Left(Exception):
    """Nobody waits any more: the run is being drained."""


class Caller:
    """Sends calls and waits, by the run's clock; `counters` say meanwhile what is waited for."""

    def __init__(
        self, transport: Transport, provider: Provider[Any], clock: Clock, counters: Counters
    ) -> None:
        self._transport = transport
        self._provider = provider
        self._clock = clock
        self._heard = False
        self._left = False
        self._bell: asyncio.Future[None] | None = None
        self._counters = counters

    @property
    def left(self) -> bool:
        """Whether somebody has called `leave`."""
        return self._left

    def leave(self) -> None:
        """Wait for nothing any more."""
        self._left = True
        self._ring()

    async def wait(self, seconds: float) -> None:
        """Let so many seconds pass.

        Raises:
            Left: nobody waits any more.
        """
        if not self._left and seconds > 0:
            self._bell = asyncio.get_running_loop().create_future()
            timer = self._clock.call_at(self._clock.time() + seconds, self._ring)
            try:
                await self._bell
            finally:
                timer.cancel()
        if self._left:
            raise Left

    async def wait_out(self, error: RequestError, seconds: float) -> None:
        """As `wait`, since the provider cannot be asked just now."""
        self._counters.standing = f"{self._provider.name}, which cannot be asked just now: {error.message}"
        try:
            await self.wait(seconds)
        finally:
            self._counters.standing = ""

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def once(self, steps: Steps[T]) -> T:
        """What steps come to, each call sent once.

        Raises:
            Left: nobody waits any more.
            RequestError: one of them was refused, or what became of it is not known.
        """
        try:
            call = next(steps)
            while True:
                if isinstance(call, LaterCall):
                    await self.wait(call.wait)
                reply = await self._transport.send(call, _TIMEOUT)
                self._heard = True
                call = steps.send(reply)
        except StopIteration as over:
            result: T = over.value
            return result

    async def patiently(self, steps: Callable[[], Steps[T]]) -> T:
        """What steps come to that may be taken again and again, with growing waits.

        Raises:
            Left: nobody waits any more.
            RunStopped: going on is no use.
            RequestError: what was asked is refused.
        """
        patience = Patience(self)
        while True:
            try:
                return await self.once(steps())
            except RequestError as error:
                await patience.after(error)

    async def download(self, call: HTTPCall, write: Callable[[bytes], object]) -> None:
        """Hand a reply of any size to `write`, piece by piece.

        Raises:
            RequestError: it is an error, or broke off.
        """
        async with self._transport.stream(call, _DOWNLOAD) as stream:
            if stream.status == 200:
                async for piece in stream:
                    write(piece)
                return
            body = b""
            async for piece in stream:
                body += piece
                if len(body) > _ERROR:
                    break
            error = self._provider.parse(HTTPReply(stream.status, stream.headers, body)).error
        raise error or RequestError(f"the results came with status {stream.status}", status=stream.status)

    def never_heard(self) -> bool:
        """Whether no reply has come from the endpoint so far."""
        return not self._heard


class Patience:
    """Growing waits between tries of the same thing."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._next = _LEAST
        self._waited = 0.0

    async def after(self, error: RequestError) -> None:
        """Wait, if trying again can help.

        Raises:
            Left: nobody waits any more.
            RunStopped: every other call would fail in the same way, or nobody ever answered.
            RequestError: `error`, where trying again does not help.
        """
        caller = self._caller
        if error.stops_run or (caller.never_heard() and self._waited > _FIRST):
            said = error.message.removesuffix(".")
            cure = error.cure or "Run again to go on."
            raise RunStopped(f"Stopped: {said}. Batches that were submitted go on. {cure}", cause=error)
        if not error.retriable:
            raise error
        wait = max(self._next, error.retry_after or 0.0)
        self._next = min(_MOST, 2 * self._next)
        self._waited += wait
        await caller.wait_out(error, wait)
