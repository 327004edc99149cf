"""From ready to attempted: rows leave in batches where nothing has to wait, and else by workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Generic, NamedTuple, TypeVar

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.dispatcher import Dispatcher
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import GateShut
from fastbatch.engine.job import Job
from fastbatch.engine.pipeline import Pipeline
from fastbatch.engine.till import NoMoney
from fastbatch.engine.verdict import ASK_AGAIN, AT_ONCE, ELSEWHERE, LEFT_OPEN, stopped
from fastbatch.retry import RetryDecision

ResponseT = TypeVar("ResponseT")


class Outcomes(NamedTuple, Generic[ResponseT]):
    """Who hears what became of the rows that were sent."""

    answered: Callable[[list[Job[ResponseT]]], None]
    """These have their outcome, an answer or an error."""
    given_up: Callable[[Job[ResponseT]], None]
    """The row stays open for another run."""
    failed: Callable[[Exception], None]
    """The run cannot go on; what is under way is finished."""
    broke: Callable[[Exception], None]
    """An error of our own: the run ends at once."""
    unaffordable: Callable[[Job[ResponseT]], None]
    """The row stays open, since it may cost more than what is left of the budget."""
    readdressed: Callable[[Job[ResponseT]], Awaitable[bool]]
    """The row is to be answered by its fallback; whether it is to be sent there."""


class Sender(Generic[ResponseT]):
    """Has at most `concurrency` rows under way; each that comes in comes out at `outcomes` once.

    Args:
        dispatcher: sends what has nothing to wait for; None where everything is the workers'.
        spawn: runs a coroutine beside the run, which ends when it breaks.
    """

    def __init__(
        self,
        pipeline: Pipeline[ResponseT],
        outcomes: Outcomes[ResponseT],
        *,
        dispatcher: Dispatcher[ResponseT] | None,
        counters: Counters,
        clock: Clock,
        concurrency: int,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._dispatcher = dispatcher
        self._counters = counters
        self._clock = clock
        self._concurrency = concurrency
        self._spawn = spawn
        self._ready: deque[Job[ResponseT]] = deque()
        # What workers take: all that is ready, or what the dispatcher leaves to them.
        self._left: deque[Job[ResponseT]] = self._ready if dispatcher is None else deque()
        self._later: dict[Job[ResponseT], Timer] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        self._workers = 0
        self._busy = 0  # workers that have a job
        self._soon = False  # what is ready will be looked at in the next turn of the loop
        self._draining = False

    def start(self, taken: Callable[[], None]) -> None:
        """Begin; `taken` is called when rows have left the queue, which may be in want of more."""
        self._taken = taken
        if self._dispatcher is not None:
            self._dispatcher.start(concluded=self._concluded, broke=self._broke)

    def ready(self) -> int:
        """How many wait to be taken."""
        return len(self._ready)

    def send(self, job: Job[ResponseT]) -> None:
        """Send a row when there is room."""
        self._ready.append(job)
        self._go()

    def drain(self) -> list[Job[ResponseT]]:
        """Send nothing more; the rows that nobody has begun with."""
        self._draining = True
        waiting = self._ready if self._left is self._ready else [*self._left, *self._ready]
        dropped = [*waiting, *self._later]
        for timer in self._later.values():
            timer.cancel()
        self._ready.clear()
        self._left.clear()
        self._later.clear()
        self._counters.waiting = 0
        self._pipeline.shut()
        return dropped

    def close(self) -> None:
        """Give up what was dispatched; workers are cancelled by whoever has spawned them."""
        self._draining = True
        if self._dispatcher is not None:
            self._dispatcher.close()
        for timer in self._later.values():
            timer.cancel()

    async def _work(self) -> None:
        while not self._draining:
            if not self._left:
                bell = asyncio.get_running_loop().create_future()
                self._idle.append(bell)
                await bell
                continue
            job = self._left.popleft()
            self._taken()
            self._busy += 1
            try:
                decision = await self._pipeline.attempt(job)
            except GateShut:
                self._outcomes.given_up(job)
                return
            except NoMoney:
                self._outcomes.unaffordable(job)
                decision = LEFT_OPEN
            except Exception as error:  # noqa: BLE001  (a service or a foreign provider; the run raises it)
                self._outcomes.failed(error)
                self._outcomes.given_up(job)
                return
            finally:
                self._busy -= 1
            if decision is LEFT_OPEN:
                pass
            elif decision is ELSEWHERE and not self._draining:
                if await self._outcomes.readdressed(job):
                    self._ready.appendleft(job)
                    self._go()
            else:
                self._conclude(job, decision)
            self._send_ready()

    def _go(self) -> None:
        """Something is ready: a worker takes it, or it leaves with all that this turn of the loop brings."""
        if self._dispatcher is None:
            self._call_worker()
        elif not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._send_ready)

    def _send_ready(self) -> None:
        """Dispatch what has nothing to wait for; workers take the others, while there is room in flight."""
        self._soon = False
        dispatcher = self._dispatcher
        if dispatcher is None or self._draining or not self._ready:
            return
        room = self._concurrency - self._busy - dispatcher.under_way - len(self._left)
        if room <= 0:
            return
        try:
            if not self._left:  # they came first
                room -= dispatcher.take(self._ready, room)
        except Exception as error:  # noqa: BLE001  (a foreign provider; the run raises it)
            self._outcomes.failed(error)
            return
        for _ in range(min(room, len(self._ready))):
            self._left.append(self._ready.popleft())
            self._call_worker()
        self._taken()

    def _call_worker(self) -> None:
        """Wake an idle worker, or start one while there may be more."""
        while self._idle:
            bell = self._idle.popleft()
            if not bell.done():
                bell.set_result(None)
                return
        if self._workers < self._concurrency:
            self._workers += 1
            self._spawn(self._work())

    def _concluded(
        self, done: list[Job[ResponseT]], undone: list[tuple[Job[ResponseT], RetryDecision]]
    ) -> None:
        """What was dispatched has come back."""
        if done:
            self._outcomes.answered(done)
        for job, decision in undone:
            self._conclude(job, decision)
        self._send_ready()

    def _broke(self, error: Exception, job: Job[ResponseT] | None) -> None:
        """The dispatcher met an error that is no request's."""
        if job is None:
            self._outcomes.broke(error)
        else:
            self._outcomes.failed(error)
            self._outcomes.given_up(job)

    def _conclude(self, job: Job[ResponseT], decision: RetryDecision | None) -> None:
        """An attempt is over."""
        if decision is None:
            self._outcomes.answered([job])
        elif decision.action == "retry" and not self._draining:
            self._send_later(job, decision)
        else:
            if decision.action == "stop":
                error = job.outcome.error if job.outcome is not None else None
                self._outcomes.failed(stopped(error, decision))
            self._outcomes.given_up(job)

    def _send_later(self, job: Job[ResponseT], decision: RetryDecision) -> None:
        job.outcome = None
        if decision.wait:
            self._counters.waiting += 1
            self._later[job] = self._clock.call_at(self._clock.time() + decision.wait, self._send_again, job)
            return
        if decision.pause or decision in (AT_ONCE, ASK_AGAIN):  # it waits at the gate, if at all
            self._ready.appendleft(job)
        else:  # in an outage each probe is another row
            self._ready.append(job)
        self._go()

    def _send_again(self, job: Job[ResponseT]) -> None:
        del self._later[job]
        self._counters.waiting -= 1
        self._ready.appendleft(job)
        self._go()
