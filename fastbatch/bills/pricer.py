"""What a recorded reply costs by a book of prices, at its own moment or at one for all."""

from __future__ import annotations

from typing import NamedTuple

from fastbatch.bills.days import seconds
from fastbatch.bills.told import Told
from fastbatch.models.response import Mode
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.rates import Rates
from fastbatch.pricing.served import served_by

_MINUTE = 60.0  # prices change on whole minutes


class Price(NamedTuple):
    """Pico-dollars, and the list that says so; "" for what runs on the user's own machine."""

    picos: int
    prices: str


class Pricer:
    """Prices by a book.

    Args:
        book: the price lists.
        moment: seconds since 1970, at which everything is priced; None: each when it was recorded.
    """

    def __init__(self, book: PriceBook, moment: float | None = None) -> None:
        self._book = book
        self._moment = moment
        self._stamps: dict[tuple[str, str], str] = {}

    def dated(self, told: Told) -> bool:
        """Whether it is known at which moment a line is to be priced."""
        return self._moment is not None or seconds(told.at) is not None

    def price(self, told: Told) -> Price | None:
        """What the reply of a dated line costs; None where it has no price, or states no tokens."""
        moment = seconds(told.at) if self._moment is None else self._moment
        assert moment is not None
        moment -= moment % _MINUTE
        provider, usage = told.provider, told.usage
        mode: Mode = "batch" if told.mode == "batch" else "online"
        served = served_by(provider, usage.details, mode)
        for model in (told.model, _answered_by(told)):
            usual = self._book.rates(provider, model, moment)
            if usual is None:
                continue
            rates: Rates | None = self._book.rates(provider, model, moment, served) if served else usual
            if rates is None or not (usage.prompt_tokens or usage.completion_tokens or not usual.costs):
                return None
            if not rates.covers(usage):
                return None
            return Price(rates.price(usage), self._stamp(provider, model))
        return None

    def _stamp(self, provider: str, model: str) -> str:
        key = provider, model
        if key not in self._stamps:
            stamp = self._book.stamp_of(provider, model)
            self._stamps[key] = "" if stamp is None else str(stamp)
        return self._stamps[key]


def _answered_by(told: Told) -> str:
    """The model that a reply names, which may be another than was asked for (a deployment's)."""
    body = told.record["response"]["body"]
    said = body.get("model") if isinstance(body, dict) else None
    return said if isinstance(said, str) else ""
