"""One run of a crew: rows are dealt to members in blocks, and their outcomes are recorded and handed out.

Stands where a single process has `engine.run.Run`, and promises the same: what is alive at any time is at
most the window and one block; a row is finished when it is on record; whatever the run ends by, what was
answered until then has been handed out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from fastbatch.engine.crew.books import Answered, Books
from fastbatch.engine.crew.forms import OK, PICOS, read_error, read_lost, read_outcome, read_picos
from fastbatch.engine.crew.hand import Hand
from fastbatch.engine.crew.link import Head
from fastbatch.engine.crew.losses import Losses
from fastbatch.engine.crew.orders import Orders, packed
from fastbatch.engine.events import Counters
from fastbatch.engine.intake import Bulk, Candidate
from fastbatch.engine.job import UNREAD, Job
from fastbatch.engine.looked import Known
from fastbatch.engine.purse import OutOfMoney, Purse
from fastbatch.engine.recorder import RowRecorder
from fastbatch.engine.room import room_for_rows
from fastbatch.engine.uncertain import Choice
from fastbatch.errors import FastbatchError, RunStopped, StorageError, UsageError
from fastbatch.limits.budget import AT_FIRST
from fastbatch.providers.base import Provider

ResponseT = TypeVar("ResponseT")

_AHEAD = 1024  # rows for each member that may wait to be dealt: keys do not fall to all of them in turn
_LOOK = 1.0  # seconds between two looks at whether members are well
_CANCELLED = 0.8  # seconds in which members that were cancelled may save what they have
# Retries that may be billed, at least, that a member has at first: a row's retry must not depend on how many
# members there are. A crew of more than ten has that many in place of ten, and one more for each that died.
_RETRIES = 1.0


class Ears(Protocol):
    """Who hears what members tell beside their rows."""

    def picture_of(self, member: int, told: dict[str, Any]) -> None:
        """How things are with a member."""
        ...

    def sent(self, member: int, sent: int, retries: int) -> None:
        """A member has sent so many requests by now."""
        ...

    def gone(self, member: int, sent: int, retries: int) -> None:
        """A member has ended, with so many requests under way."""
        ...

    def notice(self, text: str) -> None:
        """A sentence for people."""
        ...

    def outage(self, member: int, where: str, lasted: float, over: bool) -> None:
        """An endpoint is away for a member, or back."""
        ...

    def ended(self, process: int) -> None:
        """The process of a member has ended."""
        ...

    def crowded(self, rows: int) -> None:
        """So many rows are all that should be in memory at once."""
        ...


class CrewRun(Generic[ResponseT]):
    """Moves the jobs of `source` through a crew; used once, in one loop.

    Args:
        source: blocks of jobs, read only as there is room. A job that arrives with an outcome is finished.
        orders: what members are told.
        shares: the concurrency of each member.
        providers: whose answers there may be: the first is where rows belong, the others are fallbacks.
        counters: the run's own.
        ears: hears of everything else.
        recorder: what finishes a row: its outcome counts, and is handed out, when it is written down.
        bulk: makes the jobs of candidates: it is members who look into the cache.
        lines: members make the output's lines, and nobody wants the outcomes of answered rows beside them.
        on_lost: what to do with a row whose request was under way in a member that died.
        purse: what may be spent, of which members tell that it is used up.
    """

    def __init__(
        self,
        source: AsyncIterator[Sequence[Job[ResponseT] | Candidate]],
        *,
        orders: Orders,
        shares: Sequence[int],
        providers: Sequence[Provider[Any]],
        counters: Counters,
        ears: Ears,
        recorder: RowRecorder | None = None,
        bulk: Bulk[ResponseT] | None = None,
        lines: bool = False,
        on_lost: Choice = "retry",
        purse: Purse | None = None,
    ) -> None:
        self._source = source
        self._orders = orders
        self._readers = [provider.reader for provider in providers]
        self._ears = ears
        self._recorder = recorder
        self._bulk = bulk
        self._lines = lines and recorder is not None
        self._losses = Losses(providers[0], choice=on_lost, notice=ears.notice)
        self._purse = purse
        self._shares = shares
        self._hands: list[Hand] = []
        self._packed = b""
        self._window = sum(2 * share + _AHEAD for share in shares)
        self._space = room_for_rows() // 2  # bytes; the other half is for what members have
        self._books: Books[ResponseT] = Books(counters, recorder, self._ring_taker)
        self._taker: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._feeding = True
        self._draining = False
        self._failure: BaseException | None = None
        self._broken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reached: set[int] = set()  # endpoints that have answered a member
        self._told: set[str] = set()  # by members, to people

    async def blocks(self) -> AsyncGenerator[list[Job[ResponseT]], None]:
        """Finished jobs in blocks as they come; closing the generator ends the crew.

        Raises:
            RunStopped: the run cannot go on; jobs in flight have finished and been handed out before.
            Exception: whatever the source raised, after the same.
        """
        if self._recorder is not None:
            self._recorder.start(self._books.recorded, self._break)
        self._spawn(self._feed())
        loop = asyncio.get_running_loop()
        orderly = False
        try:
            while True:
                if block := self._books.take():
                    _ring(self._room)
                    yield block
                elif self._failure is not None and (not self._books.open or self._broken):
                    orderly = not self._broken
                    raise self._failure.now() if isinstance(self._failure, OutOfMoney) else self._failure
                elif not self._feeding and not self._books.open:
                    orderly = True
                    break
                else:
                    self._taker = loop.create_future()
                    await self._taker
        finally:
            await self._close(orderly=orderly)

    def drain(self) -> None:
        """Start nothing more: what is in flight is finished and handed out, then `blocks` ends."""
        if self._draining:
            return
        self._draining = True
        for hand in self._hands:
            self._books.give_up(hand.backlog)
            hand.backlog.clear()
        self._tell_all("drain")
        _ring(self._room)
        self._ring_taker()

    # Dealing

    async def _feed(self) -> None:
        try:
            async for block in self._source:
                if self._draining:
                    break
                self._admit(block)
                while not self._draining and self._full():
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
        except Exception as error:  # noqa: BLE001  (the caller's source may raise anything; the run raises it)
            self._fail(error)
        finally:
            self._feeding = False
            for hand in self._hands:
                hand.deal(lines=self._lines)
            self._ring_taker()

    def _full(self) -> bool:
        """Whether there is no room for another block."""
        books = self._books
        if books.alive >= self._window:
            return True
        if books.size < self._space:
            return False
        if books.alive < sum(self._shares):
            self._ears.crowded(books.alive)
        return True

    def _admit(self, block: Sequence[Job[ResponseT] | Candidate]) -> None:
        for item in block:
            job = item if isinstance(item, Job) else self._job(item)
            self._books.admit(job)
            if job.outcome is not None:
                self._books.finish(job)
                continue
            if not self._hands:
                self._engage()
            self._hands[int(job.key[:8], 16) % len(self._hands)].backlog.append(job)
        for hand in self._hands:
            hand.deal(lines=self._lines)

    def _job(self, row: Candidate) -> Job[ResponseT]:
        """A row that has to be asked; one that is known well enough is read by a member, and not here."""
        if isinstance(row, Known) and self._lines:
            return Job(UNREAD, row.first - 1, row.key, row, row.size)
        assert self._bulk is not None
        return self._bulk.promote(row)

    def _read(self, job: Job[ResponseT]) -> None:
        """Read a row here after all, since its record needs all of it."""
        if isinstance(job.tag, Known):
            assert self._bulk is not None
            whole = self._bulk.promote(job.tag)
            whole.read()
            job.request, job.asked = whole.request, whole.asked

    def _engage(self) -> None:
        """Start the crew, now that there is a row to be asked."""
        self._packed = packed(self._orders)
        space = self._space // len(self._shares)
        self._hands = [Hand(number, share, space) for number, share in enumerate(self._shares, 1)]
        retries = max(_RETRIES, AT_FIRST / len(self._shares))
        for hand in self._hands:
            self._spawn(self._start(hand, retries))
        self._spawn(self._watch())

    async def _watch(self) -> None:
        """End members that are stuck. Looks are counted: what a process that was stopped itself slept through
        says nothing of them.
        """
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        for hand in self._hands:
            if hand.silenced():
                self._ears.notice(f"worker {hand.number} has said nothing for a minute, and is ended")
                hand.end()

    async def _start(self, hand: Hand, retries: float) -> None:
        try:
            await hand.start(
                self._packed, retries, self._reached, partial(self._hear, hand), partial(self._lost, hand)
            )
        except OSError as refused:
            raise RunStopped(
                f"Stopped: a worker process cannot be started ({refused}). What was answered is saved; run "
                "again to go on, perhaps with fewer workers."
            ) from refused
        if self._draining:
            hand.send("drain")
        hand.deal(lines=self._lines)

    # What members tell

    def _hear(self, hand: Hand, head: Head, raw: bytes) -> None:
        try:
            self._heard(hand, head, raw)
        except Exception as error:  # noqa: BLE001  (in a callback nobody else would hear of it)
            self._break(error)

    def _heard(self, hand: Hand, head: Head, raw: bytes) -> None:
        hand.silence = 0
        what = head[0]
        if what == "work":
            _, outcomes, back, leaving, counted, lost = head
            self._ears.sent(hand.number, *counted)
            if lost is not None:
                self._books.lose(read_lost(lost))
            if outcomes:
                self._take(hand, outcomes, raw)
            for index in back:
                row = hand.rows[index]
                row.leaving = False
                if self._recorder is not None:
                    self._recorder.back(row.job)
            if leaving:
                self._leave(hand, leaving)
            hand.deal(lines=self._lines)
        elif what == "reached":
            self._reached.add(head[1])
            for other in self._hands:
                if other is not hand:
                    other.send("reached", [head[1]])
        elif what == "picture":
            self._ears.picture_of(hand.number, head[1])
        elif what == "notice":
            if self._new(head[1]):
                self._ears.notice(head[1])
        elif what == "warning":
            if self._new(head[2]):
                logging.getLogger(head[1]).warning("%s", head[2])
        elif what == "outage":
            self._ears.outage(hand.number, *head[1:])
        elif what == "poor":
            assert self._purse is not None
            self._fail(OutOfMoney(self._purse, int(head[1])))
        elif what == "ended":
            self._fail(_error(*head[1:], number=hand.number))
        elif what == "bye":
            hand.bye = True

    def _new(self, text: str) -> bool:
        """Whether nobody has told it before: what several members tell is said once."""
        new = text not in self._told
        self._told.add(text)
        return new

    def _take(self, hand: Hand, outcomes: list[Any], raw: bytes) -> None:
        """Outcomes have come: write them down, or hand them out."""
        hand.worked, hand.deaths = True, 0
        answered: Answered[ResponseT] = Answered([], [], [])
        at = 0
        for form in outcomes:
            row = hand.rows.pop(form[0])
            hand.size -= row.size
            form[PICOS] = read_picos(form[PICOS])
            own = raw[at : at + form[2]]
            at += form[2]
            if self._lines and form[1] & OK:
                answered.jobs.append(row.job)
                answered.forms.append(form)
                answered.lines.append(own)
            else:
                self._read(row.job)
                row.job.outcome = read_outcome(form, own, row.job, self._readers)
                self._books.finish(row.job)
        if answered.jobs:
            self._books.write(answered)

    def _leave(self, hand: Hand, leaving: list[list[int]]) -> None:
        """Requests are about to leave: they do when that is on disk, where anybody wants that."""
        rows = []
        for index, attempt, prompt_tokens in leaving:
            row = hand.rows[index]
            row.leaving, row.attempt, row.prompt_tokens = True, attempt, prompt_tokens
            rows.append((row.job, attempt, prompt_tokens))
        if self._recorder is None:
            return
        link = hand.link  # that of this member; the answer may come when another has taken its place
        assert link is not None
        billed = self._recorder.leave(rows, lambda: link.send(["sent", len(rows), billed]))

    # Ends

    def _lost(self, hand: Hand) -> None:
        """The line to a member has ended, and so has the member."""
        under_way = [] if hand.bye else [row for row in hand.rows.values() if row.leaving]
        self._ears.gone(hand.number, len(under_way), sum(row.attempt > 1 for row in under_way))
        self._spawn(self._bury(hand))

    async def _bury(self, hand: Hand) -> None:
        """A member has ended: as it should, or it is replaced and its rows are dealt again."""
        process = hand.process
        code = await hand.ending()
        self._ears.ended(process)
        rows = list(hand.rows.values())
        hand.rows, hand.size = {}, 0
        if not hand.bye and self._draining:
            self._losses.left(hand, rows, code)
        elif not hand.bye:
            if (stop := self._losses.hopeless(hand, rows, code)) is None:
                again, finished = self._losses.sort(hand, rows, code)
                hand.backlog.extendleft(reversed(again))
                for job in finished:
                    self._read(job)
                    self._books.finish(job)
                await self._start(hand, _RETRIES)
                return
            self._fail(stop)
        self._books.give_up([*(row.job for row in rows), *hand.backlog])
        hand.backlog.clear()
        hand.over.set_result(None)

    def _fail(self, error: Exception) -> None:
        """The run ends with its first error."""
        if self._failure is None:
            self._failure = error
        self.drain()
        self._ring_taker()

    def _break(self, error: BaseException) -> None:
        """The run ends at once; what is in flight is not waited for."""
        if self._failure is None or not self._broken:
            self._failure = error
        self._broken = True
        self.drain()
        self._ring_taker()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    async def _close(self, *, orderly: bool) -> None:
        """Let the members go: after their last words, or soon."""
        self._draining = True
        overs = [hand.over for hand in self._hands]
        try:
            if overs and orderly:
                self._tell_all("end")
                await asyncio.wait(overs)
        finally:
            try:
                if not all(over.done() for over in overs):
                    self._tell_all("cancel")
                    await asyncio.wait(overs, timeout=_CANCELLED)
            finally:
                await self._clear()

    async def _clear(self) -> None:
        """Leave no process and no task behind, and no answer unrecorded that was paid for."""
        for hand in self._hands:
            hand.kill()
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if self._recorder is not None:
                await self._recorder.flush()
        finally:
            if isinstance(self._source, AsyncGenerator):
                await self._source.aclose()

    def _ring_taker(self) -> None:
        _ring(self._taker)

    def _tell_all(self, what: str) -> None:
        for hand in self._hands:
            hand.send(what)


def _error(kind: str, words: str, cause: Any, *, number: int) -> Exception:
    """What a member's run ended by."""
    if kind == "stopped":
        return RunStopped(words, cause=None if cause is None else read_error(cause))
    if kind == "usage":
        return UsageError(words)
    if kind == "storage":
        return StorageError(words)
    if kind == "error":
        return FastbatchError(words)
    return RuntimeError(f"worker {number} broke:\n{words}")


def _ring(bell: asyncio.Future[None] | None) -> None:
    if bell is not None and not bell.done():
        bell.set_result(None)
