"""Events tell: plain counters, a picture of them a few times a second, and what a listener may hear.

Counting is integer arithmetic; nobody is called per row. A run without a listener has no timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import isinf
from operator import sub
from typing import Any, NamedTuple, Protocol

from fastbatch.engine.clock import Clock, Timer
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.errors import RequestError
from fastbatch.models.money import dollars
from fastbatch.models.stats import Bill, Failure, Saturation, Snapshot, Summary, TokenStats, Weather

INTERVAL = 0.25  # seconds between two pictures: four a second look live and cost nothing
_SPAN = 10.0  # seconds that speeds look back
LACKING = 4  # models without a price that are named, and one more tells that there are others
_WAYS = 20  # ways of failing that are told apart; more would be a message per row


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first row is about to be taken; `title` names the model, `total` is None for an unknown length."""

    title: str
    total: int | None


@dataclass(frozen=True, slots=True)
class Progressed:
    """A picture of the run, every `INTERVAL` seconds."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for people, in the middle of a run."""

    text: str


@dataclass(frozen=True, slots=True)
class LimitsLearned:
    """What the provider's replies said of its limits, the first time and whenever it changes noticeably."""

    limits: tuple[Saturation, ...]


@dataclass(frozen=True, slots=True)
class Saturated:
    """Requests stand still: why, in a phrase; an empty one when they go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Outage:
    """An endpoint is away and everybody waits, or it is back after so many seconds (`over`)."""

    where: str
    lasted: float
    over: bool


@dataclass(frozen=True, slots=True)
class UncertainRows:
    """Before anything is sent: rows that an earlier run sent without recording an answer."""

    rows: tuple[UncertainRow, ...]


@dataclass(frozen=True, slots=True)
class Fetching:
    """A model file is on its way; bytes, `total` is None while its size is unknown."""

    what: str
    done: int
    total: int | None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last picture; no event follows. `stopped` says in a sentence why it ended early, else empty."""

    snapshot: Snapshot
    stopped: str = ""


Event = (
    RunStarted
    | Progressed
    | Notice
    | LimitsLearned
    | Saturated
    | Outage
    | UncertainRows
    | Fetching
    | RunFinished
)


class Listener(Protocol):
    """Hears what a run tells. It must return quickly and must not raise.

    Called in the loop's thread, but for `Fetching`, which comes from the thread that fetches.
    """

    def notify(self, event: Event) -> None:
        """Take one event."""
        ...


class Lost(NamedTuple):
    """What answers took that no row's outcome tells of: pico-dollars, those without a price, and tokens."""

    cost: int = 0
    unpriced: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def since(self, before: Lost) -> Lost:
        """What has come to it since it was `before`."""
        return Lost(*map(sub, self, before))


class Counters:
    """What has been counted so far. `ok + failed + skipped` rows have their record."""

    __slots__ = (
        "batched",
        "batches",
        "cached",
        "cached_tokens",
        "completion_tokens",
        "cost",
        "doubtful",
        "doubts",
        "elsewhere",
        "failed",
        "failures",
        "fallbacks",
        "hedged",
        "in_flight",
        "lacking",
        "left_out",
        "lost",
        "ok",
        "prompt_tokens",
        "reasks",
        "reasoning_tokens",
        "refused",
        "retries",
        "sent",
        "shared",
        "skipped",
        "standing",
        "total",
        "unpriced",
        "untold",
        "waiting",
    )

    def __init__(self) -> None:
        self.total: int | None = None
        self.ok = self.failed = self.skipped = self.left_out = self.cached = self.shared = 0
        self.elsewhere = 0  # waiting for the answer to what another process is asking
        self.in_flight = self.waiting = self.sent = self.retries = self.hedged = 0
        self.refused = 0  # by a limit
        self.reasks = 0  # questions asked once more, since the answer did not fit
        self.fallbacks = 0  # rows that one answered
        self.batched = 0  # rows that the provider's batch API answered
        self.batches = 0  # that it is answering
        self.standing = ""  # what a run waits for that has nothing to send
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = self.reasoning_tokens = 0
        self.cost = self.doubtful = 0  # pico-dollars: of answers, and at most of what may have been billed
        self.unpriced = self.doubts = 0  # answers without a price, requests that may have been billed
        self.untold = 0  # replies that state no tokens of a model that has a price
        self.lacking: dict[str, None] = {}  # models without a price, of the first `LACKING` there are
        self.lost = Lost()  # part of these sums

        self.failures: dict[tuple[str, int | None, str | None], list[Any]] = {}  # -> [count, message, cure]

    @property
    def done(self) -> int:
        """Rows that have their record."""
        return self.ok + self.failed + self.skipped

    def lose(self, lost: Lost) -> None:
        """Count answers that a row has had for nothing: none of them is its outcome."""
        self.lost = Lost(*map(sum, zip(self.lost, lost, strict=True)))
        for name, count in zip(Lost._fields, lost, strict=True):
            setattr(self, name, getattr(self, name) + count)

    def lacks(self, model: str) -> None:
        """An answer came of a model that has no price."""
        if len(self.lacking) < LACKING:
            self.lacking[model] = None

    def fail(self, error: RequestError) -> None:
        """Count a failed row, and the way it failed (of the first `_WAYS` ways there are)."""
        self.failed += 1
        way = (type(error).__name__, error.status, error.code)
        if way in self.failures:
            self.failures[way][0] += 1
        elif len(self.failures) < _WAYS:
            self.failures[way] = [1, error.message, "" if error.retriable else error.cure]

    def usage(self) -> TokenStats:
        """The sums as a value."""
        return TokenStats(
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            requests=self.ok,
            cache_hits=self.cached,
            retries=self.retries,
            cost=dollars(self.cost),
            unpriced=self.unpriced,
            reasks=self.reasks,
        )


