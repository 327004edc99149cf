"""One model's estimate: its rows are looked at, perhaps some of them asked, and what is known is said."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fastbatch.engine.done import Plan
from fastbatch.engine.filerun import FileOptions, FileRun
from fastbatch.engine.manager import RequestManager
from fastbatch.errors import ConfigError
from fastbatch.estimating.cheaper import cheaper
from fastbatch.estimating.durations import duration
from fastbatch.estimating.pilot import Asked, Findings, findings
from fastbatch.estimating.sampling import Chosen, choose
from fastbatch.estimating.tally import Sums, Tally
from fastbatch.estimating.values import Dollars, Duration, ModelEstimate, Tokens
from fastbatch.limits.cost import Cost
from fastbatch.limits.options import Limits
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import Usage
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.bound import at_most, most_completion
from fastbatch.pricing.money import dollars
from fastbatch.pricing.served import asked_for


class Offer(NamedTuple):
    """What one model's pilot would do.

    `at_most` bounds its bill, retries aside, from the prompts alone to the longest answers; its high end is
    None where nobody knows that. `unbounded` is how many rows set no maximum of tokens out, so that they
    might fill the model's context, and `unpriced` how many have no price.
    """

    name: str
    rows: int
    at_most: Dollars
    unbounded: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows are read; the arguments of `estimate` explain them."""

    input: Path
    output: Path | None = None
    prompt: str | None = None
    system: str | None = None
    limit: int | None = None
    dedupe: bool = False
    input_name: str = ""


