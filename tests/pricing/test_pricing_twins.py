"""Our prices beside those that genai-prices itself works out, and what must hold for every model of its list.

It is no judge of the bills, which are worked out by hand elsewhere: it finds what was lost in the conversion.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import types
from genai_prices.data import providers

from fastbatch.models.response import Usage, UsageDetails
from fastbatch.pricelists.genai import convert
from fastbatch.pricelists.kept import genai_list
from fastbatch.pricelists.table import PriceTable
from fastbatch.pricing.listing import Listing
from fastbatch.pricing.rates import Rates

PICO = Decimal(10) ** 12
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
WAYS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"processing": "batch"},
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"service_tier": "default"},
    {"speed": "fast"},
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> PriceTable:
    """The list in our form."""
    folder: Path = tmp_path_factory.mktemp("prices")
    return genai_list(date(2026, 11, 21), folder)


def random_usage(dice: random.Random) -> Usage:
    """Any reply: short or long, some of it cached, written, thought, heard, seen."""
    prompt = dice.choice((0, 1, 7, 99, 1000, 128_000, 199_999, 200_000, 200_001, 272_001, 1_000_000))
    completion = dice.choice((0, 1, 5, 800, 65_536))
    cached = dice.choice((0, 0, prompt // 3, prompt))
    reasoning = dice.choice((0, 0, completion // 2, completion))
    left = prompt - cached
    marks = {name: 0 for name in UsageDetails._fields if name not in ("tier", "place")}
    for name in dice.sample(("written", "written_1h", "audio", "image", "video"), dice.choice((0, 0, 1, 2))):
        marks[name] = dice.randint(0, left)
        left -= marks[name]
    for name in dice.sample(("spoken", "drawn"), dice.choice((0, 0, 1))):
        marks[name] = dice.randint(0, completion - reasoning)
    marks["searches"] = dice.choice((0, 0, 2))
    return Usage(prompt, cached, completion, reasoning).detailed(UsageDetails(**marks))


def theirs(usage: Usage) -> types.Usage:
    """The same in their words."""
    said = usage.details or UsageDetails()
    return types.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=said.written + said.written_1h,
        cache_write_1h_tokens=said.written_1h,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=said.audio,
        cache_audio_read_tokens=0,
        input_image_tokens=said.image,
        cache_image_read_tokens=0,
        input_video_tokens=said.video,
        output_audio_tokens=said.spoken,
        output_image_tokens=said.drawn,
        output_video_tokens=0,
        web_searches=said.searches,
    )


def draws(dice: random.Random, count: int) -> Iterator[tuple[types.Provider, types.ModelInfo]]:
    """Any models, ours among them as often as all others."""
    ours = [each for each in providers if each.id in ("openai", "anthropic", "google", "deepseek", "x-ai")]
    for _ in range(count):
        provider = dice.choice((dice.choice(ours), dice.choice(providers)))
        yield provider, dice.choice(provider.models)


def test_prices_are_those_of_genai_prices(table: PriceTable) -> None:
    """The same to the pico-dollar for thousands of usages, wherever both have a price.

    Where they differ on purpose nothing is compared: ways of being served that a model has no rates for are
    at the usual price there (here unpriced, or the share that the provider documents). Rates finer than a
    pico-dollar, which are noise of binary fractions, are rounded here.
    """
    dice = random.Random(7)
    listings = {name: {each.name: each for each in table.models(name)} for name in convert()["providers"]}
    compared = 0
    for provider, model in draws(dice, 9000):
        usage, served = random_usage(dice), dice.choice(WAYS)
        moment = dice.uniform(1.72e9, 1.80e9)
        when = datetime.fromtimestamp(moment, UTC)
        rates = listings[provider.id][model.id].rates(moment, served)
        if rates is None or (served and not lists(model, when, served)):
            continue
        try:
            told = model.calc_price(
                theirs(usage), provider, genai_request_timestamp=when, price_context=served
            )
        except ValueError:  # sound in a cache, say: it refuses counts that overlap in ways it has no unit for
            continue
        compared += 1
        difference = abs(rates.price(usage) - told.total_price * PICO)
        noise = Decimal("0.5") * sum(usage[:3]) if noisy(told.model_price) else 0
        assert difference <= noise, (provider.id, model.id, served, usage, usage.details)
    assert compared > 2000


def lists(model: types.ModelInfo, when: datetime, served: dict[str, str]) -> bool:
    """Whether a model has rates of its own for a way of being served, on that day."""
    return any(
        each.when == served and (each.constraint is None or each.constraint.active(when))
        for each in model.price_variants or ()
    )


def noisy(price: types.ModelPrice) -> bool:
    """Whether a rate has more digits than whole pico-dollars have."""
    told = [each for each in vars(price).values() if each is not None]
    flat = [each.base if isinstance(each, types.TieredPrices) else each for each in told]
    return any(each * 10**6 % 1 for each in flat)


def every_rates(table: PriceTable) -> list[tuple[Listing, Rates]]:
    """All models that have a price today, as they are usually served and in batches."""
    found = ((each, each.rates(NOW, way)) for each in table.models() for way in ({}, {"processing": "batch"}))
    return [(listing, rates) for listing, rates in found if rates is not None]


def test_one_token_more_never_costs_less(table: PriceTable) -> None:
    """A price is monotone in every count, at the edges of its steps too."""
    dice = random.Random(8)
    for listing, rates in every_rates(table):
        edges = [above for kind in ("input", "output") for above, _ in getattr(rates, kind).steps]
        for _ in range(4):
            usage = random_usage(dice)
            if edges:
                usage = Usage(dice.choice(edges) + dice.choice((-1, 0, 1)), 0, usage.completion_tokens, 0)
            prompt, cached, completion, reasoning = usage
            said = usage.details or UsageDetails()
            price = rates.price(usage)
            more = [
                Usage(prompt + 1, cached, completion, reasoning).detailed(said),
                Usage(prompt + 1, cached + 1, completion, reasoning).detailed(said),
                Usage(prompt, cached, completion + 1, reasoning).detailed(said),
                Usage(prompt, cached, completion + 1, reasoning + 1).detailed(said),
                usage.detailed(said._replace(searches=said.searches + 1)),
            ]
            for name in ("written", "written_1h", "audio", "image", "video"):
                marked = said._replace(**{name: getattr(said, name) + 1})
                more.append(Usage(prompt + 1, cached, completion, reasoning).detailed(marked))
            for name in ("spoken", "drawn", "filmed"):
                marked = said._replace(**{name: getattr(said, name) + 1})
                more.append(Usage(prompt, cached, completion + 1, reasoning).detailed(marked))
            assert price >= 0
            assert min(map(rates.price, more)) >= price, (listing.name, usage, said)


def test_the_worst_case_is_never_passed(table: PriceTable) -> None:
    """No usage within a bound costs more than what is set aside for it, but for searches."""
    dice = random.Random(9)
    for listing, rates in every_rates(table):
        for _ in range(4):
            usage = random_usage(dice)
            said = (usage.details or UsageDetails())._replace(searches=0)
            usage = Usage(*usage).detailed(said)
            prompt = usage.prompt_tokens + dice.choice((0, 0, 1, 100_000))
            completion = usage.completion_tokens + dice.choice((0, 0, 1000))
            assert rates.price(usage) <= rates.worst(prompt, completion), (listing.name, usage, said)


@pytest.mark.parametrize(
    "usage",
    [Usage(5, 9, 3, 7), Usage(5, 9, 3, 7).detailed(UsageDetails(audio=50, cached_audio=70, spoken=9))],
)
def test_counts_that_cannot_be_never_lower_a_bill(table: PriceTable, usage: Usage) -> None:
    """A reply that has more cached tokens than tokens is paid for those, and for nothing less."""
    found = table.find("gemini", "gemini-2.5-flash")
    assert found is not None
    rates = found.rates(NOW, {})
    assert rates is not None
    assert rates.price(usage) >= 9 * 30_000 + 7 * 2_500_000
