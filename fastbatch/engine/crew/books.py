"""The books of a crew's run: which rows are alive, and what became of them, counted once it is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from fastbatch.engine.crew.forms import CACHED, SHARED, OutcomeForm
from fastbatch.engine.events import Counters, Lost
from fastbatch.engine.job import Job
from fastbatch.engine.recorder import RowRecorder
from fastbatch.models.response import Usage

ResponseT = TypeVar("ResponseT")


class Answered(NamedTuple, Generic[ResponseT]):
    """Rows, what was told of each, and their lines."""

    jobs: list[Job[ResponseT]]
    forms: list[OutcomeForm]
    lines: list[bytes]


class Books(Generic[ResponseT]):
    """Keeps them.

    Args:
        counters: the run's own.
        recorder: writes outcomes down before they count; None where nobody does.
        ring: is called when there is something to take, or nothing left to wait for.

    Attributes:
        alive: rows that were admitted and not taken.
        size: their bytes, and those of their outcomes.
        open: rows that were admitted and have no outcome.
    """

    def __init__(self, counters: Counters, recorder: RowRecorder | None, ring: Callable[[], None]) -> None:
        self._counters = counters
        self._recorder = recorder
        self._ring = ring
        self._finished: list[Job[ResponseT]] = []
        self.alive = self.size = self.open = 0

    def admit(self, job: Job[ResponseT]) -> None:
        """A row has come."""
        self.alive += 1
        self.open += 1
        self.size += job.size

    def give_up(self, jobs: Iterable[Job[ResponseT]]) -> None:
        """Rows stay open for another run."""
        for job in jobs:
            self.alive -= 1
            self.open -= 1
            self.size -= job.size
        self._ring()

    def finish(self, job: Job[ResponseT]) -> None:
        """A row has its outcome."""
        outcome = job.outcome
        assert outcome is not None
        self._grow(job, len(outcome.raw))
        if self._recorder is None or outcome.recorded:
            self._hand_out(job)
            self._ring()
        else:
            self._recorder.record(job)

    def write(self, answered: Answered[ResponseT]) -> None:
        """Rows have their answers, as lines of the output."""
        assert self._recorder is not None
        jobs, _, lines = answered
        for job, line in zip(jobs, lines, strict=True):
            self._grow(job, len(line))
        self._recorder.record_lines(answered, jobs, lines, sum([form[7] or 0 for form in answered.forms]))

    def recorded(self, safe: Sequence[Any]) -> None:
        """Written down: jobs, or several of which there are lines only."""
        for each in safe:
            if isinstance(each, Answered):
                jobs, forms, _ = each
                for form in forms:
                    self._count(form[1], form[3:7], form[7])
                self.open -= len(jobs)
                self._finished += jobs
            else:
                self._hand_out(each)
        self._ring()

    def lose(self, lost: Lost) -> None:
        """A member has had answers for nothing; they cost what they cost."""
        self._counters.lose(lost)

    def take(self) -> list[Job[ResponseT]]:
        """Those that are finished, which are taken now."""
        block, self._finished = self._finished, []
        self.alive -= len(block)
        self.size -= sum([job.size for job in block])
        return block

    def _grow(self, job: Job[ResponseT], size: int) -> None:
        job.size += size
        self.size += size

    def _hand_out(self, job: Job[ResponseT]) -> None:
        outcome = job.outcome
        assert outcome is not None
        if outcome.error is not None:
            self._counters.fail(outcome.error)
            if not (outcome.shared or outcome.cached):
                answered = outcome.error.answered or outcome.reasks > 0
                self._spend(outcome.tokens if answered else Usage(), outcome.picos)
        elif outcome.recorded:
            self._counters.skipped += 1
        else:
            bits = CACHED * outcome.cached | SHARED * outcome.shared
            self._count(bits, outcome.tokens, outcome.picos)
        self.open -= 1
        self._finished.append(job)

    def _count(self, bits: int, tokens: Sequence[int], picos: int | None) -> None:
        counters = self._counters
        counters.ok += 1
        if bits & CACHED:
            counters.cached += 1
        elif bits & SHARED:
            counters.shared += 1
        else:
            self._spend(tokens, picos)

    def _spend(self, tokens: Sequence[int], picos: int | None) -> None:
        counters = self._counters
        counters.unpriced += picos is None
        counters.cost += picos or 0
        counters.prompt_tokens += tokens[0]
        counters.cached_tokens += tokens[1]
        counters.completion_tokens += tokens[2]
        counters.reasoning_tokens += tokens[3]
