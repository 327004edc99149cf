"""The price list of the package `genai-prices`, in our form; importing this costs 0.2 s and 30 MB.

It is MIT-licensed data (https://github.com/pydantic/genai-prices), which nothing is fetched for: its own
updates over the network are not used.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from genai_prices import types
from genai_prices.data import providers

from fastbatch.pricelists.table import FORM, day
from fastbatch.pricelists.units import PIECES, TOKENS, UNCOUNTED
from fastbatch.pricing.money import per_token, picos

# A batch is half price where no rates of its own are listed (they are since autumn 2026), but for what is
# named here. OpenAI's table of batches has no cached rate for many models
# (https://platform.openai.com/docs/pricing); Google's says that caching stays at its usual price
# (https://ai.google.dev/gemini-api/docs/pricing); Anthropic's discount holds for cached tokens too
# (https://docs.claude.com/en/docs/build-with-claude/batch-processing).
_ONCE = ["request", "search"]
_CACHED = ["cached", "cached_audio", "cached_image"]
_HALF = {
    "openai": [1, 2, _ONCE + _CACHED],
    "azure": [1, 2, _ONCE + _CACHED],
    "google": [1, 2, _ONCE + _CACHED],
    "anthropic": [1, 2, _ONCE],
}
# Since Claude Opus 4.6 all tokens are a tenth dearer in the United States alone; older models refuse a place
# (https://platform.claude.com/docs/en/about-claude/pricing#data-residency-pricing).
_UPLIFTS = {"anthropic": {"us": [11, 10]}}


def convert() -> dict[str, Any]:
    """The list as a table's data, with the days on which a price begins."""
    days: set[int] = set()
    told = {each.id: orjson.dumps(_provider(each, days)).decode() for each in providers}
    return {"form": FORM, "days": sorted(days), "providers": told}


def _provider(provider: types.Provider, days: set[int]) -> dict[str, Any]:
    told: dict[str, Any] = {"models": [_model(each, days) for each in provider.models]}
    if provider.fallback_model_providers:
        told["fallback"] = provider.fallback_model_providers
    if provider.id in _UPLIFTS:
        told["uplifts"] = _UPLIFTS[provider.id]
    if provider.id in _HALF:
        told["batch"] = _HALF[provider.id]
    return told


def _model(model: types.ModelInfo, days: set[int]) -> list[Any]:
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    variants = model.price_variants or []
    if _lacks_sound(model.id, prices):
        prices, variants = [types.ConditionalPrice(prices=types.ModelPrice())], []
    return [
        model.id,
        _condition(model.match),
        model.context_window or 0,
        int(bool(model.deprecated)),
        [_entry(each.prices, each.constraint, None, days) for each in prices],
        [_entry(each.prices, each.constraint, each.when, days) for each in variants],
    ]


def _lacks_sound(name: str, prices: list[types.ConditionalPrice]) -> bool:
    """Whether sound would be priced as text, at a fifteenth of it, as that of `gpt-4o-audio-preview`."""
    keys = (key for each in prices for key in vars(each.prices))
    return name.endswith("-audio-preview") and not any("audio" in key for key in keys)


def _entry(
    prices: types.ModelPrice,
    constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None,
    when: Mapping[str, str] | None,
    days: set[int],
) -> dict[str, Any]:
    told: dict[str, Any] = {"rates": _rates(prices)}
    if isinstance(constraint, types.StartDateConstraint):
        told["since"] = day(constraint.start_date)
        days.add(told["since"])
    elif constraint is not None:
        told["hours"] = [_second(constraint.start_time), _second(constraint.end_time)]
    if when is not None:
        told["when"] = dict(when)
    return told


def _rates(prices: types.ModelPrice) -> dict[str, Any]:
    stated = {key: price for key, price in vars(prices).items() if price is not None}
    if any(key.endswith(UNCOUNTED) for key in stated):
        return {}
    found: dict[str, Any] = {}
    for key, price in stated.items():
        if key in TOKENS:
            found[TOKENS[key]] = _rate(price)
        elif key in PIECES and isinstance(price, Decimal):
            found[PIECES[key]] = picos(price / 1000)
    return found


def _rate(price: Decimal | types.TieredPrices) -> int | list[Any]:
    """Pico-dollars for a token: finer ones (noise of binary fractions, in a few models) are rounded."""
    if isinstance(price, Decimal):
        return per_token(price)
    return [per_token(price.base), [[tier.start, per_token(tier.price)] for tier in price.tiers]]


def _second(time: datetime.time) -> int:
    """A time of day as a second of a day in UTC."""
    offset = time.utcoffset() or datetime.timedelta()
    return (time.hour * 3600 + time.minute * 60 + time.second - int(offset.total_seconds())) % 86_400


def _condition(clause: Any) -> list[Any]:
    """One of their conditions in our form; they compare in lower case as well."""
    match clause:
        case types.ClauseEquals(text):
            return ["is", text.lower()]
        case types.ClauseStartsWith(text):
            return ["starts", text.lower()]
        case types.ClauseEndsWith(text):
            return ["ends", text.lower()]
        case types.ClauseContains(text):
            return ["holds", text.lower()]
        case types.ClauseRegex(text):
            return ["regex", text]
        case types.ClauseOr(clauses):
            return ["or", *map(_condition, clauses)]
        case types.ClauseAnd(clauses):
            return ["and", *map(_condition, clauses)]
    raise TypeError(f"genai-prices has a condition that is not known here: {type(clause).__name__}")
