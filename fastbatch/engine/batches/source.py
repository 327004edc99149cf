"""The transformer: rows go in, and come out with the answers that a provider's batches gave them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from fastbatch.cache.base import CacheProvider
from fastbatch.engine.batches.batch import Batch, WaitingRows
from fastbatch.engine.batches.caller import Caller, Left
from fastbatch.engine.batches.coffer import Coffer
from fastbatch.engine.batches.desk import Desk
from fastbatch.engine.batches.filling import Filling
from fastbatch.engine.batches.outcomes import ROUNDS, Outcomes, Verdict
from fastbatch.engine.batches.rowlines import Waiting
from fastbatch.engine.batches.shelf import Shelf
from fastbatch.engine.clock import Clock
from fastbatch.engine.events import Counters
from fastbatch.engine.inputfile import Row
from fastbatch.engine.intake import Bulk, Candidate
from fastbatch.engine.job import Job
from fastbatch.engine.kept import encode, unpack
from fastbatch.engine.looked import Known
from fastbatch.errors import RunStopped
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.batches import ENQUEUED_TOKENS, BatchStatus

ResponseT = TypeVar("ResponseT")

_OFTEN, _SELDOM = 2.0, 60.0  # seconds between two looks
_PART = 0.1  # of the time since the newest batch was submitted, until the next look
_WORTH = 60.0  # seconds that a batch must have before it would be cancelled
_CROWDED = 300.0  # seconds until a batch is tried again for which there was no room, if none of ours ends
_HOPELESS = 8  # batches refused in a row, each as a whole: it is no single line's fault
_BLOCK = 128  # jobs handed on at once, each with its answer


@dataclass(frozen=True, slots=True)
class Parts(Generic[ResponseT]):
    """What the transformer is made of.

    Attributes:
        bulk: makes jobs of rows.
        outcomes: says what results mean.
        coffer: sets money aside under a budget.
        tell: shows people a sentence.
        partial: there may be more rows than these: answers that no row waits for are another run's.
        late: when, by the clock, batches are cancelled and the rest is finished online; None: never.
        tokens: how many may wait at the provider at once; None where it says so itself.
    """

    provider: str
    shelf: Shelf
    filling: Filling
    desk: Desk
    caller: Caller
    bulk: Bulk[ResponseT]
    outcomes: Outcomes[ResponseT]
    coffer: Coffer[ResponseT]
    cache: CacheProvider | None
    clock: Clock
    counters: Counters
    tell: Callable[[str], None]
    partial: bool = False
    late: float | None = None
    tokens: int | None = None


class BatchSource(Generic[ResponseT]):
    """Answers the rows of a run by batch."""

    def __init__(self, parts: Parts[ResponseT]) -> None:
        self._parts = parts
        self._shelf = parts.shelf
        self._desk = parts.desk
        self._filling = parts.filling
        self._counters = parts.counters
        self._online: list[Job[ResponseT]] = []  # no batch can have them
        self._held: list[Batch] = []  # to be submitted, in this order
        self._owners: dict[int, Batch] = {}  # of a job that was handed on, by its index
        self._room_at = 0.0  # when there may be room again
        self._since = parts.clock.time()
        self._said = False
        self._refused = 0  # batches in a row, each as a whole
        self._unwanted = 0
        self._stop: RunStopped | None = None

    async def blocks(
        self, source: AsyncGenerator[Sequence[Job[ResponseT] | Candidate], None]
    ) -> AsyncGenerator[Sequence[Job[ResponseT] | Candidate], None]:
        """The rows of `source`: finished by a batch, as they were, or to be asked online.

        Raises:
            RunStopped: the provider cannot be asked, or refuses.
            StorageError: what is under way could not be written.
        """
        try:
            async with aclosing(source):
                await self._find_lost()
                async for block in source:
                    passed = await self._sorted(block)
                    if passed:
                        yield passed
                    self._held += self._filling.full()
                    await self._submit()
            while True:
                self._held += self._filling.all()
                if not len(self._shelf) and not self._online:
                    break
                await self._submit()
                for jobs in _in_blocks(self._online):
                    yield jobs
                self._online = []
                moved = False
                async with aclosing(self._answers()) as answers:
                    async for jobs in answers:
                        moved = True
                        yield jobs
                if self._stop is not None:
                    raise self._stop
                if not moved and len(self._shelf):
                    await self._wait()
        except Left:
            pass
        else:
            self._say_strays()
        finally:
            self._counters.batches = len(self._submitted())

    def _say_strays(self) -> None:
        """What came back and is of no use."""
        if broken := self._desk.broken:
            self._parts.tell(f"{broken:,} lines of results could not be read; their rows were asked again")
        # Rows that have their record are not read again when a run goes on.
        unwanted = self._unwanted - self._counters.skipped
        if unwanted > 0 and not self._parts.partial:
            self._parts.tell(
                f"{unwanted:,} answers of batches belong to no row any more: the input has changed since"
            )

    def recorded(self, jobs: Sequence[Job[ResponseT]]) -> None:
        """These are on record; a batch all of whose rows are is forgotten."""
        for job in jobs:
            if (batch := self._owners.pop(job.index, None)) is None:
                continue
            outcome = job.outcome
            self._counters.batched += outcome is not None and outcome.mode == "batch" and outcome.ok
            batch.left -= 1
            self._forget_done(batch)

    def leave(self) -> None:
        """Wait for nothing any more; what was submitted goes on at the provider."""
        self._parts.caller.leave()

    def close(self) -> None:
        """The run is over."""
        for batch in self._submitted():
            self._parts.coffer.leave(batch)
        self._shelf.close()

    def clear(self) -> None:
        """And all rows have their record, so that nothing of the batches is needed any more, unless other
        rows may want it.

        Raises:
            StorageError: files could not be removed.
        """
        if not self._parts.partial or not self._shelf.book.open:
            self._shelf.clear()

    # Rows coming in

    async def _sorted(self, block: Sequence[Job[ResponseT] | Candidate]) -> list[Job[ResponseT] | Candidate]:
        """Put into batches what a block holds; returns what is not to be there."""
        cache = self._parts.cache
        asked = [item.key for item in block if not (isinstance(item, Job) and item.outcome is not None)]
        found = {} if cache is None or not asked else await cache.get_many(list(set(asked)))
        passed: list[Job[ResponseT] | Candidate] = []
        for item in block:
            value = found.get(item.key)
            if isinstance(item, Job) and item.outcome is not None:
                passed.append(item)
                continue
            row = item.tag if isinstance(item, Job) else item
            assert isinstance(row, Row | Known)
            if (value is not None and unpack(value) is not None) or not self._taken(Waiting(0, 0, 0, row)):
                passed.append(item)
        return passed

    def _taken(self, waiting: Waiting) -> bool:
        """Let a row wait for a batch; False where it has to be asked online."""
        found = self._shelf.find(waiting.row.key)
        if found is not None:
            batch, place = found
            batch.attach(waiting._replace(place=place))
            return True
        return not self._is_too_late and self._filling.add(waiting)

    # Batches going out

    async def _find_lost(self) -> None:
        """Learn what became of batches whose submission an earlier run did not survive."""
        for batch in self._shelf:
            self._parts.coffer.take_over(batch)
            if batch.id:
                continue
            found = await self._desk.find(batch.name, batch.count, batch.since)
            if found:
                self._desk.adopt(batch, found)
            else:
                self._parts.coffer.release(batch)
                self._shelf.drop(batch)

    async def _submit(self) -> None:
        """Have batches begun, as many as may wait at once."""
        while self._held and not self._is_too_late and not self._parts.caller.left:
            batch = self._held[0]
            if not self._has_room(batch):
                return
            if not self._parts.coffer.hold(batch):
                if self._submitted() or self._parts.coffer.fits_later(batch):
                    return  # what they, or rows that are asked online, leave over may be enough
                self._held.pop(0)
                self._filling.most_money = self._parts.coffer.left
                self._online += self._put_back(batch)
                self._held += self._filling.all()
                continue
            if await self._desk.submit(batch):
                self._held.pop(0)
                self._counters.sent += batch.count
                self._since = self._parts.clock.time()
                continue
            self._parts.coffer.release(batch)
            self._no_room_for(batch)
            if not self._room_at:
                self._held.pop(0)
                self._online += self._put_back(batch)
                self._held += self._filling.all()

    def _has_room(self, batch: Batch) -> bool:
        others = self._submitted()
        if self._parts.clock.time() < self._room_at:
            return False
        tokens = self._parts.tokens
        return tokens is None or not others or batch.tokens + sum(each.tokens for each in others) <= tokens

    def _no_room_for(self, batch: Batch) -> None:
        """Too many tokens wait at the provider: wait until one of ours has ended, or make them smaller."""
        self._room_at = self._parts.clock.time() + _CROWDED
        if self._submitted():
            return
        if not self._said:
            self._said = True
            self._parts.tell(
                f"{self._parts.provider} has no room for a batch of {batch.count:,} requests, about "
                f"{batch.tokens:,} tokens; smaller ones are tried. --batch-tokens N says how many may wait"
            )
        if batch.count > 1:
            self._filling.most_tokens = max(1, batch.tokens // 2)
            self._room_at = 0.0

    def _put_back(self, batch: Batch) -> Iterator[Job[ResponseT]]:
        """Put the requests of a batch that will not be answered into others; gives rows for which that
        cannot be.
        """
        self._parts.coffer.release(batch)
        self._shelf.take(batch)
        rows = batch.waiting(self._parts.bulk.reads)
        try:
            for waiting in rows:
                if not self._taken(waiting):
                    yield self._job(waiting)
        finally:
            rows.close()
        self._shelf.drop(batch)
        self._held += self._filling.full()

    def _again(self, rows: Iterable[Waiting]) -> list[Job[ResponseT]]:
        """Let rows wait for another batch; returns those that are to be asked online."""
        return [self._job(waiting) for waiting in rows if not self._taken(waiting)]

    def _job(self, waiting: Waiting) -> Job[ResponseT]:
        return job_of(waiting, self._parts.bulk)

    # Answers coming back

    async def _answers(self) -> AsyncGenerator[list[Job[ResponseT]], None]:
        """What the batches that have ended by now bring, and, at the deadline, what was never submitted."""
        if self._is_too_late:
            held, self._held = self._held, []
            for batch in held:
                for jobs in _in_blocks(self._put_back(batch)):
                    yield jobs
        for batch in self._submitted():
            if batch.candidates is not None and batch.results.exists() and not self._is_ours(batch):
                batch.results.unlink()  # fetched by an earlier run, which did not come to look whose they are
            if batch.results.exists():
                async with aclosing(self._collect(batch)) as answers:
                    async for jobs in answers:
                        yield jobs
                continue
            # One that may be somebody else's is not ours to cancel.
            if self._is_late and not batch.cancelled and batch.candidates is None:
                await self._desk.cancel(batch)
            status = await self._desk.look(batch)
            batch.answered = status.answered + status.failed
            batch.seen = batch.seen or not status.ended
            if status.ended:
                async with aclosing(self._ended(batch, status)) as answers:
                    async for jobs in answers:
                        yield jobs

    async def _ended(self, batch: Batch, status: BatchStatus) -> AsyncGenerator[list[Job[ResponseT]], None]:
        problem = status.problem
        if problem is not None and problem.code == ENQUEUED_TOKENS:
            batch.id = ""
            self._no_room_for(batch)
            for jobs in _in_blocks(self._put_back(batch)):
                yield jobs
            return
        self._room_at = 0.0
        self._refused = 0 if problem is None else self._refused + 1
        if problem is None:
            self._filling.most_rows = self._filling.usual_rows
        if problem is not None and not problem.retriable and batch.count > 1 and self._refused < _HOPELESS:
            # One line of many may be at fault: halves are tried until it stands alone.
            self._filling.most_rows = (batch.count + 1) // 2
            for jobs in _in_blocks(self._put_back(batch)):
                yield jobs
            return
        await self._desk.fetch(batch, status)
        if batch.candidates is not None and not self._is_ours(batch):
            for jobs in _in_blocks(self._another(batch)):
                yield jobs
            return
        async with aclosing(self._collect(batch, status)) as answers:
            async for jobs in answers:
                yield jobs
        if "cancel" in status.state.lower() and batch.seen and not self._is_late:
            self._stop = self._stop or RunStopped(
                f"Stopped: batch {batch.id} was cancelled. What it has answered is saved; run again to have "
                "the other rows asked."
            )

    def _is_ours(self, batch: Batch) -> bool:
        """Whether what was fetched answers our requests; nothing answers none, whoever asked."""
        first = next(self._desk.results(batch), None)
        return first is None or self._shelf.place(batch, first.name) is not None

    def _another(self, batch: Batch) -> Iterable[Job[ResponseT]]:
        """What was fetched is somebody else's: look at the next that may be ours."""
        batch.results.unlink(missing_ok=True)
        if batch.candidates:
            batch.id = batch.candidates.pop(0)
            return []
        return self._put_back(batch)

    async def _collect(
        self, batch: Batch, status: BatchStatus | None = None
    ) -> AsyncGenerator[list[Job[ResponseT]], None]:
        """Hand on what a batch has answered, and have the rest asked again."""
        problem = None if status is None else status.problem
        in_vain = status is not None and not status.answered
        self._shelf.take(batch)
        outcomes, reads = self._parts.outcomes, self._parts.bulk.reads
        before = outcomes.cost
        rows = batch.waiting(reads)
        seen = bytearray(batch.count)
        block = _Block[ResponseT]()
        try:
            for result in self._desk.results(batch):
                place = self._shelf.place(batch, result.name)
                if place is None or seen[place]:
                    continue
                seen[place] = 1
                waiting = self._of_this(batch, place, rows, block)
                if result.reply is None:
                    block.jobs += self._undone(waiting, in_vain=in_vain)
                elif waiting:
                    self._judge(outcomes.of(result.reply, waiting), batch, block)
                else:
                    self._unwanted += 1
                    batch.left += self._parts.partial  # for ever, in this run
                    if reads.shape is None:
                        block.keep(batch.key(place), outcomes.parsed(result.reply))
                if len(block.jobs) >= _BLOCK:
                    yield await self._kept(block)
            for place in range(batch.count):
                if seen[place]:
                    continue
                waiting = self._of_this(batch, place, rows, block)
                if waiting and problem is not None:
                    self._judge(outcomes.refused(problem, waiting), batch, block)
                else:
                    block.jobs += self._undone(waiting, in_vain=in_vain)
                if len(block.jobs) >= _BLOCK:
                    yield await self._kept(block)
            if jobs := await self._kept(block):
                yield jobs
        finally:
            rows.close()
        self._parts.coffer.settle(batch, outcomes.cost - before)
        batch.whole = True
        self._held += self._filling.full()
        self._forget_done(batch)

    def _undone(self, rows: Sequence[Waiting], *, in_vain: bool) -> list[Job[ResponseT]]:
        """Rows that a batch has not answered, which go on for ever only as long as it has answered others."""
        if in_vain:
            if rows and rows[0].rounds + 1 >= ROUNDS:
                return [self._job(waiting) for waiting in rows]
            rows = [waiting._replace(rounds=waiting.rounds + 1) for waiting in rows]
        return self._again(rows)

    def _of_this(
        self, batch: Batch, place: int, rows: WaitingRows, block: _Block[ResponseT]
    ) -> list[Waiting]:
        """The rows that wait for the request of a place; those whose hash only looks like its own go on."""
        key = batch.key(place)
        found = rows.of(place)
        if all(waiting.row.key == key for waiting in found):
            return found
        block.jobs += self._again(waiting for waiting in found if waiting.row.key != key)
        return [waiting for waiting in found if waiting.row.key == key]

    def _judge(self, verdict: Verdict[ResponseT], batch: Batch, block: _Block[ResponseT]) -> None:
        if verdict.stop is not None:
            self._stop = self._stop or verdict.stop
        for job in verdict.finished:
            self._owners[job.index] = batch
        batch.left += len(verdict.finished)
        block.jobs += verdict.finished
        block.jobs += verdict.online
        block.jobs += self._again(verdict.again)
        self._counters.retries += bool(verdict.again)
        if verdict.finished:
            first = verdict.finished[0]
            assert first.outcome is not None
            block.keep(first.key, first.outcome)

    async def _kept(self, block: _Block[ResponseT]) -> list[Job[ResponseT]]:
        """The jobs of a block, whose answers are in the cache now."""
        jobs, values = block.jobs, block.values
        block.jobs, block.values = [], {}
        if values and self._parts.cache is not None:
            await self._parts.cache.put_many(values)
        return jobs

    def _forget_done(self, batch: Batch) -> None:
        if batch.whole and not batch.left:
            self._shelf.drop(batch)

    # Waiting

    @property
    def _is_late(self) -> bool:
        late = self._parts.late
        return late is not None and self._parts.clock.time() >= late

    @property
    def _is_too_late(self) -> bool:
        """Whether there is no time left for another batch."""
        late = self._parts.late
        return late is not None and self._parts.clock.time() + _WORTH >= late

    def _submitted(self) -> list[Batch]:
        """Batches that the provider has."""
        return [batch for batch in self._shelf if batch.id]

    async def _wait(self) -> None:
        """Let some time pass: little while batches are young, a minute at most."""
        now, late = self._parts.clock.time(), self._parts.late
        seconds = min(_SELDOM, max(_OFTEN, _PART * (now - self._since)))
        if late is not None and now < late:
            seconds = min(seconds, late - now)
        self._counters.standing = self._phrase(seconds)
        try:
            await self._parts.caller.wait(seconds)
        finally:
            self._counters.standing = ""

    def _phrase(self, seconds: float) -> str:
        """What the run is waiting for."""
        batches = self._submitted()
        done, count = sum(batch.answered for batch in batches), sum(batch.count for batch in batches)
        told = f"{len(batches)} batch{'' if len(batches) == 1 else 'es'} at {self._parts.provider}"
        if self._held:
            told += f" ({len(self._held)} more when there is room)"
        verb = "being cancelled, " if self._is_late else ""
        return f"{told}, {verb}{done:,} of {count:,} requests done; a look every {seconds:.0f} s"


class _Block(Generic[ResponseT]):
    """Jobs to be handed on together, and the answers among them that are kept."""

    def __init__(self) -> None:
        self.jobs: list[Job[ResponseT]] = []
        self.values: dict[str, bytes] = {}

    def keep(self, key: str, outcome: ResponseWrapper[ResponseT]) -> None:
        if outcome.error is None:
            self.values[key] = encode(outcome)


def job_of(waiting: Waiting, bulk: Bulk[ResponseT]) -> Job[ResponseT]:
    """The job of a waiting row, which was asked before as often as it says."""
    job = bulk.promote(waiting.row)
    job.attempts = job.tries = waiting.attempts
    return job


def _in_blocks(jobs: Iterable[Job[ResponseT]]) -> Iterator[list[Job[ResponseT]]]:
    """A few at a time, made as they are taken."""
    jobs = iter(jobs)
    while block := list(islice(jobs, _BLOCK)):
        yield block
