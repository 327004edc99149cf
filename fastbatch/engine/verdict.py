"""What a failed attempt means: for the row, for everybody on the same limits, and for the endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from fastbatch.engine.fallback import elsewhere
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group, Way
from fastbatch.engine.line import Admission
from fastbatch.errors import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    RateLimited,
    RequestError,
    RunStopped,
    ServerError,
)
from fastbatch.limits.weather import RowWeather
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.retry import RetryDecision, RetryPolicy

ResponseT = TypeVar("ResponseT")

# A row that is turned away so often (429, no connection) while as many others are answered meanwhile is
# turned away for something of its own: it fails.
_REFUSALS = 30
_ABSENT = frozenset((502, 503, 504, 529))

AT_ONCE = RetryDecision("retry", "a kept connection had been closed")
ELSEWHERE = RetryDecision("retry", "the fallback answers")
LEFT_OPEN = RetryDecision("stop", "it may cost more than what is left of the budget")
ASK_AGAIN = RetryDecision("retry", "the answer did not fit its shape")


class Judge(Generic[ResponseT]):
    """Judges failures for one run, and tells ledgers and weather what they mean.

    Args:
        groups: where requests may go; the ways of a group are closed here.
        retry: the policy.
        dice: uniform in [0, 1).
        notice: is told a sentence when a way is closed and the run goes on without it.
    """

    def __init__(
        self,
        groups: Sequence[Group[ResponseT]],
        *,
        retry: RetryPolicy,
        dice: Callable[[], float],
        notice: Callable[[str], None],
    ) -> None:
        self._groups = groups
        self._retry = retry
        self._dice = dice
        self._notice = notice

    def judge(
        self, error: RequestError, job: Job[ResponseT], admission: Admission, now: float
    ) -> RetryDecision | None:
        """What is to be done; None when the error is the row's answer."""
        way, ledger = admission.way, admission.ledger
        lane = way.lane
        error.attempts = job.attempts
        error.maybe_billed = job.maybe_billed = job.maybe_billed or error.maybe_billed
        if isinstance(error, ConnectionLost) and error.stale and not job.stale:
            job.stale = True
            job.tries -= 1
            return AT_ONCE
        if job.weather is None:
            job.weather = RowWeather()
        # Asked on behalf of everybody, and what it met is no attempt of the row: its failures are counted as
        # rarely as a failing endpoint's, and no budget is spent on looking.
        probe, parked = admission.probe, False
        with lane.lock:
            weather = lane.weather
            away = error.effect in ("down", "maybe") and not isinstance(error, BadResponse)  # that is a reply
            failing = away and (isinstance(error, ServerError) or (probe and error.effect == "maybe"))
            # What stands before the endpoint says that there is none: that is no row's doing.
            absent = error.status in _ABSENT and weather.parked
            counted = not absent and (not failing or job.weather.counts(weather, now, probe=probe))
            if away:
                how = "connect" if isinstance(error, ConnectFailed) else error.effect
                parked = weather.failed(how, now, error.retry_after or 0.0)
            over = weather.over(now)
        if error.effect == "refused" or not counted:
            job.tries -= 1
        probe = probe and parked
        decision = self._retry.decide(
            error,
            job.tries,
            self._dice(),
            failures=job.attempts,
            broken_before=job.broken,
            # Who has counted failures enough is not sent round and round until the outage is over.
            parked=parked and not (counted and failing and job.tries >= self._retry.attempts),
        )
        job.broken += isinstance(error, BadResponse)
        if over and decision.action == "retry":
            decision = RetryDecision("stop", weather.verdict(now))
        if decision.action == "retry" and not (probe and error.effect == "maybe"):
            decision = self._affordable(error, job, way, decision)
        elif decision.action == "retry":
            decision = RetryDecision("retry", decision.reason)
        if decision.pause:
            with lane.lock:
                ledger.refused(admission.reservation, error.retry_after, self._dice(), now)
                refusing = ledger.refusing(now)
            if refusing > self._retry.max_wait:
                decision = RetryDecision("stop", f"everything was refused for {refusing:.0f} s")
        if decision.action == "stop":
            return self._close(way, error, job, decision, now)
        if decision.action == "fail":
            return self._fall_back(error, job)
        return decision

    def _affordable(
        self, error: RequestError, job: Job[ResponseT], way: Way[ResponseT], decision: RetryDecision
    ) -> RetryDecision:
        """A retry that may buy twice is paid from the budget; endless refusals of one row end."""
        lane = way.lane
        if error.effect == "maybe":
            with lane.lock:
                affordable = lane.budget.spend()
            if affordable:
                return decision
            error.advise("not sent again, as the budget for retries that may be billed is used up")
            return RetryDecision("fail", "the retry budget is used up")
        if isinstance(error, RateLimited | ConnectFailed):
            if job.refused == 0 or job.answers_then is None:
                job.answers_then = lane.weather.answers
            job.refused += 1
            if job.refused > _REFUSALS and lane.weather.answers > job.answers_then + _REFUSALS:
                return RetryDecision("fail", decision.reason)
        return decision

    def _close(
        self,
        way: Way[ResponseT],
        error: RequestError,
        job: Job[ResponseT],
        decision: RetryDecision,
        now: float,
    ) -> RetryDecision | None:
        """Nothing more is sent this way; the run goes on where there is another."""
        group = self._groups[job.group]
        if way.closed is None:
            way.closed = error
            if any(other.open for other in self._groups):
                self._notice(f"{way.name or 'an endpoint'} is not used any more: {error.message}")
        if group.open:
            return RetryDecision("retry", decision.reason)
        if (place := elsewhere(self._groups, job.group, now)) is None:
            return decision
        job.group = place
        return ELSEWHERE

    def _fall_back(self, error: RequestError, job: Job[ResponseT]) -> RetryDecision | None:
        """A row that one endpoint cannot answer may be another's, unless the request itself is at fault."""
        if error.fault == "you" and error.status != 404:
            return None
        if not self._groups[job.group].has_next:
            return None
        job.group += 1
        job.failed_before = True
        return ELSEWHERE


