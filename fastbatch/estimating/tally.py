"""Sums over the rows that a run would send, made while they are counted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastbatch.engine.inputfile import Row
from fastbatch.estimating.values import BadRow
from fastbatch.models.response import Usage
from fastbatch.pricing.book import AS_USUAL, BATCH, PriceBook
from fastbatch.pricing.bound import most_completion
from fastbatch.pricing.rates import Rates
from fastbatch.pricing.served import meant_by
from fastbatch.providers.base import Provider
from fastbatch.vocabularies.counting import Counter, counter_of

_KEPT = 1 << 16  # rows that a pilot's are chosen from, themselves drawn at random from a larger input
_SHORTEST = 2_000  # tokens: every model's context is longer, so that nearly no row is looked up
_SHOWN = 3  # kinds of bad rows, models


class Drawn(NamedTuple):
    """A row that would be sent, as a pilot needs to know it; money is pico-dollars."""

    tokens: int
    line: int
    model: str
    prompt_cost: int
    batch_prompt_cost: int


class Sums:
    """One price of all requests: their prompts alone, and with the longest answers that they allow."""

    def __init__(self) -> None:
        self.low = self.high = self.per_hundred = 0
        self.priced = 0

    def add(self, rates: Rates, tokens: int, most: int | None) -> int:
        """Add a request; returns the price of its prompt."""
        prompt = rates.price(Usage(tokens))
        self.priced += 1
        self.low += prompt
        if most is None:
            self.high += prompt
            self.per_hundred += rates.price(Usage(tokens, 0, 100)) - prompt
        else:
            self.high += rates.price(Usage(tokens, 0, most)) if most else prompt
        return prompt


class Size(NamedTuple):
    """Requests of about one size, for prices of models that nobody has asked for."""

    rows: int = 0
    tokens: int = 0
    most: int = 0
    unbounded: int = 0


class Tally:
    """Is shown the rows of one run.

    Args:
        provider: who is asked.
        model: for which of a provider's models there is a choice: what rows name themselves stays.
        book: the prices.
        moment: when, in seconds since 1970.
        dice: draws the rows to choose from.

    Attributes:
        tokens, exact, most, unbounded: tokens in; requests whose are exact; tokens out at most of those
            requests that say so; how many say nothing.
        limited: tokens as the provider's limits count them: where no answer has any, and where all are as
            long as they may be (OpenAI counts `max_tokens` whatever comes, Gemini the prompts alone).
        named, named_models: requests that name another model than `model`, and the first of those.
        usual, batch: what they cost.
        sizes: requests to `model` by the number of binary digits of their tokens in.
        longest: tokens of the longest prompt with its answer.
        too_long: requests whose prompt alone is more than the model's context.
        kept: rows to choose a pilot's from, each with the same chance to be here.
        bad: the first bad rows of each kind.
    """

    def __init__(
        self,
        provider: Provider[Any],
        model: str | None,
        book: PriceBook,
        *,
        moment: float,
        dice: random.Random,
    ) -> None:
        self._asked = provider
        self._provider = provider.name
        self._model = model
        self._book = book
        self._moment = moment
        self._dice = dice
        self._counters: dict[str, Counter] = {}
        self._rates: dict[tuple[str, Any, Any], tuple[Rates | None, Rates | None]] = {}
        self.rows = self.tokens = self.exact = self.most = self.unbounded = 0
        self.longest = self.too_long = 0
        self.limited = (0, 0)
        self.named = 0
        self.named_models: dict[str, None] = {}
        self.usual, self.batch = Sums(), Sums()
        self.unpriced = 0
        self.unpriced_models: dict[str, None] = {}
        self.sizes: dict[int, Size] = {}
        self.kept: list[Drawn] = []
        self.bad: list[BadRow] = []

    def sends(self, row: Row) -> None:
        """Add a request that would be sent."""
        assert row.request is not None
        endpoint, body = row.request.endpoint, row.request.body
        model = body.get("model") or ""
        count = self._counters.get(model) or self._counters.setdefault(model, counter_of(model))
        tokens, exact = count(endpoint, body)
        most = most_completion(endpoint, body)
        self.rows += 1
        self.tokens += tokens
        self.exact += exact
        self.longest = max(self.longest, tokens + (most or 0))
        if most is None:
            self.unbounded += 1
        else:
            self.most += most
        reserved = self._asked.reserve(body, tokens)
        settled = self._asked.settle(reserved, Usage(tokens))
        self.limited = self.limited[0] + settled.of("tokens"), self.limited[1] + reserved.of("tokens")
        if tokens > _SHORTEST:
            listing = self._book.find(self._provider, model)
            self.too_long += listing is not None and 0 < listing.context < tokens
        if model == self._model:
            size = self.sizes.get(tokens.bit_length(), Size())
            self.sizes[tokens.bit_length()] = Size(
                size.rows + 1, size.tokens + tokens, size.most + (most or 0), size.unbounded + (most is None)
            )
        else:
            self.named += 1
            if len(self.named_models) < _SHOWN:
                self.named_models[model] = None
        rates, batch = self._rates_of(model, body)
        prompt_cost = batch_prompt_cost = 0
        if rates is None:
            self.unpriced += 1
            if len(self.unpriced_models) < _SHOWN:
                self.unpriced_models[model] = None
        else:
            prompt_cost = self.usual.add(rates, tokens, most)
        if batch is not None:
            batch_prompt_cost = self.batch.add(batch, tokens, most)
        self._keep(Drawn(tokens, row.number, model, prompt_cost, batch_prompt_cost))

    def refuses(self, row: Row) -> None:
        """Keep what is wrong with a row, where none before it had the same."""
        if row.problem is not None and len(self.bad) < _SHOWN:
            message = row.problem.message
            if all(message != known.message for known in self.bad):
                self.bad.append(BadRow(row.number, message))

    def _keep(self, drawn: Drawn) -> None:
        """Algorithm R (J. S. Vitter, Random sampling with a reservoir, ACM TOMS 11, 1985)."""
        if len(self.kept) < _KEPT:
            self.kept.append(drawn)
        elif (place := self._dice.randrange(self.rows)) < _KEPT:
            self.kept[place] = drawn

    def _rates_of(self, model: str, body: Mapping[str, Any]) -> tuple[Rates | None, Rates | None]:
        """The usual and the batch rates of a request."""
        key = model, body.get("service_tier") or body.get("speed"), body.get("inference_geo")
        found = self._rates.get(key)
        if found is None:
            usual = self._book.rates(self._provider, model, self._moment, meant_by(self._provider, body))
            if usual is None and body.get("service_tier") == "flex":  # a model that has no such tier
                usual = self._book.rates(self._provider, model, self._moment, AS_USUAL)
            batch = self._book.rates(self._provider, model, self._moment, BATCH)
            # What is free has no batches.
            found = usual, batch if batch is not None and batch.costs else None
            if len(self._rates) < _KEPT:
                self._rates[key] = found
        return found
