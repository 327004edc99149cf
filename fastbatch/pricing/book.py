"""All price lists that a run goes by, the user's own before the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from fastbatch.pricing.listing import Listing
from fastbatch.pricing.rates import FREE, Rates, dearest

AS_USUAL: Mapping[str, str] = MappingProxyType({})
BATCH: Mapping[str, str] = MappingProxyType({"processing": "batch"})

_MODELS = 1_000  # whose prices are remembered: an input may name models without end


class Stamp(NamedTuple):
    """Which price list a total was made with."""

    name: str
    """Of the list, with its version where it has one."""
    date: str
    """`YYYY-MM-DD` of its newest price; "" where that is not known."""
    digest: str
    """12 hex digits that stand for all of its content."""

    def __str__(self) -> str:
        """`genai-prices 0.2.3 of 2026-10-14 (3fa9c1d2e4b5)`."""
        of = f" of {self.date}" if self.date else ""
        return f"{self.name}{of} ({self.digest})"


class PriceList(Protocol):
    """One list of prices."""

    @property
    def stamp(self) -> Stamp: ...  # noqa: D102

    def find(self, provider: str, model: str) -> Listing | None:
        """What it says of a model of a provider (our names of providers); None: nothing."""
        ...

    def models(self, provider: str = "") -> Iterator[Listing]:
        """All models that it has of a provider, or of everybody."""
        ...


class PriceBook:
    """Looks each model up once.

    Args:
        lists: the strongest first.
        free: providers that cost nothing, since they run on the user's machine.
    """

    def __init__(self, lists: Sequence[PriceList] = (), *, free: Sequence[str] = ("local",)) -> None:
        self.lists = tuple(lists)
        self._free = frozenset(free)
        self._ceiling: Rates | None = None
        self._listings: dict[tuple[str, str], Listing | None] = {}
        self._rates: dict[
            tuple[str, str, tuple[tuple[str, str], ...]], tuple[float, float, Rates | None]
        ] = {}

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Which lists there are."""
        return tuple(each.stamp for each in self.lists)

    def find(self, provider: str, model: str) -> Listing | None:
        """What the strongest list that knows a model says of it."""
        key = provider, model
        if key not in self._listings:
            if len(self._listings) >= _MODELS:
                self._listings.clear()
            found = (each.find(provider, model) for each in self.lists)
            self._listings[key] = next((each for each in found if each is not None), None)
        return self._listings[key]

    def stamp_of(self, provider: str, model: str | None) -> Stamp | None:
        """Which list says what a model costs; None: none of them."""
        found = (each.stamp for each in self.lists if each.find(provider, model or "") is not None)
        return next(found, None)

    def rates(
        self, provider: str, model: str | None, moment: float, served: Mapping[str, str] = AS_USUAL
    ) -> Rates | None:
        """A model's rates at a moment (seconds since 1970), as requests are served; None: it has no price."""
        model = model or ""
        key = provider, model, tuple(served.items())
        kept = self._rates.get(key)
        if kept is not None and kept[0] <= moment < kept[1]:
            return kept[2]
        listing = self.find(provider, model)
        if listing is None:
            until, rates = float("inf"), FREE if provider in self._free else None
        else:
            until, rates = listing.until(moment), listing.rates(moment, served)
        if len(self._rates) >= _MODELS:
            self._rates.clear()
        self._rates[key] = moment, until, rates
        return rates

    def rates_within(
        self, provider: str, model: str | None, begin: float, end: float, served: Mapping[str, str] = AS_USUAL
    ) -> list[Rates]:
        """All rates that a model has at some moment of a stretch of time; none where it has no price."""
        found = [self.rates(provider, model, begin, served)]
        listing = self.find(provider, model or "")
        if listing is not None:
            while (begin := listing.until(begin)) <= end:
                found.append(listing.rates(begin, served))
        return [rates for rates in dict.fromkeys(found) if rates is not None]

    def ceiling(self, moment: float) -> Rates:
        """For each kind of token the dearest rate of all models at a moment; free where there are none."""
        if self._ceiling is None:
            every = (each.rates(moment, AS_USUAL) for lists in self.lists for each in lists.models())
            self._ceiling = dearest([rates for rates in every if rates is not None])
        return self._ceiling
