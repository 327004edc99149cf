"""What one run needs, opened together and closed together: endpoint, transport, gate, pipeline, counters."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from fastbatch import registry
from fastbatch.cache.base import CacheProvider
from fastbatch.cache.guarded import GuardedCache
from fastbatch.engine.addresses import Addresses, Places
from fastbatch.engine.changes import Changes
from fastbatch.engine.clock import Clock, SystemClock
from fastbatch.engine.descriptors import file_limit, room_for_connections
from fastbatch.engine.dispatcher import Dispatcher
from fastbatch.engine.events import Counters, Event, Listener, Meter, Notice, RunFinished, RunStarted, Ticker
from fastbatch.engine.fallback import readdress
from fastbatch.engine.gate import Gate
from fastbatch.engine.hedge import Hedge, spare
from fastbatch.engine.intake import Bulk, Candidate
from fastbatch.engine.job import Job
from fastbatch.engine.keeper import Keeper
from fastbatch.engine.lane import Group, Way
from fastbatch.engine.latencies import Latencies
from fastbatch.engine.pipeline import WHOLE, Pipeline
from fastbatch.engine.purse import Purse
from fastbatch.engine.room import room_for_rows
from fastbatch.engine.run import PATIENCE, Recorder, Run
from fastbatch.engine.settler import Settler
from fastbatch.engine.store import AnswerStore, RecentAnswers
from fastbatch.engine.streamed import StreamedTransport
from fastbatch.engine.tariff import Tariff, Unpriced
from fastbatch.engine.till import ASIDE, Till
from fastbatch.engine.verdict import Judge
from fastbatch.hashing import hash_and_size
from fastbatch.limits.tokens import TokenEstimator
from fastbatch.models.money import dollars
from fastbatch.models.request import LLMRequest
from fastbatch.models.shape import Shape
from fastbatch.models.stats import Bill, Saturation, Snapshot, Weather
from fastbatch.models.telling import Structured
from fastbatch.pricing.book import PriceBook
from fastbatch.providers.base import Provider
from fastbatch.retry import RetryPolicy
from fastbatch.transport.base import Choosing, Dispatching, Transport
from fastbatch.transport.timeout import Timeout

if TYPE_CHECKING:
    from fastbatch.engine.crew.folder import OwnFolder

ResponseT = TypeVar("ResponseT")

logger = logging.getLogger(__name__)

Identical = Literal["share", "sample"]

# Bytes. Without a cache a run still remembers some thousand of its own answers, so that identical rows share
# them; more would be a run's memory growing with its input.
_OWN_MEMORY = 8 * 1024 * 1024

REASKS = 2
"""Times that a row is asked again whose answer does not fit."""


def default_transport() -> Transport:
    """The default transport, imported when the first run starts."""
    from fastbatch.transport.auto import AutoTransport

    return AutoTransport()


def default_prices() -> PriceBook:
    """The user's own prices and those that come with the package; the first time on a machine takes 0.2 s."""
    book: PriceBook = registry.find("assembly", "book")()
    return book


