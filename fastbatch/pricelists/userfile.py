"""The user's own prices: a TOML file with a table for each model.

    date = 2026-11-01                  # of the prices, for the stamp beside every total

    ["openai:gpt-4o-mini"]             # as in --model; * stands for anything: "ollama:*"
    input = 0.15                       # US dollars per million tokens
    cached = 0.075
    output = [0.60, {above = 200000, price = 0.90}]    # all tokens of a request with a longer prompt
    batch = 0.5                        # of each rate; or rates: {input = 0.075, output = 0.30}
    flex = {input = 0.075, output = 0.30}
    search = 0.01                      # US dollars for each search of the web; `request` for each request
    since = 2026-11-01                 # the day from which these hold

    [["openai:gpt-4o-mini".history]]   # and those before, without a day those from the beginning
    input = 0.30
    output = 1.20

A name is more exact than one with `*`, and of those the one with more letters wins. Numbers are decimal from
the first to the last.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import orjson

from fastbatch import registry
from fastbatch.errors import ConfigError, did_you_mean
from fastbatch.pricelists.digests import digest
from fastbatch.pricelists.patterns import condition, rank
from fastbatch.pricelists.table import FORM, PriceTable, day
from fastbatch.pricing.book import Stamp
from fastbatch.pricing.money import per_token, picos
from fastbatch.pricing.rates import KINDS

Document = dict[str, Any]
"""What the file holds, as TOML's own values, numbers as `Decimal` or `int`."""

ONCE = ("request", "search")
"""What is priced by the piece, not by the million tokens; a batch's share does not hold for it."""

WAYS = ("batch", "flex", "priority", "scale", "fast")
"""Ways of being served that may have rates of their own."""

_MOST = 10**9  # US dollars: nobody asks that much
_OTHER = ("since", "history", "context", "deprecated")
_RATE = "US dollars per million tokens, such as 0.15"


def read_prices(path: Path) -> PriceTable:
    """The user's table.

    Raises:
        ConfigError: there is no such file, or something in it is no price; with the table and the key.
    """
    return table_of(read_document(path), path)


