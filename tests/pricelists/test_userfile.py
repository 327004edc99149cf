"""The user's own prices, in TOML."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from fastbatch.errors import ConfigError
from fastbatch.models.response import Usage
from fastbatch.pricelists.table import day
from fastbatch.pricelists.userfile import read_prices
from fastbatch.pricing.book import BATCH, PriceBook
from fastbatch.pricing.rates import Rate

DAY = 86_400
NOW = 20_800 * DAY  # 2026-12-13

WHOLE = """
date = 2026-11-01

["openai:gpt-4o-mini"]
input = 0.15
cached = 0.075
output = [0.60, {above = 200000, price = 0.90}]
batch = 0.5
flex = {input = 0.075, output = 0.30}
search = 0.01
request = 0.000001
context = 128000
since = 2026-11-01

[["openai:gpt-4o-mini".history]]
input = 0.30
output = 1

[["openai:gpt-4o-mini".history]]
input = 0.20
output = 0.80
since = 2026-06-01

["ollama:*"]
input = 0
output = 0

["anthropic:claude-x"]
input = 3
output = 15
batch = {input = 1.5, output = 7.5}
fast = {input = 6, output = 30}
"""


def read(tmp_path: Path, text: str) -> PriceBook:
    """A book of that table alone."""
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return PriceBook([read_prices(path)])


def refusal(tmp_path: Path, text: str) -> str:
    """What is said of a table that is refused."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    return str(refused.value).replace(str(tmp_path), "")


def test_every_kind_of_price_is_read(tmp_path: Path) -> None:
    """A rate, steps, prices by the piece; all of them exact."""
    rates = read(tmp_path, WHOLE).rates("openai", "gpt-4o-mini", NOW)
    assert rates is not None
    assert rates.input == Rate(150_000)
    assert rates.cached == Rate(75_000)
    assert rates.output == Rate(600_000, ((200_000, 900_000),))
    assert rates.search == Rate(10**10)
    assert rates.request == Rate(10**6)


def test_a_batch_pays_its_share_of_tokens_but_not_of_searches(tmp_path: Path) -> None:
    """`batch = 0.5` halves every rate but those by the piece."""
    rates = read(tmp_path, WHOLE).rates("openai", "gpt-4o-mini", NOW, BATCH)
    assert rates is not None
    assert (rates.input, rates.cached) == (Rate(75_000), Rate(37_500))
    assert rates.output == Rate(300_000, ((200_000, 450_000),))
    assert rates.search == Rate(10**10)


@pytest.mark.parametrize(
    ("provider", "model", "served", "rate"),
    [
        ("openai", "gpt-4o-mini", {"service_tier": "flex"}, 75_000),
        ("openai", "gpt-4o-mini", {"service_tier": "priority"}, None),
        ("anthropic", "claude-x", {"processing": "batch"}, 1_500_000),
        ("anthropic", "claude-x", {"speed": "fast"}, 6_000_000),
        ("anthropic", "claude-x", {"service_tier": "fast"}, None),
    ],
)
def test_other_ways_of_being_served(
    tmp_path: Path, provider: str, model: str, served: dict[str, str], rate: int | None
) -> None:
    """A way that has rates has those, one that has none is unpriced."""
    rates = read(tmp_path, WHOLE).rates(provider, model, NOW, served)
    assert (rates and rates.input.base) == rate


@pytest.mark.parametrize(
    ("when", "rate"),
    [
        (date(1970, 1, 1), 300_000),
        (date(2026, 5, 31), 300_000),
        (date(2026, 6, 1), 200_000),
        (date(2026, 10, 31), 200_000),
        (date(2026, 11, 1), 150_000),
    ],
)
def test_each_day_has_its_price(tmp_path: Path, when: date, rate: int) -> None:
    """Prices hold from their day on; what has no day, from the beginning."""
    rates = read(tmp_path, WHOLE).rates("openai", "gpt-4o-mini", day(when) * DAY)
    assert rates is not None
    assert rates.input.base == rate


def test_the_stamp_has_the_file_its_date_and_its_content(tmp_path: Path) -> None:
    """The same prices have the same digest, whatever stands between them."""
    stamp = read(tmp_path, WHOLE).stamps[0]
    assert (stamp.name, stamp.date) == ("prices.toml", "2026-11-01")
    assert read(tmp_path, "# mine\n" + WHOLE).stamps[0] == stamp
    assert read(tmp_path, WHOLE.replace("0.075", "0.076")).stamps[0].digest != stamp.digest


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("llama3", 1),
        ("llama3.1:8b", 2),
        ("llama3:latest", 3),
        ("qwen", 4),
        ("QWEN", 4),
        ("a-coder-b", 5),
    ],
)
def test_the_more_exact_name_wins(tmp_path: Path, model: str, rate: int) -> None:
    """A name before patterns, a longer pattern before a shorter one, wherever they stand."""
    names = [("*", 4), ("llama3", 1), ("llama3*", 2), ("llama3:*", 3), ("*coder*b", 5)]
    text = "".join(f'["ollama:{name}"]\ninput = {rate}\n' for name, rate in names)
    rates = read(tmp_path, text).rates("ollama", model, NOW)
    assert rates is not None
    assert rates.input.base == rate * 10**6


