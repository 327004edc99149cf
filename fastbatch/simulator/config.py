"""What a simulated provider is like: how fast, how strict, how reliable and how expensive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from fastbatch.errors import ConfigError, did_you_mean
from fastbatch.simulator.clockwork import BatchConfig
from fastbatch.simulator.headers import STYLES, HeaderStyle
from fastbatch.simulator.limits import KINDS, LimitKind, SimulatedLimit, with_pieces
from fastbatch.simulator.spells import Spell

FAILURE_KINDS = (
    "500",
    "503",
    "429",
    "timeout",
    "reset",
    "truncated",
    "malformed",
    "empty",
    "error",
    "invalid",
)


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig:
    """The behaviour of a simulated provider; every default is the friendly case.

    Attributes:
        seed: what all drawing starts from.
        latency: median seconds from arrival to the first byte of the answer.
        latency_sigma: spread of a log-normal latency (0: constant; 0.5: p95 is 2.3 times the median).
        tokens_per_second: adds completion tokens / this to every answer's time.
        rpm: requests per minute, in one window.
        tpm: tokens per minute, in one window; a request counts max(max_tokens, prompt tokens) at arrival and
            nothing is given back, as at OpenAI.
        limit_kind: how `rpm` and `tpm` are kept: "sliding", "bucket" or "fixed" windows.
        limits: further limits; a request must fit into all of them. A refused one (429) is charged to none,
            a failed one to all.
        sub_window: seconds; every limit on requests is also kept in pieces of this length, with its share of
            the requests, as Azure does with 1 s.
        per_model: every model has the whole of each limit to itself.
        limit_headers: how replies tell of the limits: "auto" (each dialect as its own provider does), or all
            of them as "openai", as "azure", as "anthropic", or "none".
        retry_after: whether a 429 or 503 says how long to wait.
        max_in_flight: with so many requests under way another one is refused at once, in no limit's name: no
            limit headers, no time to wait.
        overload_status: the status of that refusal, 429 (`concurrency_limit_exceeded`) or 503 (`overloaded`);
            Anthropic's word for 503 is 529, here and everywhere, and Ollama knows 503 alone, for limits too.
        weather: spells in which something goes wrong, timed from the first request.
        failure_rates: kind -> share of arrivals, and of rows of batches, that fail: "500", "503", "429" (by
            chance, nothing to do with the limits, not charged to them and without retry-after), "timeout"
            (never answers), "reset" (RST instead of a reply), "truncated" (the reply is cut off), "malformed"
            (200, broken JSON), "empty" (200 without choices), "error" (200 with an error in it; a stream
            breaks off with one), "invalid" (an answer that should have a shape has another: it is billed and
            counted as an answer; answers in prose are spared). In a batch, what befalls bytes is a "500".
        failures_per_row: a body (same path, same bytes) fails at most so often, then it succeeds, so
            that a run with retries ends with every row answered; None: every arrival draws anew. "invalid"
            has a count of its own: such an answer is asked for again with another body, which holds it and
            what is wrong with it; so a row is there what stands before the first answer.
        stop_after: after so many answers every request gets 429 `insufficient_quota`.
        quota_usd: the same once the answers would have cost this much.
        require_key: the key without which every request is rejected; Ollama's paths want none.
        models: names that exist; empty: every name does.
        prompt_price, completion_price: US dollars per million tokens. The defaults are gpt-4o-mini's list
            prices (openai.com/api/pricing).
        cached_price: the same for the cached part of a prompt; None: as `prompt_price`.
        cached_share: share of every prompt's tokens reported as read from the provider's cache, rounded down.
        reasoning_tokens: tokens added to every completion as reasoning, within its max_tokens.
        vary_repeats: a body that was answered before gets another text, the n-th time the same one in every
            run, unless its temperature is 0; so that sampling can be practised. Else the same body always
            gets the same text.
        answer_words: an answer ends with the sentence that reaches a length drawn between these two.
        embedding_dimensions: length of a vector unless the request says (1536: text-embedding-3-small).
        max_body_bytes: larger bodies get 413.
        batches: how batches go, see `BatchConfig`.
        arrivals_kept: how many of the latest arrivals the record keeps (34 bytes each).

    Raises:
        ConfigError: a value is impossible; names the field.
    """

    seed: int = 0
    latency: float = 0.0
    latency_sigma: float = 0.0
    tokens_per_second: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    limit_kind: LimitKind = "sliding"
    limits: tuple[SimulatedLimit, ...] = ()
    sub_window: float | None = None
    per_model: bool = False
    limit_headers: HeaderStyle = "auto"
    retry_after: bool = True
    max_in_flight: int | None = None
    overload_status: int = 429
    weather: tuple[Spell, ...] = ()
    failure_rates: Mapping[str, float] = field(default_factory=dict)
    failures_per_row: int | None = 1
    stop_after: int | None = None
    quota_usd: Decimal | None = None
    require_key: str | None = None
    models: tuple[str, ...] = ()
    prompt_price: Decimal = Decimal("0.15")
    completion_price: Decimal = Decimal("0.60")
    cached_price: Decimal | None = None
    cached_share: float = 0.0
    reasoning_tokens: int = 0
    vary_repeats: bool = False
    answer_words: tuple[int, int] = (8, 32)
    embedding_dimensions: int = 1536
    max_body_bytes: int = 64 * 1024 * 1024
    batches: BatchConfig = field(default_factory=BatchConfig)
    arrivals_kept: int = 1_000_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "failure_rates", MappingProxyType(dict(self.failure_rates)))
        self._check_numbers()
        self._check_failures()
        shortest, longest = self.answer_words
        if not 1 <= shortest <= longest:
            raise _wrong("answer_words", self.answer_words, "must be (shortest, longest), at least one word")

    def _check_numbers(self) -> None:
        for name in ("latency", "latency_sigma", "prompt_price", "completion_price", "reasoning_tokens"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise _wrong(name, value, "must be a number from 0 up")
        for name in ("stop_after", "quota_usd", "failures_per_row", "cached_price"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise _wrong(name, value, "must be a number from 0 up")
        for name in ("rpm", "tpm", "tokens_per_second", "sub_window", "max_in_flight"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise _wrong(name, value, "must be positive")
        for name in ("embedding_dimensions", "max_body_bytes", "arrivals_kept"):
            if getattr(self, name) < 1:
                raise _wrong(name, getattr(self, name), "must be at least 1")
        if not 0 <= self.cached_share <= 1:
            raise _wrong("cached_share", self.cached_share, "must be a share from 0 to 1")
        for name, known in (
            ("limit_kind", KINDS),
            ("limit_headers", STYLES),
            ("overload_status", (429, 503)),
        ):
            if getattr(self, name) not in known:
                raise _wrong(name, getattr(self, name), f"must be one of {', '.join(map(str, known))}")

    def _check_failures(self) -> None:
        for kind, rate in self.failure_rates.items():
            if kind not in FAILURE_KINDS:
                known = f"known kinds are {', '.join(FAILURE_KINDS)}."
                raise _wrong("failure_rates", kind, known + did_you_mean(kind, FAILURE_KINDS))
            if not 0 <= rate <= 1:
                raise _wrong("failure_rates", {kind: rate}, "must be a share from 0 to 1")
        # 1e-9: ten rates of 0.1 do not add up to 1.0 in floating point.
        if sum(self.failure_rates.values()) > 1 + 1e-9:
            raise _wrong(
                "failure_rates", dict(self.failure_rates), "the shares must not add up to more than 1"
            )

    @property
    def all_limits(self) -> tuple[SimulatedLimit, ...]:
        """`rpm` and `tpm` as limits, then `limits`, then the pieces of those on requests."""
        return self.in_pieces(
            (
                *(() if self.rpm is None else (SimulatedLimit(requests=self.rpm, kind=self.limit_kind),)),
                *(() if self.tpm is None else (SimulatedLimit(tokens=self.tpm, kind=self.limit_kind),)),
                *self.limits,
            )
        )

    def in_pieces(self, limits: Iterable[SimulatedLimit]) -> tuple[SimulatedLimit, ...]:
        """These limits as this provider keeps them: with a `sub_window`, in pieces as well."""
        return with_pieces(limits, self.sub_window)


def _wrong(name: str, value: object, problem: str) -> ConfigError:
    return ConfigError(problem, key=f"SimulatorConfig.{name}", value=value)
