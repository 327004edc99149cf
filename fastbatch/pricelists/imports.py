"""Price lists in other people's forms, as a table of the user's own: LiteLLM's file and genai-prices' JSON.

Sources: https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json and
https://github.com/pydantic/genai-prices/blob/main/prices/data.json. What has no place in a table is left out
and counted: providers that are none of ours, prices by the hour, the picture or the page, prices by the hour
of day.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from fastbatch.errors import ConfigError
from fastbatch.pricelists.units import PIECES, TOKENS, UNCOUNTED
from fastbatch.pricelists.userfile import Document, read_document

_FINEST = Decimal("0.000001")

# LiteLLM's names of providers, and what models of theirs begin with.
_PROVIDERS = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "gemini": "gemini",
    "vertex_ai-language-models": "vertex",
    "vertex_ai-embedding-models": "vertex",
    "groq": "groq",
    "mistral": "mistral",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "openrouter": "openrouter",
    "xai": "xai",
    "deepseek": "deepseek",
}
_PREFIXES = (
    *("azure/", "gemini/", "vertex_ai/", "groq/", "mistral/", "together_ai/", "fireworks_ai/"),
    *("openrouter/", "xai/", "deepseek/"),
)
_MODES = (None, "chat", "completion", "responses", "embedding")
_COSTS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "written",
    "cache_creation_input_token_cost_above_1hr": "written_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio",
    "cache_read_input_audio_token_cost": "cached_audio",
    "output_cost_per_audio_token": "spoken",
    "input_cost_per_image_token": "image",
    "output_cost_per_image_token": "drawn",
}
_WAYS = {"_batches": "batch", "_flex": "flex", "_priority": "priority"}
_ABOVE = re.compile(r"(.+)_above_(\d+)k_tokens")

_THEIR_PROVIDERS = {"google": ("gemini", "vertex"), "x-ai": ("xai",)}
_OURS = frozenset((*_PROVIDERS.values(), "gemini"))


class Imported(NamedTuple):
    """A table of the user's own, not yet checked, and how many models had no place in it."""

    document: Document
    left_out: int = 0


def read_any(path: Path) -> Imported:
    """A table in our own form (TOML) or in one of the others (JSON).

    Raises:
        ConfigError: it cannot be read, or is none of them.
    """
    if path.suffix != ".json":
        return Imported(read_document(path))
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except FileNotFoundError:
        raise ConfigError("there is no such file", key="prices", value=str(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}", key="prices", value=str(path)) from None
    read = _form_of(found)
    if read is not None:
        try:
            return _counted(read(found))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"is not in the form that it seems to be in: {type(error).__name__}: {error}"
            raise ConfigError(problem, key="prices", value=str(path)) from None
    raise ConfigError(
        "is neither LiteLLM's model_prices_and_context_window.json nor genai-prices' JSON; "
        "a table of your own is TOML",
        key="prices",
        value=str(path),
    )


def _form_of(found: Any) -> Callable[[Any], Iterator[tuple[str, dict[str, Any]] | None]] | None:
    """What reads a list of this form; None where nothing does."""
    if (
        isinstance(found, list)
        and found
        and all(isinstance(each, dict) and "models" in each for each in found)
    ):
        return _genai
    told = found.values() if isinstance(found, dict) else ()
    return _litellm if any(isinstance(each, dict) and "litellm_provider" in each for each in told) else None


def _counted(rows: Iterable[tuple[str, dict[str, Any]] | None]) -> Imported:
    document: Document = {}
    left_out = 0
    for row in rows:
        if row is None:
            left_out += 1
        else:
            document.setdefault(*row)
    return Imported(document, left_out)


def _litellm(found: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]] | None]:
    for name, told in found.items():
        if name == "sample_spec" or not isinstance(told, dict) or "litellm_provider" not in told:
            continue
        provider = _PROVIDERS.get(told["litellm_provider"])
        rates = _litellm_rates(told) if told.get("mode") in _MODES else {}
        if provider is None or not rates.keys() & {"input", "output"}:
            yield None
            continue
        model = next((name.removeprefix(each) for each in _PREFIXES if name.startswith(each)), name)
        yield f"{provider}:{model}", rates


