"""What the results of a batch mean for the rows that wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from fastbatch.engine.batches.rowlines import Waiting
from fastbatch.engine.intake import share
from fastbatch.engine.job import Job
from fastbatch.engine.verdict import ask_again, pay, stopped
from fastbatch.errors import BadResponse, RequestError, RunStopped
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryPolicy

ResponseT = TypeVar("ResponseT")

ROUNDS = 3
"""Batches that ask a request in vain; then it is asked online."""


class Verdict(NamedTuple, Generic[ResponseT]):
    """What becomes of rows of one request.

    Attributes:
        finished: they have their outcome; the first was answered, the others share it.
        again: they are to be asked by another batch.
        online: they are to be asked online.
        stop: why the run ends: other rows would fail in the same way. These rows stay open.
    """

    finished: Sequence[Job[ResponseT]] = ()
    again: Sequence[Waiting] = ()
    online: Sequence[Job[ResponseT]] = ()
    stop: RunStopped | None = None


class Outcomes(Generic[ResponseT]):
    """Judges replies as a run judges those that it is sent online.

    Args:
        job: makes the job of a waiting row.
        price: what an outcome cost.
        worst: what a request costs at most: what one counts for whose cost nobody knows.
        reasks: how often a row is asked again whose answer does not fit; that is done online.

    Attributes:
        cost: pico-dollars of all replies so far.
    """

    def __init__(
        self,
        provider: Provider[ResponseT],
        *,
        retry: RetryPolicy,
        dice: Callable[[], float],
        reasks: int,
        job: Callable[[Waiting], Job[ResponseT]],
        price: Callable[[ResponseWrapper[ResponseT]], int | None],
        worst: Callable[[Job[ResponseT]], int],
    ) -> None:
        self._provider = provider
        self._retry = retry
        self._dice = dice
        self._reasks = reasks
        self._job = job
        self._price = price
        self._worst = worst
        self.cost = 0

    def parsed(self, reply: HTTPReply) -> ResponseWrapper[ResponseT]:
        """What a reply in a batch's results is, whoever it is for."""
        try:
            outcome = self._provider.parse(reply)
        except RequestError as broken:
            outcome = ResponseWrapper(self._provider.reader, provider=self._provider.name, error=broken)
        outcome.mode = "batch"
        return outcome

    def of(self, reply: HTTPReply, rows: Sequence[Waiting]) -> Verdict[ResponseT]:
        """What a reply means for the rows that wait for it, one at least."""
        jobs = [self._job(waiting) for waiting in rows]
        first, others = jobs[0], jobs[1:]
        first.read()
        outcome = self.parsed(reply).of(first.request, index=first.index, key=first.key)
        first.attempts += 1
        first.tries = outcome.attempts = first.attempts
        first.outcome = outcome
        if outcome.error is None or any(outcome.tokens):
            outcome.picos = self._price(outcome)
        self.cost += self._worst(first) if outcome.picos is None else outcome.picos
        pay(first, outcome)
        if outcome.error is not None:
            return self._failed(outcome.error, jobs, rows)
        if first.asked.shape is not None and ask_again(first, self._reasks) is not None:
            first.outcome = None
            return Verdict(online=jobs)
        first.size += len(outcome.raw)
        for job in others:
            share(outcome, job)
        return Verdict(finished=jobs)

    def refused(self, error: RequestError, rows: Sequence[Waiting]) -> Verdict[ResponseT]:
        """What it means for rows that all of their batch was refused."""
        jobs = [self._job(waiting) for waiting in rows]
        first = jobs[0]
        first.read()
        provider = self._provider
        first.outcome = ResponseWrapper(provider.reader, provider=provider.name, error=error)
        first.outcome.of(first.request, index=first.index, key=first.key)
        first.outcome.mode = "batch"
        return self._failed(error, jobs, rows)

    def _failed(
        self, error: RequestError, jobs: list[Job[ResponseT]], rows: Sequence[Waiting]
    ) -> Verdict[ResponseT]:
        first = jobs[0]
        outcome = first.outcome
        assert outcome is not None
        error.provider = error.provider or self._provider.name
        error.attempts = first.attempts
        error.maybe_billed = first.maybe_billed = first.maybe_billed or error.maybe_billed
        decision = self._retry.decide(
            error,
            first.attempts,
            self._dice(),
            broken_before=first.attempts - 1 if isinstance(error, BadResponse) else 0,
        )
        if decision.action == "stop":
            return Verdict(stop=stopped(error, decision))
        if decision.action == "retry" and first.attempts < self._retry.attempts:
            if rows[0].rounds + 1 < ROUNDS:
                return Verdict(again=[_once_more(waiting, first.attempts) for waiting in rows])
            for job in jobs:
                job.outcome = None
                job.attempts = job.tries = first.attempts
            return Verdict(online=jobs)
        for job in jobs[1:]:
            share(outcome, job)
        return Verdict(finished=jobs)


def _once_more(waiting: Waiting, attempts: int) -> Waiting:
    return waiting._replace(attempts=attempts, rounds=waiting.rounds + 1)
