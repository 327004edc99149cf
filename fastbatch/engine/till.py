"""A run's part in its manager's cap: the worst case of each request is set aside before it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import GateShut
from fastbatch.engine.job import Job
from fastbatch.engine.purse import OutOfMoney, Purse
from fastbatch.engine.tariff import Tariff
from fastbatch.errors import ConnectionLost, InvalidRequest, RunStopped
from fastbatch.models.money import dollars
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.stats import Bill

ResponseT = TypeVar("ResponseT")

# Seconds: other processes settle without ringing here.
_LOOK_AGAIN = 0.25
# A run whose next rows do not fit into what is left goes on with smaller ones until the cap is as good as
# used up, or so many rows in all were left open.
ASIDE = 1000


class NoMoney(Exception):
    """What is left of the cap is less than a request may cost; nothing was sent. Word to the sender."""


class _Waiting(NamedTuple):
    job: Job[Any]
    turn: asyncio.Future[None]


class Till(Generic[ResponseT]):
    """Sets money aside before requests are sent, and settles what they took, in one run and one loop.

    Args:
        tariff: says what requests may cost.
        purse: the cap; None where there is none.
        aside: so many rows that do not fit into what is left end the run.

    Attributes:
        price: what an answer cost, by the tariff.
        before: pico-dollars that the purse had spent when the run began.
        charged: those that the run has taken out of it: what was spent, or may have been.
        held: those that it has set aside.
    """

    def __init__(
        self,
        tariff: Tariff[ResponseT],
        *,
        counters: Counters,
        clock: Clock,
        purse: Purse | None = None,
        aside: int = ASIDE,
    ) -> None:
        self._tariff = tariff
        self._counters = counters
        self._clock = clock
        self._purse = purse
        self._waiting: deque[_Waiting] = deque()
        self._timer: Timer | None = None
        self._aside = 0
        self._most_aside = aside
        self._least = 0  # of what did not fit
        self._shut = False
        self.price = tariff.price
        self.worst = tariff.worst
        self.before = 0 if purse is None else purse.look().spent
        self.charged = self.held = 0

    @property
    def capped(self) -> bool:
        """Whether there is a cap, or models may be refused."""
        return self._purse is not None or self._tariff.unpriced == "deny"

    def bill(self) -> Bill:
        """What the run has cost so far."""
        counters = self._counters
        look = None if self._purse is None else self._purse.look()
        return Bill(
            cost=dollars(counters.cost),
            unpriced=counters.unpriced,
            doubtful=dollars(counters.doubtful),
            doubts=counters.doubts,
            untold=min(counters.untold, counters.unpriced),
            lacking=tuple(counters.lacking),
            budget=None if look is None else dollars(look.limit),
            used=dollars(0 if look is None else look.spent),
            before=dollars(self.before),
            prices=self._tariff.stamps,
        )

    def try_hold(self, job: Job[ResponseT]) -> bool:
        """Set the worst case of a job aside, where there is money for it and nobody waits.

        Raises:
            InvalidRequest: as `worst`.
        """
        return not self._waiting and self._hold(job, self.worst(job))

    def hold_first(self, jobs: Sequence[Job[ResponseT]]) -> int:
        """Set the worst case of as many jobs aside, the first of them first, as there is money for; how many.

        One that is refused ends it, as does one that has to wait: whoever sends it alone finds out.
        """
        for count, job in enumerate(jobs):
            try:
                if not self.try_hold(job):
                    return count
            except InvalidRequest:
                return count
        return len(jobs)

    async def hold(self, job: Job[ResponseT]) -> None:
        """Set the worst case of a job aside; waits while what is on its way may leave enough.

        Raises:
            NoMoney: it does not fit into what is left.
            GateShut: the run sends nothing more.
            InvalidRequest: as `worst`.
        """
        if self.try_hold(job):
            return
        if self._shut:
            raise GateShut
        assert self._purse is not None
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(job, turn))
        self._purse.stand(turn, partial(loop.call_soon_threadsafe, self.look))
        self.look()
        try:
            await turn
        except asyncio.CancelledError:
            self._purse.leave(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(job)
            raise

    def falls_short(self, job: Job[ResponseT]) -> bool:
        """Whether prices have risen since a job's worst case was set aside, so that it would not do now."""
        return self._purse is not None and job.held < self._tariff.guess(job)

    def hold_again(self, job: Job[ResponseT]) -> bool:
        """Set a worst case aside once more, for a straggler's second request."""
        if self._purse is None or not job.held:
            return True
        worst = max(job.held, self._tariff.guess(job))
        if self._waiting or not self._purse.hold(worst):
            return False
        job.held_twice = worst
        self.held += worst
        return True

    def give_up(self, job: Job[ResponseT], *, billed: bool) -> None:
        """Of a straggler's two requests one does not count; `billed`: it may be on the bill all the same."""
        held, job.held_twice = job.held_twice, 0
        self.held -= held
        if billed:
            self._counters.doubts += 1
            self._counters.doubtful += held or self._tariff.guess(job)
        if self._purse is not None and held:
            if billed:
                self._purse.doubt(held)
                self.charged += held
            else:
                self._purse.release(held)
            self.look()

    def settle(self, job: Job[ResponseT], outcome: ResponseWrapper[Any]) -> None:
        """A request has been sent and its end is known, judged by its `error` and what it cost."""
        error, cost = outcome.error, outcome.picos
        if error is not None and not cost:
            if error.maybe_billed:
                # One whose kept connection was closed before it is hardly billed: the cap goes by the worst.
                self.doubt(job, told=not (isinstance(error, ConnectionLost) and error.stale))
            else:
                self.release(job)
            return
        held = self._taken(job)
        if self._purse is not None:
            if cost is None:
                # What has no price, or came without tokens, counts at its worst; where such may count for
                # nothing, at that of the model that it is by now.
                cost = min(held, self._tariff.guess(job)) if self._tariff.unpriced == "allow" else held
            self._purse.settle(held, cost)
            self.charged += cost
            self.look()

    def doubt(self, job: Job[ResponseT], *, told: bool = True) -> None:
        """A request was sent, and nobody will say whether it was billed; `told` has the bill say so."""
        if told:
            self._counters.doubts += 1
            self._counters.doubtful += job.held or self._tariff.guess(job)
        held = self._taken(job)
        if self._purse is not None and held:
            self._purse.doubt(held)
            self.charged += held
            self.look()

    def release(self, job: Job[ResponseT]) -> None:
        """Nothing was sent, or nothing of it costs."""
        held = self._taken(job)
        if self._purse is not None and held:
            self._purse.release(held)
            self.look()

    def aside(self, job: Job[ResponseT]) -> RunStopped | None:
        """A row is left open for want of money; the word that ends the run, where that is all there is."""
        assert self._purse is not None
        self._aside += 1
        try:
            worst = self.worst(job)
        except InvalidRequest:  # its deployment has turned out to be a model without a price
            worst = self._least
        self._least = min(self._least or worst, worst)
        used_up = self._purse.look().used_up
        return self.verdict() if used_up or self._aside >= self._most_aside else None

    def verdict(self) -> RunStopped | None:
        """Why a run has ended that left rows open for want of money; None where it left none."""
        if not self._aside or self._purse is None:
            return None
        return OutOfMoney(self._purse, self._least)

    def shut(self) -> None:
        """Send away everybody who waits."""
        self._shut = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            turn = self._waiting.popleft().turn
            if self._purse is not None:
                self._purse.leave(turn)
            if not turn.done():
                turn.set_exception(GateShut())

    def _taken(self, job: Job[ResponseT]) -> int:
        held = job.held
        job.held = 0
        self.held -= held
        return held

    def _hold(self, job: Job[ResponseT], worst: int, turn: asyncio.Future[None] | None = None) -> bool:
        if self._purse is not None and worst and not self._purse.hold(worst, turn):
            return False
        job.held = worst
        self.held += worst
        return True

    def look(self) -> None:
        """Let through whoever there is money for, in their order."""
        purse, waiting = self._purse, self._waiting
        while waiting and purse is not None:
            job, turn = waiting[0]
            if not turn.done():
                try:
                    worst = self.worst(job)  # prices may have changed
                except InvalidRequest as refused:
                    turn.set_exception(refused)
                else:
                    if self._hold(job, worst, turn):
                        turn.set_result(None)
                    elif purse.fits_later(worst):
                        break
                    else:
                        turn.set_exception(NoMoney())
            waiting.popleft()
            purse.leave(turn)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting:
            self._timer = self._clock.call_at(self._clock.time() + _LOOK_AGAIN, self.look)
