"""What a member tells of its rows. What a turn of its loop brings rides one frame.

Outcomes come first in it, then what cost nothing after all, then what is about to leave: so at no moment are
more requests on record as open than may be in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastbatch.engine.crew.forms import write_lost, write_outcome
from fastbatch.engine.crew.link import Link
from fastbatch.engine.events import Counters, Lost
from fastbatch.engine.job import Job
from fastbatch.engine.stamp import Stamp


class Reports:
    """What is told of rows, gathered into frames: the recorder of a member's run.

    Attributes:
        asks: requests leave when the parent has them on disk; else they are told, and leave at once.
        counters: of the member's session; what was sent is told with each frame, and what was lost since
            the one before.
    """

    def __init__(self, link: Link) -> None:
        self.asks = True
        self.counters = Counters()
        self._link = link
        self._stamp = Stamp()
        self._loop = asyncio.get_running_loop()
        self._outcomes: list[Job[Any]] = []
        self._back: list[int] = []
        self._leaving: list[tuple[int, int, int]] = []
        self._lost = Lost()
        self._asked: deque[tuple[Job[Any], Callable[[], None] | None]] = deque()
        self._soon = False
        self._recorded: Callable[[list[Job[Any]]], None] = _nothing

    def start(self, recorded: Callable[[list[Job[Any]]], None], failed: Callable[[Exception], None]) -> None:
        """Begin; a failure to write is the parent's to tell."""
        self._recorded = recorded

    def sent(self, job: Job[Any], prompt_tokens: int) -> Awaitable[None]:
        """Done when the parent has it on disk that the row's request is about to leave."""
        answered: asyncio.Future[None] = self._loop.create_future()

        def allowed() -> None:
            if not answered.done():
                answered.set_result(None)

        self.leave([(job, job.attempts + 1, prompt_tokens)], allowed)
        return answered

    def leave(self, rows: Sequence[tuple[Job[Any], int, int]], then: Callable[[], None]) -> None:
        """As `sent` for several, each with its attempt and its tokens; `then` is called when it is done."""
        self._leaving += [(job.index, attempt, tokens) for job, attempt, tokens in rows]
        if not self.asks:
            self.tell()  # at once: the request may be the end of this process
            then()
            return
        self._asked += [(job, None) for job, _, _ in rows]
        self._asked[-1] = (rows[-1][0], then)
        self._flush_soon()

    def allowed(self, count: int, billed: list[int]) -> None:
        """The next `count` requests may leave; those of the rows `billed` an earlier run may have bought."""
        for _ in range(count):
            job, then = self._asked.popleft()
            job.maybe_billed = job.maybe_billed or job.index in billed
            if then is not None:
                then()

    def back(self, job: Job[Any]) -> None:
        """The row's request cost nothing."""
        self._back.append(job.index)
        self._flush_soon()

    def record(self, job: Job[Any]) -> None:
        """A row has its outcome."""
        self._outcomes.append(job)
        self._flush_soon()
        self._recorded([job])

    def record_answers(self, jobs: Sequence[Job[Any]]) -> None:
        """Rows have their answers."""
        self._outcomes += jobs
        self._flush_soon()
        self._recorded(list(jobs))

    async def flush(self) -> None:
        """Tell what has gathered."""
        self.tell()

    def tell(self) -> None:
        """Tell what has gathered."""
        self._soon = False
        lost = self.counters.lost.since(self._lost)
        if not (self._outcomes or self._back or self._leaving or any(lost)):
            return
        forms, raws = [], []
        for job in self._outcomes:
            form, raw = write_outcome(job, self._stamp.now())
            forms.append(form)
            raws.append(raw)
        counted = [self.counters.sent, self.counters.retries]
        told = write_lost(lost) if any(lost) else None
        self._link.send(["work", forms, self._back, self._leaving, counted, told], b"".join(raws))
        self._outcomes, self._back, self._leaving, self._lost = [], [], [], self.counters.lost

    def _flush_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self.tell)


def _nothing(*_: Any) -> None:
    """Stands where no run listens yet."""
