"""A price list for tests: one price for the models that it is told, or for every one."""

from __future__ import annotations

from collections.abc import Iterator

from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import BatchShare, Entry, Listing
from fastbatch.pricing.rates import Rate

# Dollars per million tokens are pico-dollars per token times a million: round ones, for sums by hand.
INPUT, CACHED, OUTPUT = 100, 10, 1000


class Prices:
    """Models at 100 pico-dollars a token in, 10 from the cache, 1,000 out; `context` tokens at most."""

    stamp = Stamp("of the tests", "2026-11-01", "0" * 12)

    def __init__(self, *models: str, context: int = 0) -> None:
        self._models = models
        rates = {"input": Rate(INPUT), "cached": Rate(CACHED), "output": Rate(OUTPUT)}
        self._listing = Listing("all", (Entry(rates),), context=context, batch_share=BatchShare(1, 2))

    def find(self, provider: str, model: str) -> Listing | None:
        return self._listing if not self._models or model in self._models else None

    def models(self, provider: str = "") -> Iterator[Listing]:
        yield self._listing


def book(*models: str, context: int = 0) -> PriceBook:
    return PriceBook([Prices(*models, context=context)])
