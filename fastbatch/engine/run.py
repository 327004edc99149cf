"""One run: a window of jobs that slides over a lazily read source, without barriers.

A feeder takes blocks of jobs from the source, answers what the cache knows, lets identical jobs follow the
first of them, and gives the rest to the sender; finished jobs are handed out in blocks, in the order of
completion. Only the feeder ever waits for room, so nothing here can deadlock, and what is alive
at any time (queued, waiting for a retry, in flight, finished but not taken) is at most the window and one
block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from fastbatch.engine.claimer import Claimer
from fastbatch.engine.clock import Clock
from fastbatch.engine.dispatcher import Dispatcher
from fastbatch.engine.events import Counters, Lost
from fastbatch.engine.intake import Batch, Bulk, Candidate, Intake, share
from fastbatch.engine.job import Job
from fastbatch.engine.kept import encode
from fastbatch.engine.pipeline import Pipeline, Witness
from fastbatch.engine.purse import OutOfMoney
from fastbatch.engine.sender import Outcomes, Sender
from fastbatch.engine.store import AnswerStore
from fastbatch.engine.till import Till
from fastbatch.models.response import Usage
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")

_WRITING = 4 * 1024 * 1024  # bytes of kept answers that may wait for the recorder
PATIENCE = 300.0  # seconds; a process that answers nothing for so long is stopped, or as good as


class Recorder(Witness, Protocol):
    """Makes outcomes durable; one that is not written has not happened."""

    def start(
        self, recorded: Callable[[Sequence[Job[Any] | Batch]], None], failed: Callable[[Exception], None]
    ) -> None:
        """Begin: `recorded` is given what is safe, `failed` is told once that nothing can be."""
        ...

    def record(self, job: Job[Any]) -> None:
        """Write down a job's outcome."""
        ...

    def record_answers(self, jobs: Sequence[Job[Any]]) -> None:
        """Write down what the provider has answered to each of these."""
        ...

    async def flush(self) -> None:
        """Return when everything is written, or nothing can be."""
        ...


