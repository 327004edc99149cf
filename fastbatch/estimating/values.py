"""What an estimate says: plain values, for programs and for the lines that people read."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from fastbatch.engine.done import Plan
from fastbatch.pricing.book import Stamp


class Tokens(NamedTuple):
    """A number of tokens: its ends, and what is expected.

    `expected` is None where nothing was measured, `high` where nothing bounds it.
    """

    low: int
    expected: int | None
    high: int | None


class Dollars(NamedTuple):
    """An amount of US dollars, as `Tokens` are."""

    low: Decimal
    expected: Decimal | None
    high: Decimal | None


class Duration(NamedTuple):
    """Seconds that a run takes at least, and the limit that makes it so; as `Tokens` are.

    `slowest` is such as `tokens a minute`.
    """

    low: float
    expected: float | None
    high: float | None
    slowest: str


class BadRow(NamedTuple):
    """A row that means no request: its line, and why."""

    line: int
    message: str


class Cheaper(NamedTuple):
    """A model of the same price list that would cost less for this input, both ends of the interval over.

    `saving` are shares of the estimated cost, the smaller one first.
    """

    name: str
    cost: Dollars
    saving: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pilot:
    """What some rows have shown that were asked for real.

    Attributes:
        rows: how many were asked.
        failed: those of them that have no answer.
        maybe_billed: those of them that may have been billed all the same.
        cost: what it cost.
        truncated: answers that ended at their `max_tokens`.
        prompt_ratio: tokens in as billed over tokens in as counted; None where none were.
        latency: seconds of half of the answers.
        seed: what the rows were drawn with.
        first_error: what the first failed row said.
    """

    rows: int
    failed: int
    maybe_billed: int
    cost: Decimal
    truncated: int
    prompt_ratio: float | None
    latency: float
    seed: int
    first_error: str = ""


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """One model's part of an estimate.

    Attributes:
        name: `provider:model`.
        plan: what a run would do with the rows.
        exact: requests whose tokens in are counted as the provider counts them; the others are estimated.
        tokens_in, tokens_out: of all requests that would be sent. Measured ones are 90 % intervals; else the
            ends are what is possible.
        cost: of the same, a pilot's included; None where no request has a price.
        batch: by the provider's batch API; None where it has none.
        duration: under the declared limits; None where nothing is declared or measured.
        unpriced: requests to models without a price, which are in no sum, and the names of those models.
        named: requests that name a model of their own, and are counted and priced as that one's.
        named_models: some of those models.
        unbounded: requests that set no maximum of tokens out.
        too_long: requests whose prompt alone is more than the model's context, so that it will refuse them.
        per_hundred: what a hundred tokens of answer more from each of those cost.
        measured: whether the intervals come from a pilot.
        pilot: what it has shown.
        cheaper: other models, the cheapest first.
        bad: the first rows that mean no request; the plan counts them all.
    """

    name: str
    plan: Plan
    exact: int
    tokens_in: Tokens
    tokens_out: Tokens
    cost: Dollars | None
    batch: Dollars | None
    duration: Duration | None
    unpriced: int = 0
    unpriced_models: tuple[str, ...] = ()
    named: int = 0
    named_models: tuple[str, ...] = ()
    unbounded: int = 0
    too_long: int = 0
    per_hundred: Decimal = Decimal(0)
    measured: bool = False
    pilot: Pilot | None = None
    cheaper: tuple[Cheaper, ...] = ()
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an input would take of each of some models.

    Attributes:
        models: in the order in which they were named.
        stamps: the price lists that the dollars come from.
        vocabularies: whether the extra `tokens` was there to count with.
    """

    models: tuple[ModelEstimate, ...]
    stamps: tuple[Stamp, ...]
    vocabularies: bool