def _litellm_rates(told: Mapping[str, Any]) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    steps: dict[str, list[dict[str, Any]]] = {}
    for key, cost in told.items():
        if not _is_price(cost):
            continue
        if key in _COSTS:
            rates[_COSTS[key]] = _million(cost)
        elif (above := _ABOVE.fullmatch(key)) and above[1] in _COSTS:
            step = {"above": int(above[2]) * 1000, "price": _million(cost)}
            steps.setdefault(_COSTS[above[1]], []).append(step)
        for ending, way in _WAYS.items():
            if key.endswith(ending) and (kind := _COSTS.get(key.removesuffix(ending))):
                rates.setdefault(way, {})[kind] = _million(cost)
    for kind, found in steps.items():
        if kind in rates:
            rates[kind] = [rates[kind], *sorted(found, key=lambda step: int(step["above"]))]
    searches = told.get("search_context_cost_per_query")
    medium = searches.get("search_context_size_medium") if isinstance(searches, dict) else None
    if medium is not None and _is_price(medium):
        rates["search"] = _trimmed(Decimal(medium))
    most = [told.get(key) for key in ("max_input_tokens", "max_output_tokens")]
    if all(type(each) is int and each > 0 for each in most):
        rates["context"] = sum(most)
    return rates


def _million(cost: Decimal | int) -> Decimal:
    """Dollars for a token as dollars per million; what is finer than we keep is noise of binary fractions."""
    return _trimmed((Decimal(cost) * 10**6).quantize(_FINEST))


def _genai(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]] | None]:
    for provider in found:
        ours = _THEIR_PROVIDERS.get(str(provider.get("id")), (str(provider.get("id")),))
        for model in provider["models"]:
            rates = _genai_rates(model) if isinstance(model, dict) else {}
            if not _OURS.issuperset(ours) or not rates.keys() & {"input", "output"}:
                yield None
                continue
            names = dict.fromkeys((str(model.get("id")), *_patterns(model.get("match"))))
            for each in ours:
                for name in names:
                    yield f"{each}:{name}", rates


def _genai_rates(model: Mapping[str, Any]) -> dict[str, Any]:
    """The newest prices, with those before as their history; {} where a price depends on the hour."""
    prices = model.get("prices")
    dated = prices if isinstance(prices, list) else [{"prices": prices}]
    entries: list[dict[str, Any]] = []
    for each in dated:
        constraint = each.get("constraint") or {}
        entry = _rates(each.get("prices") or {})
        if "start_time" in constraint or not entry.keys() & {"input", "output"}:
            return {}
        if "start_date" in constraint:
            entry["since"] = datetime.date.fromisoformat(constraint["start_date"])
        entries.append(entry)
    if not entries:
        return {}
    newest = max(entries, key=lambda entry: entry.get("since", datetime.date.min))
    rates = dict(newest)
    if len(entries) > 1:
        rates["history"] = [entry for entry in entries if entry is not newest]
    for variant in model.get("price_variants") or []:
        when = variant.get("when") or {}
        way = "batch" if when == {"processing": "batch"} else when.get("service_tier") or when.get("speed")
        told = _rates(variant.get("prices") or {})
        if len(when) == 1 and way in ("batch", "flex", "priority", "fast") and told:
            rates[way] = told
    return rates


def _rates(prices: Mapping[str, Any]) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    if any(key.endswith(UNCOUNTED) for key in prices):
        return rates
    for key, price in prices.items():
        if key in PIECES and _is_price(price):
            rates[PIECES[key]] = _trimmed(Decimal(price) / 1000)
        elif key in TOKENS and _is_price(price):
            rates[TOKENS[key]] = _trimmed(Decimal(price).quantize(_FINEST))
        elif key in TOKENS and isinstance(price, dict):
            steps = [{"above": tier["start"], "price": tier["price"]} for tier in price["tiers"]]
            rates[TOKENS[key]] = [price["base"], *steps]
    return rates


def _patterns(match: Any) -> Iterator[str]:
    """The names and beginnings that a condition allows, as our patterns; what else it asks for is lost."""
    if not isinstance(match, dict):
        return
    for kind, told in match.items():
        if kind == "or" and isinstance(told, list):
            for each in told:
                yield from _patterns(each)
        elif isinstance(told, str) and kind in _PATTERNS:
            yield _PATTERNS[kind].format(told)


_PATTERNS = {"equals": "{}", "starts_with": "{}*", "ends_with": "*{}", "contains": "*{}*"}


def _is_price(given: Any) -> bool:
    return type(given) is int or (isinstance(given, Decimal) and given.is_finite())


def _trimmed(number: Decimal) -> Decimal:
    """Without zeros at its end, and never as `1E+2`."""
    short = number.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short