class Estimator:
    """Estimates one model; `look`, perhaps `offer` and `ask`, then `said`.

    Args:
        manager: asks the model.
        reading: how the rows are read.
        book: the prices.
        moment: when the run would be, in seconds since 1970.
        seed: of everything that is drawn.
    """

    def __init__(
        self, manager: RequestManager[Any], reading: Reading, book: PriceBook, *, moment: float, seed: int
    ) -> None:
        self._manager = manager
        self._reading = reading
        self._book = book
        self._moment = moment
        self._seed = seed
        self._dice = random.Random(seed)
        self._settings = manager.settings
        self._provider = self._settings.provider.name
        self._run: FileRun[Any] | None = None
        self._plan: Plan | None = None
        self._asking: list[Chosen] = []
        self._found: Findings | None = None
        self.tally = Tally(self._settings.provider, manager.model, book, moment=moment, dice=self._dice)

    async def look(self) -> None:
        """Count the rows.

        Raises:
            InputError, OutputError: as a run raises them.
        """
        reading = self._reading
        with TemporaryDirectory(prefix="fastbatch-") as folder:  # an output that has nothing yet
            self._run = self._manager.file_run(
                reading.input,
                reading.output or Path(folder) / "none.jsonl",
                prompt=reading.prompt,
                system=reading.system,
                options=FileOptions(
                    limit=reading.limit,
                    on_bad_row="skip",
                    dedupe=reading.dedupe,
                    input_name=reading.input_name,
                ),
            )
            self._plan = await self._run.plan(self.tally)

    def allow_pilot(self) -> None:
        """Refuse a pilot whose answers a run would not find again.

        Raises:
            ConfigError: why it would not.
        """
        if self._settings.cache is None:
            raise ConfigError(
                "needs a cache: its answers are kept there, so that the run does not pay for them again",
                key="pilot",
            )
        if self._settings.identical != "share":
            raise ConfigError(
                "has no meaning where identical rows buy an answer each: a run would not find its answers",
                key="pilot",
            )

    async def offer(self, rows: int) -> Offer:
        """Choose the rows of a pilot, and say what they may cost."""
        assert self._run is not None
        chosen = {each.row.line: each for each in choose(self.tally.kept, self.tally.rows, rows, self._dice)}
        self._asking = []
        low = high = unbounded = unpriced = endless = 0
        async for line, request in self._run.picked(chosen):
            each = chosen[line]
            self._asking.append(each)
            low += each.row.prompt_cost
            unbounded += most_completion(request.endpoint, request.body) is None
            ways = asked_for(self._provider, request.body)
            rates = [self._book.rates(self._provider, each.row.model, self._moment, way) for way in ways]
            known = [rate for rate in rates if rate is not None]
            listing = self._book.find(self._provider, each.row.model)
            worst = at_most(request.endpoint, request.body, known, 0 if listing is None else listing.context)
            unpriced += not known
            endless += worst is None
            high += worst or 0
        return Offer(
            self.name,
            len(self._asking),
            Dollars(dollars(low), None, None if endless else dollars(high)),
            unbounded,
            unpriced,
        )

    async def ask(self) -> None:
        """Ask the rows that were chosen; their answers go into the cache.

        Raises:
            RunStopped: they cannot be asked: the key, the quota, the endpoint.
        """
        asked = []
        stream = self._manager.stream(self._requests())
        async with aclosing(stream):
            async for outcome in stream:
                asked.append(Asked(self._asking[outcome.index], outcome))
        asked.sort(key=lambda each: each.chosen.row.line)
        self._found = findings(
            asked,
            self.tally,
            book=self._book,
            provider=self._provider,
            moment=self._moment,
            seed=self._seed,
        )

    async def _requests(self) -> AsyncGenerator[LLMRequest, None]:
        """The rows that were chosen, read once more: pictures of all of them might not fit into memory."""
        assert self._run is not None
        async with aclosing(self._run.picked({each.row.line for each in self._asking})) as rows:
            async for _, request in rows:
                yield request

    @property
    def name(self) -> str:
        """`provider:model`."""
        return self._manager.title

    def said(self) -> ModelEstimate:
        """What is known by now."""
        assert self._plan is not None
        tally, found = self.tally, self._found
        tokens_in = Tokens(tally.tokens, tally.tokens, tally.tokens)
        tokens_out = Tokens(0, None, None if tally.unbounded else tally.most)
        cost, batch = _ends(tally.usual, tally), _ends(tally.batch, tally)
        measured = found is not None and found.tokens_out is not None
        if found is not None:
            tokens_in = found.tokens_in or tokens_in
            tokens_out = found.tokens_out or tokens_out
            cost, batch = found.cost or cost, found.batch or batch
        said = ModelEstimate(
            name=self.name,
            plan=self._plan,
            exact=tally.exact,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=cost,
            batch=batch,
            duration=self._duration(tokens_in, tokens_out),
            unpriced=tally.unpriced,
            unpriced_models=tuple(tally.unpriced_models),
            named=tally.named,
            named_models=tuple(tally.named_models),
            unbounded=tally.unbounded,
            too_long=tally.too_long,
            per_hundred=dollars(tally.usual.per_hundred),
            measured=measured,
            pilot=None if found is None else found.pilot,
            bad=tuple(tally.bad),
        )
        model = self._manager.model
        if model is None or not tally.sizes:
            return said
        answer, sizes = None, tally.sizes
        if measured and tokens_out.expected is not None and tokens_in.expected is not None:
            answer = tokens_out.expected / tally.rows
            billed = tokens_in.expected / tally.tokens
            sizes = {
                digits: size._replace(tokens=round(size.tokens * billed)) for digits, size in sizes.items()
            }
        others = cheaper(
            model,
            self._provider,
            self._book,
            self._moment,
            sizes,
            answer=answer,
            embeds=not tally.most and not tally.unbounded,
            longest=tally.longest,
        )
        return replace(said, cheaper=others)

    def _duration(self, tokens_in: Tokens, tokens_out: Tokens) -> Duration | None:
        places = self._settings.places
        limits = Limits() if places is None else places.limits
        if isinstance(limits, Mapping):
            limits = limits.get(self._manager.model or "", Limits())
        return duration(
            self.tally.rows,
            {
                "tokens": self._limited(tokens_in, tokens_out),
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
            },
            limits.declared(),
            concurrency=self._settings.concurrency,
            latency=0.0 if self._found is None else self._found.pilot.latency,
        )

    def _limited(self, tokens_in: Tokens, tokens_out: Tokens) -> Tokens:
        """Tokens as limits on both kinds together count them."""
        low, high = self.tally.limited
        if not self._settings.provider.settle(Cost(), Usage(0, 0, 1)).of("tokens"):
            return Tokens(low, low, low)  # answers count for nothing
        expected = None
        if tokens_in.expected is not None and tokens_out.expected is not None:
            expected = max(low, tokens_in.expected + tokens_out.expected)
        return Tokens(low, expected, None if self.tally.unbounded else max(low, high))


def _ends(sums: Sums, tally: Tally) -> Dollars | None:
    """What is possible: no answer has a token, or each as many as it may; None where nothing has a price."""
    if not sums.priced and tally.rows:
        return None
    return Dollars(dollars(sums.low), None, None if tally.unbounded else dollars(sums.high))