class Run(Generic[ResponseT]):
    """Moves the jobs of `source` through `pipeline`; used once, in one loop.

    Candidates that a kept answer is found for never become jobs: they go to the recorder in blocks, are
    counted when it has written them, and are handed out to nobody.

    Args:
        source: blocks of jobs, read only as there is room. A job that arrives with an outcome is finished.
            Candidates come only where there are `bulk`, for what is done with them, and a recorder.
        remembers: as `Intake` says.
        dispatcher: sends what has nothing to wait for; None where everything is the pipeline's.
        fallback: writes on a job what is asked of the fallback it has moved to, and says which that is; None
            where there is none.
        till: prices answers that come with a job, and says when there is no money for the next.
        recorder: what finishes a job: its outcome counts, and is handed out, when it is written down.
        patience: seconds to wait for other processes that hold the same requests and answer none of them.
        room: bytes of rows that may be under way; always one block at least.
        crowded: told once, how many rows are under way, where that keeps more from being in flight.
    """

    def __init__(
        self,
        source: AsyncIterator[Sequence[Job[ResponseT] | Candidate]],
        *,
        pipeline: Pipeline[ResponseT],
        provider: Provider[ResponseT],
        store: AnswerStore,
        remembers: bool,
        counters: Counters,
        clock: Clock,
        concurrency: int,
        bulk: Bulk[ResponseT] | None = None,
        dispatcher: Dispatcher[ResponseT] | None = None,
        fallback: Callable[[Job[ResponseT]], Provider[ResponseT]] | None = None,
        till: Till[ResponseT],
        recorder: Recorder | None = None,
        patience: float = PATIENCE,
        room: float = inf,
        crowded: Callable[[int], None] | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._intake = Intake(store, provider, remembers=remembers, bulk=bulk)
        self._bulk = bulk
        self._provider = provider.name
        self._counters = counters
        self._concurrency = concurrency
        self._fallback = fallback
        self._till = till
        self._recorder = recorder
        self._crowded = crowded
        self._window = 2 * concurrency + 64
        self._room_for = room
        self._alive = 0  # admitted and not handed out
        self._size = 0  # bytes of these
        self._unfinished = 0  # admitted and without an outcome
        self._writing = 0  # bytes of kept answers that the recorder has
        self._finished: list[Job[ResponseT]] = []
        self._taker: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._feeding = True
        self._feeder: asyncio.Task[None] | None = None
        self._draining = False
        self._failure: BaseException | None = None
        self._broken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: Sender[ResponseT] = Sender(
            pipeline,
            Outcomes(
                self._answered, self._give_up, self._fail, self._break, self._unaffordable, self._readdressed
            ),
            dispatcher=dispatcher,
            counters=counters,
            clock=clock,
            concurrency=concurrency,
            spawn=self._spawn,
        )
        self._claimer: Claimer[ResponseT] = Claimer(
            store,
            counters,
            clock,
            workers=concurrency,
            patience=patience,
            ready=self._sender.ready,
            send=self._sender.send,
            answer=self._answer_with,
            spawn=self._spawn,
        )

    async def blocks(self) -> AsyncGenerator[list[Job[ResponseT]], None]:
        """Finished jobs in blocks as they come; closing the generator ends everything that runs for it.

        Raises:
            RunStopped: the run cannot go on; jobs in flight have finished and been handed out before.
            Exception: whatever the source raised, after the same.
        """
        if self._recorder is not None:
            self._recorder.start(self._recorded, self._break)
        self._sender.start(self._claimer.fill)
        self._feeder = self._spawn(self._feed())
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._finished:
                    block, self._finished = self._finished, []
                    self._alive -= len(block)
                    self._size -= sum([job.size for job in block])
                    _ring(self._room)
                    yield block
                elif self._failure is not None and (self._unfinished == 0 or self._broken):
                    raise self._failure.now() if isinstance(self._failure, OutOfMoney) else self._failure
                elif not self._feeding and self._unfinished == 0:
                    if not self._draining and (over := self._till.verdict()) is not None:
                        raise over
                    break
                else:
                    self._taker = loop.create_future()
                    await self._taker
        finally:
            await self._close()

    def drain(self) -> None:
        """Start nothing more: what is in flight is finished and handed out, then `blocks` ends."""
        if self._draining:
            return
        self._draining = True
        for job in [*self._sender.drain(), *self._claimer.drop()]:
            self._give_up(job)
        if self._intake.looking and self._feeder is not None:
            self._feeder.cancel()
        _ring(self._room)
        _ring(self._taker)

    def stop(self, error: Exception) -> None:
        """End the run with an error from outside; what is in flight is finished and handed out."""
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        """The run ends with its first error, which is noted before whoever takes the results is woken."""
        if self._failure is None:
            self._failure = error
        self.drain()
        _ring(self._taker)

    async def _feed(self) -> None:
        try:
            async for block in self._source:
                rest = block
                while rest and not self._draining:
                    part, rest = rest[: self._intake.portion], rest[self._intake.portion :]
                    await self._admit(part)
                    while not self._draining and self._full():
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
                if self._draining:
                    break
        except Exception as error:  # noqa: BLE001  (the caller's source may raise anything; the run raises it)
            self._fail(error)
        finally:
            self._feeding = False
            _ring(self._taker)

    def _full(self) -> bool:
        """Whether there is no room for another block."""
        if self._alive >= self._window or self._writing > _WRITING:
            return True
        if self._size < self._room_for:
            return False
        if self._alive < self._concurrency and self._crowded is not None:
            self._crowded(self._alive)
            self._crowded = None
        return True

    async def _admit(self, block: Sequence[Job[ResponseT] | Candidate]) -> None:
        """Take a block in: finished, cached, following, or queued."""
        found = await self._intake.look(block)
        if self._draining:
            return
        finished, fresh, kept = self._intake.sort(block, found)
        self._alive += len(block) - len(kept)
        if len(kept) < len(block):
            self._size += sum([item.size for item in block]) - sum([row.size for row, _ in kept])
        self._unfinished += len(block)
        if kept:
            assert self._bulk is not None
            cached = self._intake.remembers
            self._writing += self._bulk.record(kept, provider=self._provider, cached=cached).size
        for job in finished:
            self._finish(job)
        for job in fresh:
            self._claimer.add(job)
        self._claimer.fill()

    def _answered(self, jobs: list[Job[ResponseT]]) -> None:
        """Jobs have their outcomes; answers that nothing follows are kept and written together."""
        if len(jobs) == 1:
            self._answer(jobs[0])
            return
        plain: list[Job[ResponseT]] = []
        others: list[Job[ResponseT]] = []
        values: dict[str, bytes] = {}
        for job in jobs:
            outcome = job.outcome
            assert outcome is not None
            if outcome.error is None and job.followers is None and job.kept_as == job.key:
                plain.append(job)
                values[job.key] = encode(outcome)
            else:
                others.append(job)
        if plain and self._store.put_many(values):
            self._bought(plain)
        else:
            others = jobs
        for job in others:
            self._answer(job, values.get(job.key))

    async def _readdressed(self, job: Job[ResponseT]) -> bool:
        """A job is to be answered by its fallback, which may have answered the like before; else True."""
        assert self._fallback is not None
        provider = self._fallback(job)
        job.outcome = None
        found = await self._store.get_many([job.kept_as])
        value = found.get(job.kept_as)
        if value is not None and self._intake.take(job, value, provider):
            self._lose(job)
            self._answer(job)
        elif self._draining:
            self._give_up(job)
        else:
            return True
        return False

    def _answer(self, job: Job[ResponseT], value: bytes | None = None) -> None:
        """The first job of a key has its outcome: so have its followers; `value` is what is kept of it."""
        outcome = job.outcome
        assert outcome is not None
        bought = outcome.error is None and not outcome.cached
        kept = False
        if bought:
            kept = self._store.put(job.kept_as, value or encode(outcome))
            job.size += len(outcome.raw)  # until somebody takes it
            self._size += len(outcome.raw)
        if not bought or job.kept_as != job.key:
            self._store.release((job.key,))
        if not kept or job.kept_as != job.key:
            self._intake.answered(job)
        followers, job.followers = job.followers, None
        self._finish(job)
        for follower in followers or ():
            share(outcome, follower)
            self._finish(follower)

    def _bought(self, jobs: Sequence[Job[ResponseT]]) -> None:
        """As `_answer`, for answers that nothing follows and that the store has taken."""
        for job in jobs:
            outcome = job.outcome
            assert outcome is not None
            size = len(outcome.raw)
            job.size += size
            self._size += size
        if self._recorder is None:
            self._hand_out(jobs)
        else:
            self._recorder.record_answers(jobs)

    def _answer_with(self, job: Job[ResponseT], value: bytes) -> bool:
        """Another process has stored the answer to the first job of a key; whether it is one."""
        if not self._intake.take(job, value):
            return False
        self._answer(job)
        return True

    def _lose(self, job: Job[ResponseT]) -> None:
        """Count answers that a row has had for nothing: none of them is its outcome."""
        if job.paid == 0 and not job.reasks:
            return
        self._counters.lose(Lost(job.paid or 0, job.paid is None, *(job.spent if job.reasks else Usage())))
        job.paid = 0
        if job.reasks:
            job.spent, job.reasks = Usage(), 0

    def _give_up(self, job: Job[ResponseT]) -> None:
        """The job stays open for another run, and so do its followers."""
        self._store.release((job.key,))
        self._lose(job)
        followers = job.followers or ()
        lost = 1 + len(followers)
        self._alive -= lost
        self._size -= job.size + sum([follower.size for follower in followers])
        self._unfinished -= lost
        _ring(self._taker)

    def _unaffordable(self, job: Job[ResponseT]) -> None:
        """What is left of the budget is less than the job may cost: smaller ones may still be sent."""
        self._give_up(job)
        if (over := self._till.aside(job)) is not None:
            self._fail(over)

    def _finish(self, job: Job[ResponseT]) -> None:
        """A job has its outcome: have it written down first, where somebody does that."""
        if self._recorder is None or (job.outcome is not None and job.outcome.recorded):
            self._hand_out((job,))
        else:
            self._recorder.record(job)

    def _recorded(self, done: Sequence[Job[ResponseT] | Batch]) -> None:
        jobs: list[Job[ResponseT]] = []
        for item in done:
            if isinstance(item, Batch):
                self._count(item)
            else:
                jobs.append(item)
        if jobs:
            self._hand_out(jobs)

    def _count(self, batch: Batch) -> None:
        """Kept answers are on record, and there is nothing more to do with them."""
        self._counters.ok += batch.rows
        if self._intake.remembers:
            self._counters.cached += batch.rows
        else:
            self._counters.shared += batch.rows
        self._unfinished -= batch.rows
        self._writing -= batch.size
        _ring(self._room)
        _ring(self._taker)

    def _hand_out(self, jobs: Sequence[Job[ResponseT]]) -> None:
        """Count jobs and put them where they will be taken."""
        counters = self._counters
        ok = cached = shared = 0
        bought: list[Usage] = []
        cost = 0
        for job in jobs:
            outcome = job.outcome
            assert outcome is not None
            if outcome.error is not None:
                counters.fail(outcome.error)
                if outcome.shared or outcome.cached:
                    continue
                if outcome.error.answered or job.reasks:
                    bought.append(outcome.tokens)
                if outcome.picos is None:
                    counters.unpriced += 1
                else:
                    cost += outcome.picos
            elif outcome.recorded:
                counters.skipped += 1
            else:
                ok += 1
                if job.group:
                    counters.fallbacks += 1
                if outcome.cached:
                    cached += 1
                elif outcome.shared:
                    shared += 1
                else:
                    bought.append(outcome.tokens)
                    if outcome.picos is None:
                        counters.unpriced += 1
                    else:
                        cost += outcome.picos
        counters.cost += cost
        counters.ok += ok
        counters.cached += cached
        counters.shared += shared
        if bought:
            prompt, cached_prompt, completion, reasoning = map(sum, zip(*bought, strict=True))
            counters.prompt_tokens += prompt
            counters.cached_tokens += cached_prompt
            counters.completion_tokens += completion
            counters.reasoning_tokens += reasoning
        self._unfinished -= len(jobs)
        self._finished += jobs
        _ring(self._taker)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that broke in our own code takes the run with it at once: its counts may be wrong."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """The run ends at once; what is in flight is not waited for."""
        if self._failure is None or not self._broken:
            self._failure = error
        self._broken = True
        self.drain()
        _ring(self._taker)

    async def _close(self) -> None:
        self._draining = True
        self._sender.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # answers that were paid for are kept, even when nobody waits any more
            try:
                if self._recorder is not None:
                    await self._recorder.flush()
            finally:
                try:
                    await self._store.flush()
                finally:
                    self._store.release_all()
                    if isinstance(self._source, AsyncGenerator):
                        await self._source.aclose()


def _ring(bell: asyncio.Future[None] | None) -> None:
    if bell is not None and not bell.done():
        bell.set_result(None)
