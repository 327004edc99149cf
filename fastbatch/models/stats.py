"""What a run has used: sums that add (`TokenStats`), and one moment that does not (`Snapshot`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class TokenStats:
    """Tokens, requests and money; adding two of them gives the sum of both.

    `cached_tokens` is the part of `prompt_tokens` that the provider read from its own cache and
    `reasoning_tokens` the part of `completion_tokens` spent on thinking. `requests` counts answers,
    `cache_hits` those that came from fastbatch's cache, `retries` the further attempts and `reasks` the
    questions that were asked once more since an answer did not have its shape. `cost` is exact US dollars of
    what has a price; `unpriced` counts the answers that have none (no price is not zero).

    >>> TokenStats(prompt_tokens=3, requests=1) + TokenStats(prompt_tokens=4, requests=1)
    TokenStats(prompt_tokens=7, cached_tokens=0, completion_tokens=0, reasoning_tokens=0, requests=2, \
cache_hits=0, retries=0, cost=Decimal('0'), unpriced=0, reasks=0)
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    requests: int = 0
    cache_hits: int = 0
    retries: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    reasks: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cache_hit_ratio(self) -> float:
        """Share of the requests that fastbatch's cache answered, 0 to 1; 0 where there were none."""
        return self.cache_hits / self.requests if self.requests else 0.0

    def __add__(self, other: TokenStats) -> TokenStats:
        return TokenStats(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.requests + other.requests,
            self.cache_hits + other.cache_hits,
            self.retries + other.retries,
            self.cost + other.cost,
            self.unpriced + other.unpriced,
            self.reasks + other.reasks,
        )

    def __radd__(self, other: int) -> TokenStats:
        """Let `sum(stats)` start from its 0."""
        return self if other == 0 else NotImplemented


@dataclass(frozen=True, slots=True)
class Saturation:
    """How full one limit is: `used` of `limit` within its window of `per` seconds.

    `utilisation` is the share of limit × time that was used so far, None where it is too early to say.
    `learned` tells a limit that the provider stated from one that was declared.
    """

    name: str
    used: float
    limit: float
    per: float
    utilisation: float | None = None
    learned: bool = False

    @property
    def share(self) -> float:
        """Used ÷ limit."""
        return self.used / self.limit

    def called(self, name: str) -> Saturation:
        """The same under another name."""
        return self if name == self.name else replace(self, name=name)


