"""What a configuration accepts, and what it says about what it does not."""

from decimal import Decimal

import pytest

from fastbatch.errors import ConfigError
from fastbatch.simulator import SimulatedLimit, SimulatorConfig


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1500/5s", SimulatedLimit(requests=1500, per=5.0)),
        ("10/100ms", SimulatedLimit(requests=10, per=0.1)),
        ("60/m", SimulatedLimit(requests=60, per=60.0)),
        ("60 req/1m", SimulatedLimit(requests=60, per=60.0)),
        ("90000tok/60s", SimulatedLimit(tokens=90000, per=60.0)),
        ("1000 tokens / 1.5h", SimulatedLimit(tokens=1000, per=5400.0)),
    ],
)
def test_limits_are_read_from_text(text, limit):
    """Amount, sort and window of a limit fit into a word."""
    assert SimulatedLimit.parse(text) == limit
    assert SimulatedLimit.parse(text, kind="bucket").kind == "bucket"


@pytest.mark.parametrize("text", ["", "5", "5/", "/5s", "5/5x", "-5/5s", "5tok", "0/5s", "5/0s"])
def test_other_texts_are_refused(text):
    """What is no limit is refused by name."""
    with pytest.raises(ConfigError, match=r"--limit|SimulatedLimit"):
        SimulatedLimit.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"requests": 1, "tokens": 1},
        {"requests": 1, "per": float("inf")},
        {"requests": 1, "kind": "leaky"},
    ],
)
def test_a_limit_limits_one_thing(wrong):
    """Requests or tokens, a finite window, a known kind."""
    with pytest.raises(ConfigError):
        SimulatedLimit(**wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"latency": -1}, "latency"),
        ({"latency": float("nan")}, "latency"),
        ({"rpm": 0}, "rpm"),
        ({"tokens_per_second": 0}, "tokens_per_second"),
        ({"limit_kind": "leaky"}, "limit_kind"),
        ({"failure_rates": {"time-out": 0.1}}, "Did you mean 'timeout'"),
        ({"failure_rates": {"500": 1.1}}, "failure_rates"),
        ({"failure_rates": {"500": 0.6, "503": 0.6}}, "more than 1"),
        ({"cached_share": 2}, "cached_share"),
        ({"answer_words": (5, 2)}, "answer_words"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"prompt_price": Decimal(-1)}, "prompt_price"),
    ],
)
def test_impossible_values_are_refused_by_name(wrong, named):
    """The error names the field."""
    with pytest.raises(ConfigError, match=named):
        SimulatorConfig(**wrong)


def test_ten_tenths_are_one():
    """Rates that add up to one are accepted in spite of floating point."""
    kinds = ("500", "503", "429", "timeout", "reset", "truncated", "malformed", "empty")
    assert SimulatorConfig(failure_rates=dict.fromkeys(kinds, 1 / 8)).failure_rates["500"] == 0.125
    SimulatorConfig(failure_rates={"500": 0.7, "503": 0.1, "empty": 0.1, "reset": 0.1})


def test_rpm_and_tpm_come_first():
    """The two usual limits are limits like all others."""
    further = SimulatedLimit(requests=25, per=1.0)
    config = SimulatorConfig(rpm=600, tpm=9000, limit_kind="bucket", limits=(further,))
    assert config.all_limits == (
        SimulatedLimit(requests=600, per=60.0, kind="bucket"),
        SimulatedLimit(tokens=9000, per=60.0, kind="bucket"),
        further,
    )
