"""What a reply says beside its answer: of limits, of the weather, and of what the request took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from fastbatch.engine.events import Counters
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group, Lane
from fastbatch.engine.latencies import Latencies
from fastbatch.engine.line import Admission
from fastbatch.limits.cost import Cost
from fastbatch.limits.ledger import Ledger, Reservation
from fastbatch.limits.stated import Stated
from fastbatch.limits.tokens import TokenEstimator, raw_tokens
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import ResponseWrapper

ResponseT = TypeVar("ResponseT")


Answered = tuple[Job[ResponseT], Admission, HTTPReply, ResponseWrapper[ResponseT]]
"""A request that was answered; plain, since every row makes one."""

Said = tuple[Cost | None, tuple[Stated, ...]]
"""What an answer took, where somebody counts that, and the limits that it states."""


class Settler(Generic[ResponseT]):
    """Estimates what requests take, and settles what they took."""

    def __init__(
        self,
        groups: Sequence[Group[ResponseT]],
        estimator: TokenEstimator,
        counters: Counters,
        latencies: Latencies,
    ) -> None:
        self._groups = groups
        self._estimator = estimator
        self._counters = counters
        self._latencies = latencies

    def weigh(self, job: Job[ResponseT]) -> Cost:
        """What a request will take, as far as can be said before it is sent."""
        body = job.asked.body
        if not job.raw_tokens:
            job.raw_tokens = raw_tokens(body)
        estimate = self._estimator.prompt_tokens(body.get("model"), job.raw_tokens)
        cost = job.reserved = self._groups[job.group].provider.reserve(body, estimate)
        return cost

    def heard(
        self,
        job: Job[ResponseT],
        admission: Admission,
        reply: HTTPReply,
        outcome: ResponseWrapper[ResponseT],
        now: float,
        *,
        over: bool,
    ) -> Cost | None:
        """A reply came: what it says of limits and of the weather, and what the request took.

        Where that is all, the request is `over`, and settled at once.
        """
        lane, ledger, provider = admission.way.lane, admission.ledger, admission.way.lane.provider
        error = outcome.error
        cost: Cost | None = None
        if error is None:
            self._latencies.add(outcome.latency)
            if ledger.counts_tokens:
                cost = self._took(job, admission, outcome)
        refused = error is not None and error.effect == "refused"
        stated = provider.read_limits(reply.headers, refused=refused)
        with lane.lock:
            if stated:
                ledger.hear(stated, admission.reservation, now, refused=refused)
            if error is None or error.effect == "none":
                ledger.accepted(admission.reservation, now)
            if error is None:
                lane.budget.earn()
            self._counters.refused += refused
            if error is None or error.effect != "down":
                _answered(lane, admission.reservation, now)
            else:
                ledger.dropped(now)
            if over:
                ledger.settle(admission.reservation, cost, now)
                if admission.probe:
                    lane.weather.ended()
        return cost

    def ask(self, lane: Lane[Any], answers: Sequence[Answered[ResponseT]]) -> list[Said]:
        """What answers say, by the provider's rule; nothing is changed by asking."""
        settle, read_limits = lane.provider.settle, lane.provider.read_limits
        said: list[Said] = []
        last: Ledger | None = None
        counted = False
        for job, admission, reply, outcome in answers:
            ledger = admission.ledger
            if ledger is not last:
                last, counted = ledger, ledger.counts_tokens
            cost = settle(job.reserved or self.weigh(job), outcome.tokens) if counted else None
            said.append((cost, read_limits(reply.headers, refused=False)))
        return said

    def heard_together(
        self, lane: Lane[Any], answers: Sequence[Answered[ResponseT]], said: Sequence[Said], now: float
    ) -> None:
        """As `heard`, for answers of one lane that came in a row, none of them a probe's; all are over."""
        learn, add = self._estimator.learn, self._latencies.add
        silent: dict[Ledger, list[tuple[Reservation, Cost | None]]] = {}
        telling = []
        last: Ledger | None = None
        for (job, admission, _, outcome), (cost, stated) in zip(answers, said, strict=True):
            ledger = admission.ledger
            if ledger is not last:
                last = ledger
                told = silent.setdefault(ledger, [])
            add(outcome.latency)
            if cost is not None:
                learn(outcome.model, job.raw_tokens, outcome.tokens.prompt_tokens)
            if stated:
                telling.append((ledger, stated, admission.reservation, cost))
            else:
                told.append((admission.reservation, cost))
        with lane.lock:
            lane.budget.earn(len(answers))
            if lane.weather.fair:
                lane.weather.answers += len(answers)
            else:
                for _, admission, _, _ in answers:
                    _answered(lane, admission.reservation, now)
            for ledger, stated, reservation, cost in telling:
                ledger.hear(stated, reservation, now)
                ledger.accepted(reservation, now)
                ledger.settle(reservation, cost, now)
            for ledger, settled in silent.items():
                if settled:
                    ledger.accepted_many([reservation for reservation, _ in settled], now)
                    ledger.settle_many(settled, now)

    def _took(self, job: Job[ResponseT], admission: Admission, outcome: ResponseWrapper[ResponseT]) -> Cost:
        """What an answered request took of the limits, which teaches what the next ones will."""
        cost = admission.way.lane.provider.settle(job.reserved or self.weigh(job), outcome.tokens)
        self._estimator.learn(outcome.model, job.raw_tokens, outcome.tokens.prompt_tokens)
        return cost


def _answered(lane: Lane[Any], reservation: Reservation, now: float) -> None:
    if lane.weather.answered(now, reservation.sent):
        for ledger in lane.ledgers().values():
            ledger.reopen(now)