def test_a_price_is_never_a_binary_fraction(tmp_path: Path) -> None:
    """0.1 and 0.2 of a dollar per million tokens are 300,000 pico-dollars for two tokens, exactly."""
    rates = read(tmp_path, '["openai:m"]\ninput = 0.1\noutput = 0.2').rates("openai", "m", NOW)
    assert rates is not None
    assert rates.price(Usage(1, 0, 1, 0)) == 300_000


BASE = '["openai:m"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + "input = '0.15'", "openai:m.input = '0.15' (from /prices.toml): must be a number"),
        (BASE + "input = true", "openai:m.input = True (from /prices.toml): must be a number"),
        (BASE + "input = -1", "openai:m.input = -1 (from /prices.toml): must be zero or more"),
        (BASE + "input = nan", "openai:m.input"),
        (BASE + "input = inf", "openai:m.input"),
        (BASE + "input = 1e12", "no more than 1,000,000,000"),
        (BASE + "input = 0.0000001", "openai:m.input = 1E-7 (from /prices.toml): is finer than 0.000001"),
        (BASE + "inptu = 1", "there is no such price. Did you mean 'input'?"),
        (BASE + "input_cost_per_token = 1", "there is no such price."),
        (BASE, "has neither `input` nor `output`"),
        (BASE + "cached = 1", "has neither `input` nor `output`"),
        (BASE + "input = []", "openai:m.input (from /prices.toml): has no price"),
        (BASE + "input = [1, 2]", "a step is {above = 200000, price = 0.30}"),
        (BASE + "input = [1, {above = 5, cost = 2}]", "a step is"),
        (BASE + "input = [1, {above = 0.5, price = 2}]", "openai:m.input.above"),
        (BASE + "input = [1, {above = 9, price = 2}, {above = 9, price = 3}]", "above the one before"),
        (BASE + "input = 1\nbatch = 50", "openai:m.batch = 50 (from /prices.toml): must be a share"),
        (BASE + "input = 1\nbatch = 0", "openai:m.batch = 0"),
        (BASE + "input = 1\nflex = 0.5", "openai:m.flex = 0.5 (from /prices.toml): must be a table of rates"),
        (BASE + "input = 1\nflex = {inpt = 1}", "openai:m.flex.inpt"),
        (BASE + "input = 1\nsince = '2026-01-01'", "must be a day without quotes"),
        (BASE + "input = 1\nsince = 2026-01-01T00:00:00Z", "must be a day without quotes"),
        (BASE + "input = 1\ncontext = -1", "openai:m.context = -1"),
        (BASE + "input = 1\nhistory = 3", "openai:m.history = 3"),
        (BASE + "input = 1\n[['openai:m'.history]]\ninput = 2", "say with `since` from which day"),
        (
            BASE + "input = 1\nsince = 2026-01-01\n[['openai:m'.history]]\ninput = 2\nsince = 2026-01-01",
            "two of its prices hold from the same day",
        ),
        ('["opneai:m"]\ninput = 1', "Did you mean 'openai'?"),
        ('["gpt-4o"]\ninput = 1', "must be named PROVIDER:MODEL"),
        ('["openai:"]\ninput = 1', "must be named PROVIDER:MODEL"),
        ("dat = 2026-01-01", "Did you mean 'date'?"),
        ("date = '2026-01-01'", "date = '2026-01-01' (from /prices.toml): must be a day without quotes"),
        ("input = ", "cannot be read"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """Every mistake names the file, the table, the key and the value, and what is meant."""
    assert said in refusal(tmp_path, text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """`--prices` with a wrong path is no empty table."""
    with pytest.raises(ConfigError, match="there is no such file"):
        read_prices(tmp_path / "none.toml")


def test_a_share_of_an_odd_price_is_a_fraction(tmp_path: Path) -> None:
    """A third off is exact to the pico-dollar for a token."""
    book = read(tmp_path, '["openai:m"]\ninput = 1\noutput = 2\nbatch = 0.67')
    rates = book.rates("openai", "m", NOW, BATCH)
    assert rates is not None
    assert rates.input.base == int(Decimal("0.67") * 10**6)
