"""Inputs that were never sent: rows of many shapes, with the answers that they would have had."""

from __future__ import annotations

import random

from fastbatch import OpenAIProvider
from fastbatch.engine.inputfile import Row
from fastbatch.errors import InvalidRequest
from fastbatch.estimating.pilot import Asked, findings
from fastbatch.estimating.sampling import choose
from fastbatch.estimating.tally import Tally
from fastbatch.models.params import CHAT
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import BatchShare, Entry, Listing
from fastbatch.pricing.rates import Rate

LISTING = Listing(
    "m", (Entry({"input": Rate(1_000_000), "output": Rate(4_000_000)}),), (), BatchShare(1, 2), 100_000
)


class Prices:
    """One dollar a million tokens in, four a million out, half of it in a batch."""

    stamp = Stamp("test", "2026-11-01", "0" * 12)

    def find(self, provider, model):
        return LISTING if model == "m" else None

    def models(self, provider=""):
        yield LISTING


class Reader:
    """Reads nothing: no reply is there."""

    def finish_reason(self, body):
        return None


class Given:
    """An input and its answers, as (tokens in, tokens out); None out is a row that fails.

    `bounds` are the rows' `max_tokens`; `billed` is how many tokens the provider counts for one of ours.
    """

    def __init__(self, rows, *, bound=None, billed=1.0, seed=0):
        self.dice = random.Random(seed)
        self.book = PriceBook([Prices()])
        self.tally = Tally(
            OpenAIProvider(base_url="http://127.0.0.1:9/v1"), "m", self.book, moment=0.0, dice=self.dice
        )
        self.usages = []
        for number, (tokens_in, tokens_out) in enumerate(rows, 1):
            # By its bytes a message has 5 tokens and one for each four letters.
            body = {"model": "m", "messages": [{"role": "user", "content": "x" * (4 * (tokens_in - 5))}]}
            if bound is not None:
                body["max_tokens"] = bound
            request = LLMRequest(CHAT, body, checked=True)
            self.tally.sends(Row(number, str(number), {}, request, None, number, 0, 0))
            usage = None if tokens_out is None else Usage(round(billed * tokens_in), 0, tokens_out)
            self.usages.append(usage)

        assert self.tally.tokens == sum(tokens_in for tokens_in, _ in rows)

    @property
    def cost(self):
        """What all rows would really cost, in dollars."""
        return sum(each.prompt_tokens + 4 * each.completion_tokens for each in self.usages if each) / 10**6

    @property
    def tokens_out(self):
        return sum(each.completion_tokens for each in self.usages if each)

    def pilot(self, count):
        """What a pilot of so many rows finds."""
        asked = []
        for chosen in choose(self.tally.kept, self.tally.rows, count, self.dice):
            usage = self.usages[chosen.row.line - 1]
            outcome = ResponseWrapper(Reader(), provider="openai", model="m", tokens=usage or Usage())
            if usage is None:
                outcome.error = InvalidRequest("no")
            asked.append(Asked(chosen, outcome))
        return findings(asked, self.tally, book=self.book, provider="openai", moment=0.0, seed=0)