@dataclass(frozen=True, slots=True)
class Weather:
    """What the endpoint was like so far.

    Attributes:
        refused: requests that the provider refused as too many (429).
        outage: seconds in which the endpoint was away.
        hedged: stragglers that were asked a second time, and may be paid twice.
        fallbacks: rows that a fallback answered.
        pace: requests a second that were found to be taken where the provider states no limits; None: all.
        latency_p50, latency_p99: seconds that half, and 99 of 100, of the answers took at most; 0.0 before
            there are any.
        first_token_p50, first_token_p99: the same until the first piece of an answer; 0.0 without streams.
        notes: how requests were sent where that was not the usual way, a sentence each.
    """

    refused: int = 0
    outage: float = 0.0
    hedged: int = 0
    fallbacks: int = 0
    pace: float | None = None
    latency_p50: float = 0.0
    latency_p99: float = 0.0
    first_token_p50: float = 0.0
    first_token_p99: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """What a run has cost so far.

    Attributes:
        cost: exact dollars of the answers that have a price.
        unpriced: answers that have none; they are not in `cost`, and no price is not zero.
        untold: those of them whose model has a price, but whose reply does not say how many tokens it took.
        lacking: models without a price, as `provider:model`; the first few of them.
        doubtful: dollars, at most, of requests without an answer that may have been billed, as far as they
            have a price; not in `cost`.
        doubts: how many of those there are.
        budget: what may be spent at most; None without a cap.
        before: dollars that count against the cap and were spent before this run.
        used: dollars of the cap that are used, `before` included.
        assumed: dollars of those that this run counts at the worst case, since nobody says what they were: of
            requests without an answer, and of answers without tokens or a price; 0 until the run has ended.
        prices: the price lists that were looked at, each with its date and a digest of its content.
    """

    cost: Decimal = Decimal(0)
    unpriced: int = 0
    doubtful: Decimal = Decimal(0)
    doubts: int = 0
    budget: Decimal | None = None
    before: Decimal = Decimal(0)
    prices: tuple[str, ...] = ()
    used: Decimal = Decimal(0)
    assumed: Decimal = Decimal(0)
    untold: int = 0
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment, as progress shows it.

    Counts are rows of the input: `ok + failed + skipped` have their record, `cached` (answered by the cache)
    and `shared` (answered by an identical row's call) are parts of `ok`. `total` is None while the input's
    length is unknown. Speeds are per second over the last ten seconds; `eta` is seconds, None when it cannot
    be said. `waiting_for` is a short phrase when requests stand still, else empty. `saturation` says how full
    each limit is, declared or learned. `reasks` counts questions that were asked once more. `bill` is what
    the answers so far cost, and `projected` the dollars that all rows will if the others are like them; None
    while nobody can say.
    """

    elapsed: float
    total: int | None
    ok: int
    failed: int
    skipped: int
    cached: int
    shared: int
    in_flight: int
    waiting: int
    sent: int
    retries: int
    prompt_tokens: int
    completion_tokens: int
    rows_per_s: float
    prompt_tokens_per_s: float
    completion_tokens_per_s: float
    eta: float | None
    saturation: tuple[Saturation, ...] = ()
    waiting_for: str = ""
    weather: Weather = Weather()
    reasks: int = 0
    bill: Bill = Bill()
    projected: Decimal | None = None

    @property
    def done(self) -> int:
        """Rows that have their record."""
        return self.ok + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Failure:
    """Rows that failed in one way: the error's class, status and code, how many, the first one's message.

    `cure` is what to do, empty where there is nothing but to send them again.
    """

    kind: str
    status: int | None
    code: str | None
    count: int
    message: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished (or stopped) run did; `ok + failed + skipped` is `total` unless it stopped early.

    Attributes:
        total: rows of the input, as far as it was read.
        ok: rows answered in this run, cached and shared ones included.
        failed: rows that ended in an error record.
        skipped: rows that were not run: they had their answer in the output already, or were left out.
        left_out: those of them that are bad and were left out, as asked (`on_bad_row="skip"`).
        cached: rows answered by the cache.
        shared: rows that took the answer of an identical row of the same run.
        usage: the tokens, requests and retries of this run; cached answers add no tokens.
        elapsed: wall time in seconds.
        sent: requests that left this machine, retries included.
        output, errors: paths of the result files, empty where there are none.
        replaced: answers of earlier runs that new ones took the place of.
        failures: the ways in which rows failed, the most frequent first.
        gone: answers in the output whose rows the input does not hold any more.
        interrupted: the run was asked to stop and drained.
        limits: the limits that were kept within, declared or learned, and how much of each was used.
        weather: refusals, outages, latencies.
        bill: what it cost.
        batched: rows that the provider's batch API answered.
        batches: those that it is still answering; the next run collects them.
    """

    total: int
    ok: int
    failed: int
    skipped: int
    cached: int
    shared: int
    usage: TokenStats
    elapsed: float
    sent: int
    output: str = ""
    errors: str = ""
    left_out: int = 0
    replaced: int = 0
    failures: tuple[Failure, ...] = ()
    gone: int = 0
    interrupted: bool = False
    limits: tuple[Saturation, ...] = ()
    weather: Weather = Weather()
    bill: Bill = Bill()
    batched: int = 0
    batches: int = 0

    @property
    def tokens_per_s(self) -> float:
        """Prompt and completion tokens a second over the whole run."""
        return self.usage.total_tokens / self.elapsed if self.elapsed > 0 else 0.0
