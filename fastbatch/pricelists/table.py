"""A price list in the form that all lists are brought into: plain data, made into listings when asked for.

    {"form": 4, "days": [20605], "providers": {"openai": {
        "fallback": ["mistral"], "batch": [1, 2, ["cached"]], "uplifts": {"us": [11, 10]},
        "models": [[name, condition, context, deprecated, entries, entries of other ways to be served]]}}}

An entry is `{"rates": {"input": 150000, "output": [600000, [[200000, 900000]]]}, "since": 20605, "hours":
[begin, end], "when": {"processing": "batch"}}`; all but `rates` may be absent. A model may
have a seventh member, its own `batch`: the part and the whole of what a batch pays, and what it pays in full.
Rates are pico-dollars, days count from 1970, hours are seconds of a day; conditions are those of
`pricing.matching`. What is told of a provider may be a text of JSON: as objects a long list takes 4 MB, and a
run asks for a provider or two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import orjson

from fastbatch.pricing.book import Stamp
from fastbatch.pricing.listing import BatchShare, Entry, Hours, Listing
from fastbatch.pricing.matching import matches
from fastbatch.pricing.rates import Rate

FORM = 4
"""Changes with the form, and with what is made of genai-prices, so that kept tables are made anew."""

_EPOCH = date(1970, 1, 1).toordinal()
_COMPACT_DAY = re.compile(r"(?<=[-@])(20\d\d)([01]\d)([0-3]\d)(?!\d)")


def day(when: date) -> int:
    """A date in days since 1970."""
    return when.toordinal() - _EPOCH


def as_date(days: int) -> date:
    """Days since 1970 as a date."""
    return date.fromordinal(days + _EPOCH)


class PriceTable:
    """A price list made of such data.

    Args:
        form: the data.
        stamp: what it is called.
        names: what it calls providers of ours where that is another name.
    """

    def __init__(self, form: dict[str, Any], stamp: Stamp, names: Mapping[str, str]) -> None:
        self.stamp = stamp
        self._providers: dict[str, Any] = form["providers"]
        self._names = names

    @property
    def providers(self) -> tuple[str, ...]:
        """Whose models it has, by its own names."""
        return tuple(self._providers)

    def find(self, provider: str, model: str) -> Listing | None:
        """What it says of a model; None: nothing.

        Where it has no `models/gemini-2.5-flash`, that is `gemini-2.5-flash`; where it has no
        `gpt-5.2-20251211`, as gateways write it, that is the same with dashes in its date.
        """
        whose = self._names.get(provider, provider)
        if whose not in self._providers or not model:
            return None
        told = self._opened(whose)
        name = model.lower()
        bare = name.rpartition("models/")[2]
        spellings = dict.fromkeys((name, bare, _COMPACT_DAY.sub(r"\1-\2-\3", bare)))
        return next((found for each in spellings if (found := self._look(told, each))), None)

    def models(self, provider: str = "") -> Iterator[Listing]:
        """All models that it has of a provider, or of everybody; not those that it borrows of others."""
        names = [self._names.get(provider, provider)] if provider else list(self._providers)
        for name in names:
            told = self._told(name)
            for row in told["models"]:
                yield _listing(row, told)

    def _told(self, name: str) -> dict[str, Any]:
        told = self._providers.get(name, {"models": ()})
        read: dict[str, Any] = orjson.loads(told) if isinstance(told, str) else told
        return read

    def _opened(self, name: str) -> dict[str, Any]:
        """The same, and it stays read: who was asked for once will be again."""
        told = self._told(name)
        if name in self._providers:
            self._providers[name] = told
        return told

    def _look(self, told: dict[str, Any], name: str) -> Listing | None:
        for row in told["models"]:
            if matches(row[1], name):
                return _listing(row, told)
        for other in told.get("fallback", ()):
            for row in self._opened(other)["models"]:
                if matches(row[1], name):  # its ways of being served are the other provider's own
                    return _listing([*row[:5], []], told)
        return None


def _listing(row: list[Any], told: dict[str, Any]) -> Listing:
    name, _, context, deprecated, usual, other, *own = row
    share = own[0] if own else told.get("batch")
    return Listing(
        name,
        tuple(map(_entry, usual)),
        tuple(map(_entry, other)),
        None if share is None else BatchShare(share[0], share[1], frozenset(share[2])),
        context,
        bool(deprecated),
        {place: (part, whole) for place, (part, whole) in told.get("uplifts", {}).items()},
    )


def _entry(told: dict[str, Any]) -> Entry:
    hours = told.get("hours")
    return Entry(
        {kind: _rate(rate) for kind, rate in told["rates"].items()},
        told.get("since"),
        None if hours is None else Hours(*hours),
        told.get("when", {}),
    )


def _rate(told: int | list[Any]) -> Rate:
    if isinstance(told, int):
        return Rate(told)
    return Rate(told[0], tuple((above, each) for above, each in told[1]))