def ask_again(job: Job[ResponseT], most: int) -> RetryDecision | None:
    """What becomes of an answer that has arrived: None where it stands, as one that fits or as a failure.

    One that does not fit is an error from here on. It was paid for: its tokens are the row's. `most` is how
    often a row is asked again.
    """
    outcome, shape = job.outcome, job.asked.shape
    assert outcome is not None
    problem = None if shape is None else shape.problem(outcome)
    if job.reasks:
        outcome.tokens = Usage(*map(sum, zip(job.spent, outcome.tokens, strict=True)))
        outcome.reasks = job.reasks
    if problem is None or shape is None:
        return None
    problem.provider, problem.status, problem.attempts = outcome.provider, outcome.status, job.attempts
    problem.request_id = outcome.provider_request_id
    job.maybe_billed = True
    if problem.final or job.reasks >= most:
        if job.reasks:
            problem.advise(f"it was asked {job.reasks + 1} times")
        outcome.error = problem
        return None
    job.unfit = problem
    job.spent = outcome.tokens
    job.reasks += 1
    job.anew = True
    job.asked = job.asked.asking(shape.again(job.asked.body, outcome, problem.why))
    job.raw_tokens = 0.0
    job.tries = job.broken = job.refused = 0
    job.stale = False
    job.weather = None
    return ASK_AGAIN


def pay(job: Job[ResponseT], outcome: ResponseWrapper[ResponseT]) -> None:
    """A reply has cost what stands on it; from here on there stands what all replies to the row have cost."""
    if job.paid != 0 and outcome.picos != 0:
        outcome.summed = True
    costs = job.paid, outcome.picos
    known = [cost for cost in costs if cost is not None]
    job.paid = outcome.picos = sum(known) if len(known) == len(costs) else None


def unfit(job: Job[Any], error: RequestError) -> RequestError:
    """Why a row fails: where asking again was refused, that the answer before did not fit."""
    before = job.unfit
    if before is None or error.fault != "you" or error.stops_run:
        return error
    before.advise(f"it could not be asked again: {error.message}")
    return before


def stopped(error: RequestError | None, decision: RetryDecision) -> RunStopped:
    """The exception that ends a run: what happened, and what to do."""
    cure = (error.cure if error is not None else "") or "Run again later to go on."
    said = f" ({error.message.removesuffix('.')})" if error is not None else ""
    return RunStopped(f"Stopped: {decision.reason}{said}. {cure}", cause=error)