class Meter:
    """Turns counters into pictures: speeds over the last ten seconds, and the time left."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._began = clock.time()
        self._past: deque[tuple[float, int, int, int]] = deque([(self._began, 0, 0, 0)])

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock.time() - self._began

    def picture(
        self,
        saturation: tuple[Saturation, ...] = (),
        waiting_for: str = "",
        weather: Weather = Weather(),  # noqa: B008  (immutable)
        *,
        bill: Bill = Bill(),  # noqa: B008  (immutable)
        parked: bool = False,
    ) -> Snapshot:
        """The run at this moment; nobody knows the time left while it is `parked` in an outage."""
        now, count, past = self._clock.time(), self._counters, self._past
        answered = count.ok + count.failed
        past.append((now, answered, count.prompt_tokens, count.completion_tokens))
        while len(past) > 2 and past[1][0] <= now - _SPAN:
            past.popleft()
        then, rows, prompt, completion = past[0]
        span = now - then
        rate = (answered - rows) / span if span > 0 else 0.0
        left = None if count.total is None else max(0, count.total - count.done)
        eta = None if left is None or (parked and left) else _time_left(left, rate, saturation)
        return Snapshot(
            elapsed=now - self._began,
            total=count.total,
            ok=count.ok,
            failed=count.failed,
            skipped=count.skipped,
            cached=count.cached,
            shared=count.shared,
            in_flight=count.in_flight,
            waiting=count.waiting,
            sent=count.sent,
            retries=count.retries,
            reasks=count.reasks,
            prompt_tokens=count.prompt_tokens,
            completion_tokens=count.completion_tokens,
            rows_per_s=rate,
            prompt_tokens_per_s=(count.prompt_tokens - prompt) / span if span > 0 else 0.0,
            completion_tokens_per_s=(count.completion_tokens - completion) / span if span > 0 else 0.0,
            eta=eta,
            saturation=saturation,
            waiting_for=waiting_for,
            weather=weather,
            bill=bill,
            projected=_projected(count, left),
        )

    def summary(
        self,
        *,
        output: str = "",
        errors: str = "",
        replaced: int = 0,
        gone: int = 0,
        interrupted: bool = False,
        limits: tuple[Saturation, ...] = (),
        weather: Weather = Weather(),  # noqa: B008  (immutable)
        bill: Bill = Bill(),  # noqa: B008  (immutable)
    ) -> Summary:
        """What the run has done, now that it is over."""
        count = self._counters
        return Summary(
            total=count.done if count.total is None else count.total,
            ok=count.ok,
            failed=count.failed,
            skipped=count.skipped,
            cached=count.cached,
            shared=count.shared,
            usage=count.usage(),
            elapsed=self.elapsed,
            sent=count.sent,
            output=output,
            errors=errors,
            left_out=count.left_out,
            replaced=replaced,
            failures=tuple(
                Failure(*way, *told)
                for way, told in sorted(count.failures.items(), key=lambda item: -item[1][0])
            ),
            gone=gone,
            interrupted=interrupted,
            batched=count.batched,
            batches=count.batches,
            limits=limits,
            weather=weather,
            bill=bill,
        )


def _projected(count: Counters, left: int | None) -> Decimal | None:
    """What the whole run will cost if rows that are left are paid for as those were that were asked in it.

    What the cache answers comes first: whoever took it for the rule would see half of the bill.
    """
    asked = count.ok + count.failed - count.cached - count.shared
    if left is None or (left and asked <= 0):
        return None
    return dollars(count.cost + (count.cost * left // asked if left else 0))


def _time_left(left: int, rate: float, saturation: tuple[Saturation, ...]) -> float | None:
    """Seconds until `left` rows are done: by the speed of late, and not sooner than the limits allow."""
    if not left:
        return 0.0
    # An infinite window is one whose length is not known yet.
    bounds = [
        limit
        for limit in saturation
        if limit.name.startswith("requests") and limit.limit and not isinf(limit.per)
    ]
    if len({limit.name.partition(" ")[2] for limit in bounds}) > 1:
        bounds = []  # that of one of several endpoints or models bounds a part of the rows only
    allowed = [(left - max(0.0, limit.limit - limit.used)) * limit.per / limit.limit for limit in bounds]
    known = [left / rate] if rate > 0 else []
    known += [seconds for seconds in allowed if seconds > 0]
    return max(known, default=None)


class Ticker:
    """Shows a listener a picture every `INTERVAL` seconds, from the loop's timer."""

    def __init__(self, tell: Callable[[Event], None], picture: Callable[[], Snapshot], clock: Clock) -> None:
        self._tell = tell
        self._picture = picture
        self._clock = clock
        self._timer: Timer | None = None

    def start(self) -> None:
        """Show the first picture one interval from now."""
        self._timer = self._clock.call_at(self._clock.time() + INTERVAL, self._tick)

    def _tick(self) -> None:
        self.start()
        self._tell(Progressed(self._picture()))

    def stop(self) -> None:
        """Show no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
