"""A pilot: some rows asked for real, and what they say of all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from statistics import median
from typing import Any, NamedTuple

from fastbatch.estimating.sampling import Chosen
from fastbatch.estimating.tally import Sums, Tally
from fastbatch.estimating.values import Dollars, Pilot, Tokens
from fastbatch.models.response import Mode, ResponseWrapper
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.intervals import Interval, Measured, total
from fastbatch.pricing.money import dollars
from fastbatch.pricing.served import served_by


class Asked(NamedTuple):
    """A row of a pilot, and what became of it."""

    chosen: Chosen
    outcome: ResponseWrapper[Any]

    @property
    def answered(self) -> bool:
        """Whether tokens were billed: for an answer, or for one that did not fit its schema."""
        error = self.outcome.error
        return error is None or error.answered


@dataclass(frozen=True, slots=True)
class Findings:
    """What a pilot says of all rows that would be sent; None where it says nothing."""

    pilot: Pilot
    tokens_in: Tokens | None
    tokens_out: Tokens | None
    cost: Dollars | None
    batch: Dollars | None


def findings(
    asked: Sequence[Asked], tally: Tally, *, book: PriceBook, provider: str, moment: float, seed: int
) -> Findings:
    """Judge all rows by those that were asked."""
    tokens_in = _judged(
        asked,
        tally,
        [each.outcome.tokens.prompt_tokens - each.chosen.row.tokens for each in asked],
        [each.chosen.row.tokens for each in asked],
        tally.tokens,
    )
    tokens_out = _judged(
        asked, tally, [each.outcome.tokens.completion_tokens for each in asked], [0] * len(asked), 0
    )
    if tokens_out is not None and not tally.unbounded:
        tokens_out = tokens_out.within(0, max(tally.most, tokens_out.low))
    costs = _priced(asked, book, provider, moment, "online")
    usual = _money(asked, tally, tally.usual, costs, [each.chosen.row.prompt_cost for each in asked])
    batch = _money(
        asked,
        tally,
        tally.batch,
        _priced(asked, book, provider, moment, "batch"),
        [each.chosen.row.batch_prompt_cost for each in asked],
    )
    return Findings(_pilot(asked, sum(costs), seed), _tokens(tokens_in), _tokens(tokens_out), usual, batch)


def _priced(asked: Sequence[Asked], book: PriceBook, provider: str, moment: float, mode: Mode) -> list[int]:
    """What each row cost, in pico-dollars, or would have cost in a batch; 0 for one without a price."""
    found = []
    for each in asked:
        usage = each.outcome.tokens
        served = served_by(provider, usage.details, mode)
        by = each.outcome.provider or provider  # a fallback, perhaps
        model = each.outcome.model or each.chosen.row.model
        rates = book.rates(by, model, moment, served) if each.answered else None
        found.append(rates.price(usage) if rates is not None and rates.covers(usage) else 0)
    return found


def _money(
    asked: Sequence[Asked], tally: Tally, sums: Sums, costs: Sequence[int], prompts: Sequence[int]
) -> Dollars | None:
    """The cost of all rows: their prompts by what is counted, and the rest as the pilot has shown it."""
    if not sums.priced:
        return None
    beside = [cost - prompt for cost, prompt in zip(costs, prompts, strict=True)]
    found = _judged(asked, tally, beside, prompts, sums.low)
    if found is None:
        return None
    paid = sum(costs)
    low, expected, high = found.within(paid, float("inf"))
    return Dollars(dollars(floor(low)), dollars(round(expected)), dollars(ceil(high)))


def _judged(
    asked: Sequence[Asked],
    tally: Tally,
    beside: Sequence[float],
    counted: Sequence[float],
    all_counted: float,
) -> Interval | None:
    """The sum over all rows of what is counted of each, and of what was found beside it.

    Rows that failed cost nothing as far as the pilot shows, but may be answered another time: the interval
    goes from the one to the other.
    """
    rows = [(each, found, known) for each, found, known in zip(asked, beside, counted, strict=True)]
    answered = [(each, found, known) for each, found, known in rows if each.answered]
    if not answered:
        return None
    lost = len(rows) - len(answered)
    tokens = sum(each.chosen.row.tokens for each in asked)
    found = total(
        [
            Measured(each.chosen.row.tokens, value if each.answered else -known, each.chosen.stands_for)
            for each, value, known in rows
        ],
        tally.tokens - tokens,
    )
    if found is None:
        return None
    # What was found of the pilot's own rows is certain.
    certain = sum(value for _, value, _ in answered) + all_counted
    certain -= sum(known for each, _, known in rows if not each.answered)
    whole = found.plus(certain)
    if not lost:
        return whole
    left = sum(each.chosen.stands_for for each in asked) + lost
    stood = sum(each.chosen.stands_for for each, _, _ in answered)
    tokens = sum(each.chosen.row.tokens for each, _, _ in answered)
    others = total(
        [
            Measured(
                each.chosen.row.tokens,
                value,
                each.chosen.stands_for * left / stood if stood else left / len(answered),
            )
            for each, value, _ in answered
        ],
        tally.tokens - tokens,
    )
    if others is None:
        return None
    others = others.plus(sum(value for _, value, _ in answered) + all_counted)
    return Interval(min(whole.low, others.low), whole.expected, max(whole.high, others.high))


def _tokens(found: Interval | None) -> Tokens | None:
    if found is None:
        return None
    return Tokens(max(0, floor(found.low)), max(0, round(found.expected)), max(0, ceil(found.high)))


def _pilot(asked: Sequence[Asked], cost: int, seed: int) -> Pilot:
    answered = [each for each in asked if each.answered]
    errors = [each.outcome.error for each in asked if each.outcome.error is not None]
    counted = sum(each.chosen.row.tokens for each in answered)
    billed = sum(each.outcome.tokens.prompt_tokens for each in answered)
    return Pilot(
        rows=len(asked),
        failed=len(errors),
        maybe_billed=sum(error.maybe_billed for error in errors),
        cost=dollars(cost),
        truncated=sum(each.outcome.finish_reason == "length" for each in answered),
        prompt_ratio=billed / counted if counted and billed else None,
        latency=median(each.outcome.latency for each in answered) if answered else 0.0,
        seed=seed,
        first_error=str(errors[0]) if errors else "",
    )