@dataclass(frozen=True, slots=True)
class Settings(Generic[ResponseT]):
    """Everything that stays the same from run to run of one manager."""

    addresses: tuple[Addresses[ResponseT], ...]  # the first is where rows belong, the others are fallbacks
    concurrency: int
    estimator: TokenEstimator
    cache: CacheProvider | None
    retry: RetryPolicy
    timeout: Timeout
    identical: Identical
    progress: str | Listener | None
    hedge: float = 0.0
    shared: bool | str | Path = False  # a folder is an account for whoever is told of it
    transport: Callable[[], Transport] = default_transport
    clock: Clock = field(default_factory=SystemClock)
    dice: Callable[[], float] = random.random
    shape: Shape | None = None  # of answers whose requests ask for no format of their own
    structured: Structured | Literal["auto"] = "auto"  # how models are told of shapes
    reasks: int = REASKS
    streamed: bool = False  # whether replies come in pieces
    workers: int = 1
    folder: OwnFolder | None = None  # the account of the limits of several workers
    prices: Callable[[], PriceBook] = default_prices
    purse: Purse | None = None  # what may be spent
    unpriced: Unpriced | None = None
    aside: int = ASIDE  # rows that may be left open for want of money, until the run ends
    wall: Callable[[], float] = time.time
    places: Places | None = None  # what the addresses were made of; processes make their own of it

    @property
    def provider(self) -> Provider[ResponseT]:
        """What names the endpoint, and identifies it in request hashes: the first of several."""
        return self.addresses[0].lanes[0].provider

    def way(self, provider: Provider[Any]) -> Structured:
        """How a model of `provider` is told of a shape."""
        return provider.structured[0] if self.structured == "auto" else self.structured

    @property
    def sayable(self) -> Callable[[LLMRequest], None] | None:
        """Refuses what the provider cannot be asked, or not in a stream; None where all can be."""
        return self._streamable if self.streamed else self.provider.check

    def _streamable(self, request: LLMRequest) -> None:
        self.provider.build(request, stream=request.endpoint not in WHOLE)

    def key(self, request: LLMRequest, occurrence: int = 0) -> str:
        """The request's hash at this endpoint.

        Raises:
            InvalidRequest: its body is not JSON.
        """
        return self.key_and_size(request, occurrence)[0]

    def key_and_size(self, request: LLMRequest, occurrence: int = 0) -> tuple[str, int]:
        """The request's hash, and the bytes of its body; raises as `key` does."""
        identity, shape = self.provider.identity, request.shape
        if shape is not None:
            identity = shape.apart(identity)
        return hash_and_size(identity, request.endpoint, request.body, occurrence, checked=request.checked)


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
        self._concurrency = settings.concurrency
        self._groups = _groups(settings.addresses)
        self._keeper: Keeper | None = None
        self._run: Run[ResponseT] | None = None
        if settings.shared:
            self._keeper = Keeper(settings.shared, settings.clock, look=self._look, fail=self._stop)
        self._gate = Gate(
            self._groups,
            settings.clock,
            opened=None if self._keeper is None else self._keeper.adopt,
            waits=None if self._keeper is None else self._keeper.wake,
        )
        self._transport = settings.transport()
        if settings.streamed:
            self._transport = StreamedTransport(self._transport, settings.clock.time)
        self._latencies = Latencies()
        self._first_tokens = Latencies()
        hedge = (
            Hedge(settings.hedge, self._latencies, self.counters, settings.clock) if settings.hedge else None
        )
        self._settler = Settler(self._groups, settings.estimator, self.counters, self._latencies)
        self._tariff: Tariff[ResponseT] = Tariff(
            settings.prices,
            groups=self._groups,
            counters=self.counters,
            wall=settings.wall,
            patience=settings.timeout.total,
            capped=settings.purse is not None,
            unpriced=settings.unpriced,
        )
        self.till = Till(
            self._tariff,
            counters=self.counters,
            clock=settings.clock,
            purse=settings.purse,
            aside=settings.aside,
        )
        self._pipeline = Pipeline(
            groups=self._groups,
            transport=self._transport,
            gate=self._gate,
            judge=Judge(self._groups, retry=settings.retry, dice=settings.dice, notice=self._notice),
            hedge=hedge,
            settler=self._settler,
            counters=self.counters,
            clock=settings.clock,
            timeout=settings.timeout,
            till=self.till,
            reasks=settings.reasks,
            first_tokens=self._first_tokens if settings.streamed else None,
        )
        progress = settings.progress
        found = registry.find("progress", progress)() if isinstance(progress, str) else progress
        self.listener: Listener | None = found
        self._ticker: Ticker | None = None
        self._changes = Changes(self.tell)

    async def __aenter__(self) -> Self:
        self._concurrency = self._clamped(self._settings.concurrency)
        more = spare(self._concurrency, self._settings.hedge)
        await self._transport.open(connections=self._concurrency + more)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        self._gate.shut()
        try:
            if self._keeper is not None:
                await self._keeper.close()
            await self._transport.close()
        finally:
            try:
                for way in self._ways:
                    await way.endpoint.close()
            finally:
                if self.listener is not None and self._ticker is not None:
                    self.tell(RunFinished(self.picture(), _reason(error)))

    @property
    def transport(self) -> Transport:
        """What sends; open as long as the session is."""
        return self._transport

    def record_with(self, recorder: Recorder) -> None:
        """Have everything written down before it counts; called before `run`."""
        self._recorder = recorder
        self._pipeline.witness = recorder

    def run(
        self,
        source: AsyncIterator[Sequence[Job[ResponseT] | Candidate]],
        *,
        bulk: Bulk[ResponseT] | None = None,
    ) -> Run[ResponseT]:
        """The run of `source`, with `bulk` for its candidates; tells the listener that it starts."""
        settings = self._settings
        cache = settings.cache
        keeper = RecentAnswers(_OWN_MEMORY) if cache is None else cache
        for way in self._ways:
            with way.lane.lock:
                way.lane.weather.begins(settings.clock.time())
        if self.listener is not None:
            self.tell(RunStarted(self._title, self.counters.total))
            self._ticker = Ticker(self.tell, self.picture, settings.clock)
            self._ticker.start()
        self._run = Run(
            source,
            pipeline=self._pipeline,
            provider=settings.provider,
            store=AnswerStore(keeper),
            remembers=cache is not None,
            counters=self.counters,
            clock=settings.clock,
            concurrency=self._concurrency,
            bulk=bulk,
            dispatcher=self._dispatcher(),
            till=self.till,
            fallback=self._readdress if len(self._groups) > 1 else None,
            recorder=self._recorder,
            patience=max(PATIENCE, 2 * settings.timeout.total),
            room=room_for_rows(),
            crowded=self._crowded,
        )
        return self._run

    def _dispatcher(self) -> Dispatcher[ResponseT] | None:
        """What sends in batches; nothing does where there is a choice of endpoints, or hedging."""
        transport, settings = self._transport, self._settings
        if len(self._ways) > 1 or settings.hedge or not isinstance(transport, Dispatching):
            return None
        return Dispatcher(
            transport,
            group=self._groups[0],
            pipeline=self._pipeline,
            settler=self._settler,
            gate=self._gate,
            counters=self.counters,
            clock=settings.clock,
            timeout=settings.timeout,
            till=self.till,
        )

    @property
    def _ways(self) -> list[Way[ResponseT]]:
        return [way for group in self._groups for way in group.ways]

    def _look(self) -> None:
        self._gate.look()

    def _stop(self, error: Exception) -> None:
        if self._run is not None:
            self._run.stop(error)

    def _readdress(self, job: Job[ResponseT]) -> Provider[ResponseT]:
        group = self._groups[job.group]
        settings = self._settings
        way = None if job.request.shape is None else settings.way(group.provider)
        readdress(job, group, sample=settings.identical == "sample", way=way)
        return group.provider

    def _clamped(self, concurrency: int) -> int:
        """Not more connections than descriptors, with a word about it."""
        hedge, room = self._settings.hedge, room_for_connections()
        if room is None or concurrency + spare(concurrency, hedge) <= room:
            return concurrency
        if hedge:
            room = max(1, int((room - 1) / (1 + hedge)))
        self._notice(
            f"concurrency {concurrency:,} became {room:,}: this process may open {file_limit():,} files "
            "(ulimit -n)"
        )
        return room

    def _crowded(self, rows: int) -> None:
        """So many rows are all that should be in memory at once."""
        self._notice(
            f"the rows are so large that about {rows:,} at once are in flight instead of "
            f"{self._concurrency:,}: more of them might exhaust the memory"
        )

    def _notice(self, text: str) -> None:
        if self.listener is None:
            logger.warning(text)
        else:
            self.tell(Notice(text))

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
        """The run at this moment; tells first what has changed since the last one."""
        reason = self._pipeline.waiting_reason() or self.counters.standing
        reason = reason or _elsewhere(self.counters.elsewhere)
        limits = self._gate.saturation()
        self._changes.look(limits, reason, self._ways, self._settings.clock.time())
        bill = self.till.bill()
        return self.meter.picture(limits, reason, self._weather(), bill=bill, parked=self._parked())

    def _parked(self) -> bool:
        """Whether there is an outage at each endpoint."""
        for way in self._ways:
            with way.lane.lock:
                if not way.lane.weather.parked:
                    return False
        return bool(self._ways)

    def facts(self) -> tuple[tuple[Saturation, ...], Weather, Bill]:
        """The limits that were kept within, what the endpoint was like, and the bill, for the summary."""
        assumed = 0 if self._settings.purse is None else self.till.charged - self.counters.cost
        bill = replace(self.till.bill(), assumed=dollars(max(0, assumed)))
        return self._gate.saturation(), self._weather(), bill

    def money(self) -> tuple[int, int]:
        """Pico-dollars that were spent so far, or may have been, and those held for what is under way."""
        if self._settings.purse is None:
            return self.counters.cost + self.counters.doubtful, 0
        return self.till.charged, self.till.held

    def _weather(self) -> Weather:
        now = self._settings.clock.time()
        return Weather(
            refused=self.counters.refused,
            outage=max((way.away(now) for way in self._ways), default=0.0),
            hedged=self.counters.hedged,
            fallbacks=self.counters.fallbacks,
            pace=self._gate.pace(),
            latency_p50=self._latencies.percentile(50),
            latency_p99=self._latencies.percentile(99),
            first_token_p50=self._first_tokens.percentile(50),
            first_token_p99=self._first_tokens.percentile(99),
            notes=self._transport.notes() if isinstance(self._transport, Choosing) else (),
        )


def guarded(cache: CacheProvider | None) -> CacheProvider | None:
    """A cache that cannot end a run."""
    return cache if cache is None or isinstance(cache, GuardedCache) else GuardedCache(cache)


def _groups(addresses: tuple[Addresses[ResponseT], ...]) -> list[Group[ResponseT]]:
    """The ways of one run, each group with the one behind it."""
    groups: list[Group[ResponseT]] = []
    several = sum(len(place.lanes) for place in addresses) > 1
    for place in reversed(addresses):
        ways = [Way(lane, lane.name if several else "") for lane in place.lanes]
        groups.insert(0, Group(ways, model=place.model, fallback=groups[0] if groups else None))
    return groups


def _elsewhere(count: int) -> str:
    return f"another process, which is asking {count:,} of these requests" if count else ""


def _reason(error: BaseException | None) -> str:
    return "" if error is None or isinstance(error, GeneratorExit) else str(error) or type(error).__name__
