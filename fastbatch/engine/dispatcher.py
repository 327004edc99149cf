"""Requests that have nothing to wait for are sent and heard in batches, without a task or a future each.

An attempt of the pipeline is a coroutine, since it may sleep: at the gate, for a service, for another
endpoint. Where nothing holds a run back, what a turn of the event loop brings is done together here: one look
at the limits, one word to the journal, one settlement. Whatever is out of the ordinary is the pipeline's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from fastbatch.engine.clock import Clock
from fastbatch.engine.events import Counters
from fastbatch.engine.gate import Gate
from fastbatch.engine.job import Job
from fastbatch.engine.lane import Group
from fastbatch.engine.line import FREE, Admission
from fastbatch.engine.pipeline import Pipeline
from fastbatch.engine.settler import Answered, Settler
from fastbatch.engine.till import Till
from fastbatch.engine.verdict import AT_ONCE, pay
from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryDecision
from fastbatch.transport.base import Dispatched, Dispatching
from fastbatch.transport.timeout import Timeout

ResponseT = TypeVar("ResponseT")

_made = tuple.__new__  # a named tuple's own constructor is a function in Python


class Departure(Generic[ResponseT]):
    """A request on its way; the transport tells it the reply, or the error."""

    __slots__ = (
        "admission", "began", "call", "came", "dispatched", "inbox", "job", "over", "provider", "tokens",
    )  # fmt: skip

    def __init__(
        self,
        job: Job[ResponseT],
        admission: Admission,
        provider: Provider[ResponseT],
        call: HTTPCall,
        inbox: Callable[[Departure[ResponseT]], None],
    ) -> None:
        self.job = job
        self.admission = admission
        self.provider = provider
        self.call = call
        self.tokens = len(call.body) // 4  # about, for the record
        self.inbox = inbox
        self.began: float | None = None  # None: it waits for its entry in the journal
        self.dispatched: Dispatched | None = None
        self.came: HTTPReply | RequestError | None = None
        self.over = False

    def done(self) -> bool:
        """Whether it has been told, or nobody wants to know."""
        return self.over

    def set_result(self, reply: HTTPReply, /) -> None:
        """The reply is here."""
        self.over = True
        self.came = reply
        self.inbox(self)

    def set_exception(self, error: RequestError, /) -> None:
        """There is none."""
        self.over = True
        self.came = error
        self.inbox(self)


class Dispatcher(Generic[ResponseT]):
    """Sends what is ready while the one endpoint of a run is open and nobody waits for it.

    Attributes:
        under_way: requests that were taken and are not concluded.
    """

    def __init__(
        self,
        transport: Dispatching,
        *,
        group: Group[ResponseT],
        pipeline: Pipeline[ResponseT],
        settler: Settler[ResponseT],
        gate: Gate[ResponseT],
        counters: Counters,
        clock: Clock,
        timeout: Timeout,
        till: Till[ResponseT],
    ) -> None:
        self._transport = transport
        self._way = group.ways[0]
        self._pipeline = pipeline
        self._settler = settler
        self._gate = gate
        self._counters = counters
        self._clock = clock
        self._timeout = timeout
        self._till = till
        self._alive: dict[Departure[ResponseT], None] = {}
        self._came: list[Departure[ResponseT]] = []
        self._closed = False
        self._was_late = False
        self.under_way = 0

    def start(
        self,
        *,
        concluded: Callable[[list[Job[ResponseT]], list[tuple[Job[ResponseT], RetryDecision]]], None],
        broke: Callable[[Exception, Job[ResponseT] | None], None],
    ) -> None:
        """Begin.

        Args:
            concluded: is given the jobs that have their outcome, and the others, with what is to be done with
                each.
            broke: is told an error that no request is at fault for, and whose job met it.
        """
        self._concluded = concluded
        self._broke = broke
        self._loop = asyncio.get_running_loop()

    def take(self, ready: deque[Job[ResponseT]], room: int) -> int:
        """Send those of the first `room` jobs that have nothing to wait for, and take them out; how many.

        Raises:
            Exception: a foreign provider broke; its job and those that were to leave with it are still there.
        """
        if not self._open():
            return 0
        jobs = list(islice(ready, room))
        taken = 0
        while taken < len(jobs):
            model = _model(jobs[taken])
            end = taken + 1
            while end < len(jobs) and _model(jobs[end]) == model:
                end += 1
            departures = self._admit(jobs[taken:end], model)
            for _ in departures:
                ready.popleft()
            taken += len(departures)
            self._announce(departures)
            if taken < end:
                break
        return taken

    def close(self) -> None:
        """Give up what is under way; it may have arrived."""
        self._closed = True
        for departure in self._alive:
            departure.over = True
            if departure.began is None:
                self._gate.give_back(departure.admission)
                self._till.release(departure.job)
                continue
            self._counters.in_flight -= 1
            if departure.dispatched is not None:
                departure.dispatched.forsake(departure)
            self._gate.leave(departure.admission, None)
            self._till.doubt(departure.job)
        self._alive.clear()
        self.under_way = 0

    def _open(self) -> bool:
        way = self._way
        return way.closed is None and way.endpoint.ready and not self._closed and self._gate.clear

    def _admit(self, jobs: Sequence[Job[ResponseT]], model: Any) -> list[Departure[ResponseT]]:
        """Room for as many jobs of one model as there is, the first of them first, and their requests."""
        if not self._till.capped:
            return self._admitted(jobs, model)
        held = self._till.hold_first(jobs)
        departures: list[Departure[ResponseT]] = []
        try:
            if held:
                departures = self._admitted(jobs[:held], model)
            return departures
        finally:
            for job in jobs[len(departures) : held]:
                self._till.release(job)

    def _admitted(self, jobs: Sequence[Job[ResponseT]], model: Any) -> list[Departure[ResponseT]]:
        way, transport = self._way, self._transport
        provider = way.endpoint.provider
        account = self._gate.line(0, model).only
        if account is None:
            return []
        ledger = account[1]
        try:
            call = provider.build(jobs[0].asked)
        except RequestError:
            return []
        url = call.url
        if not transport.dispatches(url):
            return []
        if ledger.counts_tokens:
            weigh = self._settler.weigh
            costs = [weigh(job) for job in jobs]
        else:
            costs = [FREE] * len(jobs)
            for job in jobs:
                job.reserved = None
        with way.lane.lock:
            if way.lane.weather.parked:
                return []
            granted = ledger.reserve_many(costs, self._clock.time())
        departures: list[Departure[ResponseT]] = []
        admissions = [_made(Admission, (way, ledger, reservation, False)) for reservation in granted]
        try:
            for job, admission in zip(jobs, admissions, strict=False):
                if departures:
                    try:
                        call = provider.build(job.asked)
                    except RequestError:
                        break
                    if call.url != url and not transport.dispatches(call.url):
                        break
                departures.append(Departure(job, admission, provider, call, self._arrived))
        except BaseException:
            for admission in admissions:
                self._gate.give_back(admission)
            raise
        for admission in admissions[len(departures) :]:
            self._gate.give_back(admission)
        return departures

    def _announce(self, departures: Sequence[Departure[ResponseT]]) -> None:
        """They leave when somebody has it on disk, where anybody wants that."""
        if not departures:
            return
        self.under_way += len(departures)
        self._alive.update(dict.fromkeys(departures))
        witness = self._pipeline.witness
        if witness is None:
            self._leave(departures)
            return
        if self._was_late and (noted := [each for each in departures if each.job.noted]):
            departures = [each for each in departures if not each.job.noted]
            self._leave(noted)
            if not departures:
                return
        rows = [(each.job, each.job.attempts + 1, each.tokens) for each in departures]
        try:
            witness.leave(rows, partial(self._leave, departures))
        except Exception as error:  # noqa: BLE001  (they are in nobody's hands: the run must not wait for them)
            self._broke(error, None)

    def _leave(self, departures: Sequence[Departure[ResponseT]]) -> None:
        """It is on disk that they are about to leave."""
        if self._closed:
            return
        transport, timeout, now = self._transport, self._timeout, self._clock.time()
        _, ledger, granted, _ = departures[0].admission
        if ledger.stale(granted, now):
            self._come_back(departures)
            return
        for departure in departures:
            self._counters.in_flight += 1
            job = departure.job
            job.attempts += 1
            job.tries += 1
            if self._was_late:
                job.noted = False
            departure.began = now
            try:
                departure.dispatched = transport.dispatch(departure.call, timeout, departure)
            except RequestError as error:
                departure.set_exception(error)
            except Exception as error:  # noqa: BLE001  (a foreign provider's call is none; the run raises it)
                self._forget(departure, error)

    def _forget(self, departure: Departure[ResponseT], error: Exception) -> None:
        """Nothing left, for a reason that ends the run; what is in flight comes back."""
        del self._alive[departure]
        self.under_way -= 1
        self._counters.in_flight -= 1
        job = departure.job
        job.attempts -= 1
        job.tries -= 1
        self._gate.give_back(departure.admission)
        self._till.release(job)
        if self._pipeline.witness is not None and not job.maybe_billed:
            self._pipeline.witness.back(job)
        self._broke(error, job)

    def _come_back(self, departures: Sequence[Departure[ResponseT]]) -> None:
        """What was granted together is too old to leave by: all of them ask for room again."""
        self._was_late = True
        self.under_way -= len(departures)
        for departure in departures:
            del self._alive[departure]
            departure.job.noted = True
            self._gate.give_back(departure.admission)
            self._till.release(departure.job)
        self._concluded([], [(departure.job, AT_ONCE) for departure in reversed(departures)])

    def _arrived(self, departure: Departure[ResponseT]) -> None:
        """What a turn of the loop brings is heard together."""
        if not self._came:
            self._loop.call_soon(self._hear)
        self._came.append(departure)

    def _hear(self) -> None:
        """Judge what came in the order in which it did; answers that came in a row are settled together."""
        came, self._came = self._came, []
        if self._closed:
            return
        self._counters.in_flight -= len(came)
        self.under_way -= len(came)
        now = self._clock.time()
        done: list[Job[ResponseT]] = []
        undone: list[tuple[Job[ResponseT], RetryDecision]] = []
        row: list[Departure[ResponseT]] = []
        answers: list[Answered[ResponseT]] = []
        try:
            for departure in came:
                answer = self._answer(departure, now)
                if answer is not None:
                    row.append(departure)
                    answers.append(answer)
                    continue
                if answers:
                    self._settle(row, answers, now, done, undone)
                    row, answers = [], []
                self._conclude(departure, done, undone)
            if answers:
                self._settle(row, answers, now, done, undone)
            self._gate.look()
            self._concluded(done, undone)
        except Exception as error:  # noqa: BLE001  (ours; nobody waits here who could be told)
            self._broke(error, None)

    def _answer(self, departure: Departure[ResponseT], now: float) -> Answered[ResponseT] | None:
        """What came, where it is an answer."""
        job, reply = departure.job, departure.came
        if type(reply) is not HTTPReply:
            return None
        assert departure.began is not None
        try:
            outcome = departure.provider.parse(reply)
            if outcome.error is not None or job.reasks:
                return None
            outcome.of(job.request, index=job.index, key=job.key)
            if job.asked is not job.request:
                outcome.model = job.asked.body.get("model")
            outcome.latency = now - departure.began
            outcome.attempts = job.attempts
            outcome.picos = self._till.price(outcome)
            shape = job.asked.shape
            if shape is not None and shape.problem(outcome) is not None:
                return None
        except Exception:  # noqa: BLE001  (a foreign provider: it is met again where it can be told)
            return None
        return job, departure.admission, reply, outcome

    def _settle(
        self,
        row: Sequence[Departure[ResponseT]],
        answers: Sequence[Answered[ResponseT]],
        now: float,
        done: list[Job[ResponseT]],
        undone: list[tuple[Job[ResponseT], RetryDecision]],
    ) -> None:
        """Settle answers that came in a row."""
        lane, settler = self._way.lane, self._settler
        try:
            settler.heard_together(lane, answers, settler.ask(lane, answers), now)
        except Exception:  # noqa: BLE001  (a foreign provider: as above)
            for departure in row:
                self._conclude(departure, done, undone)
            return
        again, capped = 0, self._till.capped
        for departure, (job, _, _, outcome) in zip(row, answers, strict=True):
            del self._alive[departure]
            job.outcome = outcome
            if capped:
                self._till.settle(job, outcome)
            if job.paid != 0:
                pay(job, outcome)
            again += job.attempts > 1
            done.append(job)
        self._counters.sent += len(answers)
        self._counters.retries += again

    def _conclude(
        self,
        departure: Departure[ResponseT],
        done: list[Job[ResponseT]],
        undone: list[tuple[Job[ResponseT], RetryDecision]],
    ) -> None:
        """Judge what is no answer."""
        job, came = departure.job, departure.came
        assert came is not None
        assert departure.began is not None
        del self._alive[departure]
        try:
            decision = self._pipeline.conclude(
                job, departure.admission, departure.provider, came, departure.began
            )
        except Exception as error:  # noqa: BLE001  (a foreign provider; the run raises it)
            self._broke(error, job)
            return
        if decision is None:
            done.append(job)
        else:
            undone.append((job, decision))


def _model(job: Job[Any]) -> Any:
    """The model that a job asks for, which has to be read for that."""
    if job.reader is not None:
        job.read()
    return job.asked.body.get("model")
