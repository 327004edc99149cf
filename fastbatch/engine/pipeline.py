"""One attempt at one request: gate, build, send, parse, settle, and what to do if it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from fastbatch.engine.clock import Clock
from fastbatch.engine.endpoint import Endpoint
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import Gate
from fastbatch.errors import BadResponse, ConnectFailed, RequestError, RunStopped
from fastbatch.limits.outage import Outage
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryDecision, RetryPolicy
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

ResponseT = TypeVar("ResponseT")

_REFUSALS = 20  # a request that alone cannot connect so often fails; in an outage all of them wait


class Job(Generic[ResponseT]):
    """One row on its way through the engine.

    `tag` is the source's own note on it (a file's line); `followers` are identical rows that take its answer.
    """

    __slots__ = (
        "answers_then",
        "attempts",
        "broken",
        "followers",
        "index",
        "key",
        "maybe_billed",
        "outcome",
        "refused",
        "request",
        "tag",
    )

    def __init__(self, request: LLMRequest, index: int, key: str, tag: Any = None) -> None:
        self.request = request
        self.index = index
        self.key = key
        self.tag = tag
        self.attempts = 0
        self.broken = 0  # replies that were no answer
        self.refused = 0  # connections that did not come about
        self.answers_then = 0  # replies to everybody at the first of these
        self.maybe_billed = False  # what one attempt may have cost, no refusal of a later one takes back
        self.followers: list[Job[ResponseT]] | None = None
        self.outcome: ResponseWrapper[ResponseT] | None = None


class Witness(Protocol):
    """Writes down that a request leaves, before it does: a crash loses no track of what was bought."""

    async def sent(self, job: Job[Any], prompt_tokens: int) -> None:
        """Return when it is safe to send; raises where it cannot be written down."""
        ...

    def back(self, job: Job[Any]) -> None:
        """Nothing was bought after all, for certain."""
        ...


class Pipeline(Generic[ResponseT]):
    """Makes attempts; it holds no queue and sleeps only at the gate and on the wire."""

    def __init__(
        self,
        *,
        endpoint: Endpoint[ResponseT],
        transport: Transport,
        gate: Gate,
        retry: RetryPolicy,
        estimator: TokenEstimator,
        counters: Counters,
        clock: Clock,
        dice: Callable[[], float],
        timeout: float | Timeout,
    ) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._gate = gate
        self._retry = retry
        self._estimator = estimator
        self._counters = counters
        self._clock = clock
        self._dice = dice
        self._timeout = Timeout.of(timeout)
        self.witness: Witness | None = None
        self._outage = Outage()

    async def attempt(self, job: Job[ResponseT]) -> RetryDecision | None:
        """Send `job` once and leave the outcome on it.

        Returns:
            None when the outcome stands, answer or error; else the decision to send again, or to stop.
        """
        endpoint, counters, clock = self._endpoint, self._counters, self._clock
        provider = endpoint.provider if endpoint.ready else await endpoint.open()
        try:
            call = provider.build(job.request)
        except RequestError as refused:
            job.outcome = self._failure(provider, job, refused)
            return None
        body = job.request.body
        tokens = self._reserved(provider, body) if self._gate.counts_tokens else 0
        reservation = await self._gate.enter(tokens)
        if self.witness is not None:
            try:
                await self.witness.sent(job, len(call.body) // 4)
            except BaseException:  # a full disk, or cancelled: nothing leaves
                self._gate.give_back(reservation)
                raise
        took: int | None = None
        sent = True
        job.attempts += 1
        counters.in_flight += 1
        began = clock.time()
        try:
            reply = await self._transport.send(call, self._timeout)
            outcome = provider.parse(reply).of(job.request, index=job.index, key=job.key)
            outcome.attempts = job.attempts
            outcome.latency = clock.time() - began
            self._outage.answered()
            if outcome.error is None and self._gate.counts_tokens:
                took = provider.settle_tokens(body, outcome.tokens)
                self._estimator.learn(body, outcome.tokens.prompt_tokens)
        except ConnectFailed as refused:
            sent = False  # so nothing was tried, and no limit has counted it
            job.attempts -= 1
            outcome = self._failure(provider, job, refused)
        except RequestError as broken:
            outcome = self._failure(provider, job, broken)
            outcome.latency = clock.time() - began
        finally:
            counters.in_flight -= 1
            if sent:
                self._gate.leave(reservation, took)
            else:
                self._gate.give_back(reservation)
        if sent:
            counters.sent += 1
            counters.retries += job.attempts > 1
        job.outcome = outcome
        if outcome.error is None:
            return None
        decision = self._judge(outcome.error, job)
        if decision is not None and self.witness is not None and not outcome.error.maybe_billed:
            self.witness.back(job)
        return decision

    def waiting_reason(self) -> str:
        """Why requests stand still, empty when they do not."""
        if self._outage.lasted(self._clock.time()):
            return f"no connection for {self._outage.lasted(self._clock.time()):.0f} s"
        return self._gate.waiting_reason()

    def shut(self) -> None:
        """Start no further attempt; those under way go on."""
        self._gate.shut()

    def _judge(self, error: RequestError, job: Job[ResponseT]) -> RetryDecision | None:
        error.attempts = job.attempts
        error.maybe_billed = job.maybe_billed = job.maybe_billed or error.maybe_billed
        if isinstance(error, ConnectFailed) and not error.stops_run:
            if job.refused == 0:
                job.answers_then = self._outage.answers
            job.refused += 1
            # Others are answered while this one finds no connection again and again: it is not the endpoint.
            if job.refused > _REFUSALS and self._outage.answers > job.answers_then + _REFUSALS:
                return None
            wait = self._outage.refused(self._clock.time())
            if wait is None:
                return RetryDecision("stop", "the endpoint cannot be reached")
            return RetryDecision("retry", "no connection", wait * (0.5 + 0.5 * self._dice()))
        decision = self._retry.decide(error, job.attempts, self._dice(), broken_before=job.broken)
        job.broken += isinstance(error, BadResponse)
        if decision.action == "fail":
            return None
        if decision.pause:
            self._gate.pause(decision.wait, decision.reason)
        return decision

    def _reserved(self, provider: Provider[ResponseT], body: dict[str, Any]) -> int:
        return provider.reserve_tokens(body, self._estimator.prompt_tokens(body))

    def _failure(
        self, provider: Provider[ResponseT], job: Job[ResponseT], error: RequestError
    ) -> ResponseWrapper[ResponseT]:
        """The outcome of a request that got no reply."""
        error.provider = provider.name
        error.attempts = job.attempts
        outcome: ResponseWrapper[ResponseT] = ResponseWrapper(
            provider.reader, provider=provider.name, status=error.status, error=error
        )
        outcome.attempts = job.attempts
        return outcome.of(job.request, index=job.index, key=job.key)


def stopped(outcome: ResponseWrapper[Any] | None, decision: RetryDecision) -> RunStopped:
    """The exception that ends a run: what happened, and what to do."""
    error = outcome.error if outcome is not None else None
    cures = {
        "AuthenticationFailed": "Check the key, then run again to go on.",
        "QuotaExhausted": "Add credit or raise the limit, then run again to go on.",
        "ConnectFailed": "Check the address and that the server runs, then run again to go on.",
    }
    cure = cures.get(type(error).__name__, "Run again later to go on.")
    said = f" ({error.message.removesuffix('.')})" if error is not None else ""
    return RunStopped(f"Stopped: {decision.reason}{said}. {cure}", cause=error)
