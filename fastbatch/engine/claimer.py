"""Rows that the cache does not hold, on their way to being sent: each is claimed first, so that of several
processes that share a cache one asks.

Claimed is in blocks and only a little ahead of the workers: what one process would hold for long, the others
could be asking meanwhile. A row that another process is asking waits here, without a task of its own, until
its answer is in the cache, or until nobody is asking any more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.events import Counters
from fastbatch.engine.job import Job
from fastbatch.engine.store import AnswerStore

ResponseT = TypeVar("ResponseT")

logger = logging.getLogger(__name__)

_AGAIN = 0.1  # seconds between two looks at what others are asking; a look is a microsecond a row
_BLOCK = 256  # rows claimed at once; the loop stands still meanwhile, for a millisecond at most
# A claim is a lookup, too: where several in a row last less than so many seconds, more is claimed at once.
_SOON, _TIMES = 0.05, 4


class Claimer(Generic[ResponseT]):
    """Takes rows in, and hands each one out once: to be sent, or with the answer another process bought.

    Args:
        workers: how many rows may be under way; from half of it to all of it is claimed ahead, and more where
            that does not last.
        patience: seconds of waiting in which not one of the rows that others are asking was answered or let
            go of; after that whoever holds them is taken to be stopped, and they are sent from here too.
        ready: how many rows are claimed and wait for a worker.
        send: takes a row that is to be sent.
        answer: takes a row with its kept answer; False when that is none, and the row is to be sent.
        spawn: runs a coroutine beside the run, which ends when it breaks.
    """

    def __init__(
        self,
        store: AnswerStore,
        counters: Counters,
        clock: Clock,
        *,
        workers: int,
        patience: float,
        ready: Callable[[], int],
        send: Callable[[Job[ResponseT]], None],
        answer: Callable[[Job[ResponseT], bytes], bool],
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._store = store
        self._counters = counters
        self._clock = clock
        self._least = self._most = max(workers, 2)
        self._claimed_at = float("-inf")
        self._soon = 0  # claims in a row that came so soon behind the one before
        self._patience = patience
        self._ready = ready
        self._send = send
        self._answer = answer
        self._spawn = spawn
        self._line: deque[Job[ResponseT]] = deque()  # not in the cache when they came
        self._block: Sequence[Job[ResponseT]] = ()  # being claimed and looked up at this moment
        self._waiting: list[Job[ResponseT]] = []  # asked by another process
        self._due = False  # to look at them again
        self._timer: Timer | None = None
        self._looks = 0  # since one of them came to something
        self._claiming = False
        self._said = False
        self._dropped = False

    def add(self, job: Job[ResponseT]) -> None:
        """Take in a row that the cache does not hold; `fill` follows."""
        if self._store.claims:
            self._line.append(job)
        else:
            self._send(job)

    def fill(self) -> None:
        """Claim more, if the workers will soon be in want of it."""
        if self._line and not self._claiming and self._ready() < self._most // 2:
            self._claiming = True
            now = self._clock.time()
            self._soon = self._soon + 1 if now - self._claimed_at < _SOON else 0
            self._claimed_at = now
            if self._soon >= _TIMES:
                self._most = min(2 * self._most, max(self._least, _BLOCK))
            elif not self._soon:
                self._most = max(self._most // 2, self._least)
            self._spawn(self._claim())

    def drop(self) -> list[Job[Any]]:
        """Forget all rows, which are returned; nothing comes out any more."""
        self._dropped = True
        dropped = [*self._line, *self._block, *self._waiting]
        self._line.clear()
        self._block = ()
        self._waiting = []
        self._counters.elsewhere = 0
        if self._timer is not None:
            self._timer.cancel()
        return dropped

    async def _claim(self) -> None:
        while not self._dropped:
            if self._due:
                self._due = False
                await self._look_again()
            elif self._line and (room := self._most - self._ready()) > 0:
                line = self._line
                await self._hand_out([line.popleft() for _ in range(min(room, _BLOCK, len(line)))])
            else:
                break
        self._claiming = False
        if self._waiting and self._timer is None:
            self._timer = self._clock.call_at(self._clock.time() + _AGAIN, self._again)

    def _again(self) -> None:
        self._timer = None
        self._due = True
        if not self._claiming:
            self._claiming = True
            self._spawn(self._claim())

    async def _look_again(self) -> None:
        """Whatever waits is tried once more, in turn; what is still held waits on."""
        before = left = len(self._waiting)
        while left > 0 and not self._dropped:
            block, self._waiting = self._waiting[:_BLOCK], self._waiting[_BLOCK:]
            self._counters.elsewhere -= len(block)
            left -= len(block)
            await self._hand_out(block)
        if self._dropped:
            return
        # Looks are counted, not seconds: of the time in which this process was stopped itself nobody knows
        # what the others did.
        self._looks = self._looks + 1 if len(self._waiting) == before else 0
        if self._looks * _AGAIN >= self._patience:
            self._lose_patience()

    async def _hand_out(self, block: Sequence[Job[ResponseT]]) -> None:
        """Claim a block, and hand out what is ours to send and what is stored by now; the rest waits."""
        self._block = block
        claimed = await self._store.claim([job.key for job in block])
        self._block = ()
        if self._dropped:
            return
        for job in block:
            if claimed is None:
                self._send(job)
            elif job.key not in claimed.mine:
                self._waiting.append(job)
                self._counters.elsewhere += 1
            elif (value := claimed.found.get(job.key)) is None or not self._answer(job, value):
                self._send(job)

    def _lose_patience(self) -> None:
        lost, self._waiting, self._looks = self._waiting, [], 0
        self._counters.elsewhere -= len(lost)
        if not self._said:
            self._said = True
            logger.warning(
                "another process has been asking %d identical requests for %g s without one answer; they are"
                " sent from here too",
                len(lost),
                self._patience,
            )
        for job in lost:
            self._send(job)
