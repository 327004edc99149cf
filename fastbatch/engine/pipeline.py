"""One attempt at one request: gate, build, send, parse, settle, and what to do if it failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from fastbatch.engine.clock import Clock
from fastbatch.engine.events import Counters
from fastbatch.engine.fallback import elsewhere
from fastbatch.engine.gate import Elsewhere, Gate, GateShut
from fastbatch.engine.hedge import Again, Hedge
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group
from fastbatch.engine.latencies import Latencies
from fastbatch.engine.line import Admission, Line
from fastbatch.engine.settler import Settler
from fastbatch.engine.till import Till
from fastbatch.engine.verdict import ASK_AGAIN, ELSEWHERE, Judge, ask_again, pay, unfit
from fastbatch.errors import ConnectFailed, InvalidRequest, RequestError
from fastbatch.limits.cost import Cost
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import EMBEDDINGS, MODERATIONS
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.stream import StreamedReply
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryDecision
from fastbatch.transport.base import Transport
from fastbatch.transport.timeout import Timeout

ResponseT = TypeVar("ResponseT")


WHOLE = frozenset((EMBEDDINGS, MODERATIONS))
"""Endpoints whose replies come in one piece always."""


class Witness(Protocol):
    """Writes down that a request leaves, before it does: a crash loses no track of what was bought."""

    def sent(self, job: Job[Any], prompt_tokens: int) -> Awaitable[None]:
        """Done when it is safe to send; raises where it cannot be written down."""
        ...

    def leave(self, rows: Sequence[tuple[Job[Any], int, int]], then: Callable[[], None]) -> object:
        """As `sent` for several requests, each with its attempt and its tokens; `then` is called when it is.

        It is not called where they cannot be written down: that ends the run.
        """
        ...

    def back(self, job: Job[Any]) -> None:
        """Nothing was bought after all, for certain."""
        ...


class Pipeline(Generic[ResponseT]):
    """Makes attempts; it holds no queue and sleeps only at the gate and on the wire."""

    def __init__(
        self,
        *,
        groups: Sequence[Group[ResponseT]],
        transport: Transport,
        gate: Gate[ResponseT],
        judge: Judge[ResponseT],
        hedge: Hedge | None,
        settler: Settler[ResponseT],
        counters: Counters,
        clock: Clock,
        timeout: Timeout,
        till: Till[ResponseT],
        reasks: int = 0,
        first_tokens: Latencies | None = None,
    ) -> None:
        self._groups = groups
        self._reasks = reasks
        self._first_tokens = first_tokens  # None where replies come in one piece
        self._transport = transport
        self._gate = gate
        self._judge = judge
        self._hedge = hedge
        self._settler = settler
        self._counters = counters
        self._clock = clock
        self._timeout = timeout
        self._till = till
        self.witness: Witness | None = None

    async def attempt(self, job: Job[ResponseT]) -> RetryDecision | None:
        """Send `job` once and leave the outcome on it.

        Returns:
            None when the outcome stands, answer or error; else the decision to send again, or to stop. With
            `ELSEWHERE` the job has moved to its fallback, and nothing was sent.

        Raises:
            NoMoney: what is left of the budget is less than it may cost; nothing was sent.
        """
        job.read()
        if not self._till.capped:
            return await self._attempt(job)
        try:
            await self._till.hold(job)
            return await self._attempt(job)
        except InvalidRequest as refused:
            self._fail(self._groups[job.group].provider, job, refused)
            return None
        finally:
            if job.held:  # nothing was sent
                self._till.release(job)

    async def _attempt(self, job: Job[ResponseT]) -> RetryDecision | None:
        group, gate, till = self._groups[job.group], self._gate, self._till
        line = gate.line(job.group, job.asked.body.get("model"))
        weigh = partial(self._settler.weigh, job)
        while True:
            job.reserved = None
            admission = gate.try_enter(line, weigh)
            if admission is None:
                try:
                    admission = await gate.wait(line, weigh, stays=job.failed_before)
                except Elsewhere:
                    place = elsewhere(self._groups, job.group, self._clock.time())
                    if place is not None:
                        job.group = place
                    elif not group.open:
                        raise GateShut from None  # the last endpoint was closed just now, which ends the run
                    return ELSEWHERE  # or to the same place: where it was to go another one went
                if till.falls_short(job):
                    gate.give_back(admission)
                    till.release(job)
                    await till.hold(job)
                    continue
            try:
                way = admission.way
                provider = way.endpoint.provider if way.endpoint.ready else await way.endpoint.open()
                call = self._build(provider, job)
                if self.witness is not None and not job.noted:
                    await self.witness.sent(job, len(call.body) // 4)
                    job.noted = True
            except RequestError as refused:
                self._gate.give_back(admission)
                self._fail(provider, job, refused)
                return None
            except BaseException:  # no service, a full disk, or cancelled: nothing leaves
                self._gate.give_back(admission)
                raise
            renewed = gate.renewed(admission, weigh)
            if renewed is not None:
                admission = renewed
                break
        job.noted = False
        again = None if self._hedge is None else partial(self._again, job, line, weigh)
        return await self._exchange(job, admission, provider, call, again)

    async def _exchange(
        self,
        job: Job[ResponseT],
        admission: Admission,
        provider: Provider[ResponseT],
        call: HTTPCall,
        again: Again | None,
    ) -> RetryDecision | None:
        """Send what has been let through, and settle what came of it."""
        came: HTTPReply | RequestError
        second: Admission | None = None
        job.attempts += 1
        job.tries += 1
        self._counters.in_flight += 1
        began = self._clock.time()
        try:
            if self._hedge is None or again is None:
                came = await self._transport.send(call, self._timeout)
            else:
                came, second = await self._hedge.send(
                    self._transport,
                    call,
                    self._timeout,
                    self._gate,
                    again=again,
                    lost=partial(self._lost, job),
                )
        except RequestError as broken:
            came = broken
        except BaseException:  # cancelled: it may have arrived
            self._gate.leave(admission, None)
            self._till.doubt(job)
            raise
        finally:
            self._counters.in_flight -= 1
        return self.conclude(job, admission, provider, came, began, second)

    def conclude(  # noqa: PLR0917  (called with all of them at both places)
        self,
        job: Job[ResponseT],
        admission: Admission,
        provider: Provider[ResponseT],
        came: HTTPReply | RequestError,
        began: float,
        second: Admission | None = None,
    ) -> RetryDecision | None:
        """Settle what came of a request that left at `began`, and leave the outcome on its job.

        `second` is the straggler's other request, where that was answered. Returns what `attempt` does.
        """
        counters, gate = self._counters, self._gate
        now = self._clock.time()
        cost: Cost | None = None
        sent, over = True, False
        try:
            if not isinstance(came, RequestError):
                try:
                    outcome = provider.parse(came).of(job.request, index=job.index, key=job.key)
                    if job.asked is not job.request:
                        outcome.model = job.asked.body.get("model")
                        outcome.shape = job.asked.shape
                    outcome.latency = now - began
                    if outcome.error is None or any(outcome.tokens):
                        outcome.picos = self._till.price(outcome)
                    if isinstance(came, StreamedReply) and came.first_token is not None:
                        outcome.first_token = came.first_token
                        if self._first_tokens is not None and outcome.error is None:
                            self._first_tokens.add(came.first_token)
                    over = outcome.error is None and second is None
                    cost = self._settler.heard(job, second or admission, came, outcome, now, over=over)
                except RequestError as broken:
                    came = broken
            if isinstance(came, RequestError):
                sent = not isinstance(came, ConnectFailed)
                over = False
                if not sent:  # so nothing was tried, and no limit has counted it
                    job.attempts -= 1
                    job.tries -= 1
                outcome = self._fail(provider, job, came)
                if sent:
                    outcome.picos = 0
                    outcome.latency = now - began
                    with admission.way.lane.lock:
                        admission.ledger.dropped(now)
        except BaseException:  # a foreign provider broke
            gate.leave(admission, None)
            self._till.doubt(job)
            raise
        finally:
            if second is not None:
                gate.leave(second, cost)
                cost = None
        if sent:
            counters.sent += 1
            counters.retries += job.attempts > 1 and not job.anew
            counters.reasks += job.anew
            job.anew = False
            self._till.settle(job, outcome)
            pay(job, outcome)
        else:
            self._till.release(job)
        outcome.attempts = job.attempts
        job.outcome = outcome
        decision = None
        if outcome.error is not None:  # judged before the next one is let through: it may have to wait
            outcome.tokens, outcome.reasks = job.spent, job.reasks
            decision = self._judge.judge(outcome.error, job, second or admission, now)
            if decision is None:
                outcome.error = unfit(job, outcome.error)
        elif job.asked.shape is not None:
            decision = ask_again(job, self._reasks)
        if over:
            gate.look()
        elif sent:
            gate.leave(admission, cost)
        else:
            gate.give_back(admission)
        if self.witness is not None and (
            decision is ASK_AGAIN or (decision is not None and not job.maybe_billed)
        ):
            self.witness.back(job)  # nothing is open of it
        return decision

    def _again(
        self, job: Job[ResponseT], line: Line[ResponseT], weigh: Callable[[], Cost]
    ) -> tuple[Admission, HTTPCall] | None:
        """Room for the same request once more, at once, where everything is ready for it."""
        admission = self._gate.try_enter(line, weigh)
        if admission is None:
            return None
        endpoint = admission.way.endpoint
        if not admission.probe and endpoint.ready:
            call = self._build(endpoint.provider, job)
            if self._till.hold_again(job):
                return admission, call
        self._gate.give_back(admission)
        return None

    def _lost(self, job: Job[ResponseT], came: HTTPReply | RequestError | None) -> None:
        """The request of a straggler's two that does not count came to this."""
        billed = came.maybe_billed if isinstance(came, RequestError) else came is None or came.status < 300
        self._till.give_up(job, billed=billed)

    def _build(self, provider: Provider[ResponseT], job: Job[ResponseT]) -> HTTPCall:
        """The call that asks what the job asks; a streamed one only where one can be streamed."""
        if self._first_tokens is None or job.asked.endpoint in WHOLE:
            return provider.build(job.asked)
        return provider.build(job.asked, stream=True)

    def waiting_reason(self) -> str:
        """Why requests stand still, empty when they do not."""
        return self._gate.waiting_reason()

    def shut(self) -> None:
        """Start no further attempt; those under way go on."""
        self._gate.shut()
        self._till.shut()

    def _fail(
        self, provider: Provider[ResponseT], job: Job[ResponseT], error: RequestError
    ) -> ResponseWrapper[ResponseT]:
        """The outcome of a request that got no reply."""
        error = unfit(job, error)
        error.provider = provider.name
        error.attempts = job.attempts
        outcome: ResponseWrapper[ResponseT] = ResponseWrapper(
            provider.reader, provider=provider.name, status=error.status, error=error
        )
        outcome.attempts = job.attempts
        outcome.tokens, outcome.reasks, outcome.picos = job.spent, job.reasks, job.paid
        if job.outcome is not None:  # the reply before it
            outcome.prices, outcome.summed = job.outcome.prices, job.outcome.summed
        job.outcome = outcome.of(job.request, index=job.index, key=job.key)
        outcome.model = job.asked.body.get("model")
        return outcome