def read_document(path: Path) -> Document:
    """What a table's file holds, not yet checked.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except FileNotFoundError:
        raise ConfigError("there is no such file", key="prices", value=str(path)) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", key="prices", value=str(path)) from None


def table_of(document: Document, path: Path) -> PriceTable:
    """A table made of what a file holds.

    Raises:
        ConfigError: something in it is no price.
    """
    form = _Reader(str(path)).form(document)
    dated = document.get("date", "")
    content = orjson.dumps(form, option=orjson.OPT_SORT_KEYS)
    return PriceTable(form, Stamp(path.name, str(dated), digest(content)), {})


def served_as(way: str, provider: str) -> dict[str, str]:
    """How requests have to be served for the rates of a way to hold."""
    if way == "batch":
        return {"processing": "batch"}
    return {"speed": way} if way == "fast" and provider == "anthropic" else {"service_tier": way}


class _Reader:
    """Checks a document and brings it into the form of a table; `source` names the file in errors."""

    def __init__(self, source: str) -> None:
        self._source = source

    def form(self, document: Document) -> dict[str, Any]:
        found: dict[str, list[Any]] = {}
        for name, told in sorted(document.items(), key=lambda item: rank(item[0])):
            if name == "date":
                self._date(told, name)
                continue
            provider, model = self._split(name, told)
            found.setdefault(provider, []).append(self._model(name, provider, model, told))
        return {"form": FORM, "providers": {name: {"models": models} for name, models in found.items()}}

    def _split(self, name: str, told: Any) -> tuple[str, str]:
        if not isinstance(told, Mapping):
            self._refuse(f"is no table of a model.{did_you_mean(name, ['date'])}", name, told)
        provider, colon, model = name.partition(":")
        if not colon or not model.strip():
            self._refuse('must be named PROVIDER:MODEL, such as ["openai:gpt-4o-mini"]', name)
        known = [*registry.names("providers"), *registry.names("services")]
        if provider not in known:
            self._refuse(
                f"there is no provider {provider!r}; known are {', '.join(sorted(known))}."
                f"{did_you_mean(provider, known)}",
                name,
            )
        return provider, model.strip()

    def _model(self, name: str, provider: str, model: str, told: Mapping[str, Any]) -> list[Any]:
        self._known(name, told, (*KINDS, *WAYS, *_OTHER))
        usual = [self._entry(name, told)]
        history = told.get("history", [])
        if not isinstance(history, list) or not all(isinstance(each, Mapping) for each in history):
            self._refuse(f'must be tables, each begun by [["{name}".history]]', f"{name}.history", history)
        if history and "since" not in told:
            self._refuse("say with `since` from which day the prices hold that follow a history", name)
        for number, each in enumerate(history, 1):
            where = f"{name}.history {number}"
            self._known(where, each, (*KINDS, "since"))
            usual.append(self._entry(where, each))
        days = [each.get("since") for each in usual]
        if len(set(days)) < len(days):
            self._refuse("two of its prices hold from the same day", name)
        usual.sort(key=lambda entry: entry.get("since", -(10**9)))
        other, share = self._ways(name, provider, told)
        row = [model, condition(model), self._context(name, told), bool(told.get("deprecated")), usual, other]
        return row if share is None else [*row, share]

    def _known(self, where: str, told: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in told:
            if key not in known:
                hint = did_you_mean(key, known) or f" Known are {', '.join(known)}."
                self._refuse(f"there is no such price.{hint}", f"{where}.{key}")

    def _entry(self, where: str, told: Mapping[str, Any]) -> dict[str, Any]:
        rates = self._rates(where, told)
        if not rates.keys() & {"input", "output"}:
            self._refuse(f"has neither `input` nor `output`, in {_RATE}", where)
        entry: dict[str, Any] = {"rates": rates}
        if "since" in told:
            entry["since"] = day(self._date(told["since"], f"{where}.since"))
        return entry

    def _ways(
        self, name: str, provider: str, told: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], list[Any] | None]:
        """The rates of other ways of being served, and what a batch pays of the usual ones."""
        other, share = [], None
        for way in WAYS:
            if way not in told:
                continue
            where, given = f"{name}.{way}", told[way]
            if isinstance(given, Mapping):
                self._known(where, given, KINDS)
                other.append({"rates": self._rates(where, given), "when": served_as(way, provider)})
            elif way != "batch":
                self._refuse("must be a table of rates: {input = 0.075, output = 0.30}", where, given)
            elif not _is_number(given) or not Decimal("0.001") <= given <= 1:
                self._refuse(
                    "must be a share such as 0.5, or a table of rates: {input = 0.075, output = 0.30}",
                    where,
                    given,
                )
            else:
                share = [*Decimal(given).as_integer_ratio(), list(ONCE)]
        return other, share

    def _rates(self, where: str, told: Mapping[str, Any]) -> dict[str, Any]:
        return {kind: self._rate(f"{where}.{kind}", kind, told[kind]) for kind in KINDS if kind in told}

    def _rate(self, where: str, kind: str, given: Any) -> Any:
        if not isinstance(given, list):
            return self._amount(where, kind, given)
        if not given:
            self._refuse(f"has no price, in {_RATE}", where)
        steps = [self._step(where, kind, each) for each in given[1:]]
        if any(lower[0] >= higher[0] for lower, higher in pairwise(steps)):
            self._refuse("each step must be above the one before it", where)
        return [self._amount(where, kind, given[0]), steps]

    def _step(self, where: str, kind: str, given: Any) -> list[int]:
        if not isinstance(given, Mapping) or given.keys() != {"above", "price"}:
            self._refuse("a step is {above = 200000, price = 0.30}", where, given)
        above = given["above"]
        if type(above) is not int or above < 0:
            self._refuse("must be the tokens of a prompt, such as 200000", f"{where}.above", above)
        return [above, self._amount(f"{where}.price", kind, given["price"])]

    def _amount(self, where: str, kind: str, given: Any) -> int:
        wanted = "US dollars for each, such as 0.01" if kind in ONCE else _RATE
        if not _is_number(given):
            self._refuse(f"must be a number: {wanted}", where, given)
        if not 0 <= given <= _MOST:
            self._refuse(f"must be zero or more, and no more than {_MOST:,}: {wanted}", where, given)
        whole = picos(given) if kind in ONCE else per_token(given)
        if Decimal(whole) != Decimal(given).scaleb(12 if kind in ONCE else 6):
            self._refuse("is finer than 0.000001, the finest that is kept", where, given)
        return whole

    def _context(self, name: str, told: Mapping[str, Any]) -> int:
        context = told.get("context", 0)
        if type(context) is not int or context < 0:
            self._refuse("must be tokens, such as 128000", f"{name}.context", context)
        return context

    def _date(self, given: Any, where: str) -> datetime.date:
        if type(given) is not datetime.date:
            self._refuse("must be a day without quotes, such as 2026-11-01", where, given)
        return given

    def _refuse(self, problem: str, where: str, value: Any = None) -> NoReturn:
        shown = value if value is None or not _is_number(value) else _Plain(value)
        raise ConfigError(problem, key=where, value=shown, source=self._source)


class _Plain:
    """A number that errors show as it was written."""

    def __init__(self, number: Decimal | int) -> None:
        self._number = number

    def __repr__(self) -> str:
        return str(self._number)


def _is_number(given: Any) -> bool:
    """Not `nan` and `inf`, which TOML has."""
    return type(given) is int or (isinstance(given, Decimal) and given.is_finite())
