"""What one run needs, opened together and closed together: endpoint, transport, gate, pipeline, counters."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from fastbatch import registry
from fastbatch.cache.base import CacheProvider
from fastbatch.cache.guarded import GuardedCache
from fastbatch.engine.clock import Clock, SystemClock
from fastbatch.engine.endpoint import Endpoint, SharedService
from fastbatch.engine.events import Counters, Event, Listener, Meter, RunFinished, RunStarted, Ticker
from fastbatch.engine.gate import Gate, SharedLedger
from fastbatch.engine.pipeline import Job, Pipeline
from fastbatch.engine.run import Recorder, Run
from fastbatch.engine.store import AnswerStore, RecentAnswers
from fastbatch.hashing import compute_request_hash
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.models.request import LLMRequest
from fastbatch.models.stats import Snapshot
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryPolicy
from fastbatch.transport.base import Transport

ResponseT = TypeVar("ResponseT")

logger = logging.getLogger(__name__)

Identical = Literal["share", "sample"]

# Bytes. Without a cache a run still remembers some thousand of its own answers, so that identical rows share
# them; more would be a run's memory growing with its input.
_OWN_MEMORY = 8 * 1024 * 1024


def aiohttp_transport() -> Transport:
    """The default transport, imported when the first run starts."""
    from fastbatch.transport.aiohttp import AiohttpTransport

    return AiohttpTransport()


@dataclass(frozen=True, slots=True)
class Settings(Generic[ResponseT]):
    """Everything that stays the same from run to run of one manager."""

    provider: Provider[ResponseT]
    service: SharedService | None
    concurrency: int
    ledger: SharedLedger
    estimator: TokenEstimator
    cache: CacheProvider | None
    retry: RetryPolicy
    timeout: float
    identical: Identical
    progress: str | Listener | None
    transport: Callable[[], Transport] = aiohttp_transport
    clock: Clock = field(default_factory=SystemClock)
    dice: Callable[[], float] = random.random

    def key(self, request: LLMRequest, occurrence: int = 0) -> str:
        """The request's hash at this endpoint.

        Raises:
            InvalidRequest: its body is not JSON.
        """
        return compute_request_hash(self.provider.identity, request.endpoint, request.body, occurrence)


class Session(AbstractAsyncContextManager["Session[ResponseT]"], Generic[ResponseT]):
    """One run's parts, between `async with` and its end.

    >>> async with Session(settings, title="openai:gpt-4o-mini") as session:   # doctest: +SKIP
    ...     run = session.run(source)
    ...     async for block in run.blocks(): ...
    """

    def __init__(self, settings: Settings[ResponseT], *, title: str) -> None:
        self._settings = settings
        self._title = title
        self._recorder: Recorder | None = None
        self.counters = Counters()
        self.meter = Meter(self.counters, settings.clock)
        self.endpoint = Endpoint(settings.provider, settings.service, settings.concurrency)
        self._gate = Gate(settings.ledger, settings.clock)
        self._transport = settings.transport()
        self._pipeline = Pipeline(
            endpoint=self.endpoint,
            transport=self._transport,
            gate=self._gate,
            retry=settings.retry,
            estimator=settings.estimator,
            counters=self.counters,
            clock=settings.clock,
            dice=settings.dice,
            timeout=settings.timeout,
        )
        progress = settings.progress
        found = registry.find("progress", progress)() if isinstance(progress, str) else progress
        self.listener: Listener | None = found
        self._ticker: Ticker | None = None

    async def __aenter__(self) -> Self:
        await self._transport.open(connections=self._settings.concurrency)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        self._gate.shut()
        try:
            await self._transport.close()
        finally:
            try:
                await self.endpoint.close()
            finally:
                if self.listener is not None and self._ticker is not None:
                    self.tell(RunFinished(self.picture(), _reason(error)))

    def record_with(self, recorder: Recorder) -> None:
        """Have everything written down before it counts; called before `run`."""
        self._recorder = recorder
        self._pipeline.witness = recorder

    def run(self, source: AsyncIterator[list[Job[ResponseT]]]) -> Run[ResponseT]:
        """The run of `source`; tells the listener that it starts."""
        settings = self._settings
        cache = settings.cache
        keeper = RecentAnswers(_OWN_MEMORY) if cache is None else cache
        if self.listener is not None:
            self.tell(RunStarted(self._title, self.counters.total))
            self._ticker = Ticker(self.tell, self.picture, settings.clock)
            self._ticker.start()
        return Run(
            source,
            pipeline=self._pipeline,
            provider=settings.provider,
            store=AnswerStore(keeper),
            remembers=cache is not None,
            counters=self.counters,
            clock=settings.clock,
            concurrency=settings.concurrency,
            recorder=self._recorder,
        )

    def tell(self, event: Event) -> None:
        """Tell the listener; one that raises is told nothing more, and the run goes on."""
        if self.listener is None:
            return
        try:
            self.listener.notify(event)
        except Exception:  # a user's own code: no display may cost paid answers
            logger.warning("the progress display failed and is not used any more", exc_info=True)
            self.listener = None

    def picture(self) -> Snapshot:
        """The run at this moment."""
        return self.meter.picture(self._gate.saturation(), self._pipeline.waiting_reason())


def guarded(cache: CacheProvider | None) -> CacheProvider | None:
    """A cache that cannot end a run."""
    return cache if cache is None or isinstance(cache, GuardedCache) else GuardedCache(cache)


def _reason(error: BaseException | None) -> str:
    return "" if error is None or isinstance(error, GeneratorExit) else str(error) or type(error).__name__
