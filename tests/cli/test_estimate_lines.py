"""The lines of an estimate, as people read them at 80 columns."""

from dataclasses import replace
from decimal import Decimal

import pytest

from fastbatch.cli.estimatelines import estimate_lines, money
from fastbatch.engine.done import Plan
from fastbatch.estimating.values import (
    BadRow,
    Cheaper,
    Dollars,
    Duration,
    Estimate,
    ModelEstimate,
    Pilot,
    Tokens,
)
from fastbatch.pricing.book import Stamp

STAMP = Stamp("genai-prices 1.2.3", "2026-11-09", "008c64687bc0")


def plan(rows=307, **more):
    counts = dict.fromkeys(("answered", "changed", "bad", "cached", "identical", "prompt_tokens", "gone"), 0)
    return Plan(rows=rows, **{**counts, "to_send": 300, **more})


def dollars(low, expected, high):
    return Dollars(*(None if each is None else Decimal(each) for each in (low, expected, high)))


BOUNDED = ModelEstimate(
    name="openai:gpt-4o-mini",
    plan=plan(identical=7),
    exact=300,
    tokens_in=Tokens(10_567, 10_567, 10_567),
    tokens_out=Tokens(0, None, 8_264),
    cost=dollars("0.00158505", None, "0.00654345"),
    batch=dollars("0.000792525", None, "0.003271725"),
    duration=Duration(60.0, 60.0, 60.0, "200 requests a minute"),
    cheaper=(Cheaper("openai:gpt-5-nano", dollars("0.00053", None, "0.0038"), (0.414, 0.667)),),
)
MEASURED = ModelEstimate(
    name="anthropic:claude-haiku-4-5",
    plan=plan(identical=7),
    exact=0,
    tokens_in=Tokens(10_500, 10_800, 11_100),
    tokens_out=Tokens(6_600, 7_200, 8_000),
    cost=dollars("0.041", "0.047", "0.052"),
    batch=dollars("0.0205", "0.0235", "0.026"),
    duration=None,
    measured=True,
    pilot=Pilot(60, 2, 1, Decimal("0.0094"), 11, 1.018, 0.5, 7, "Too long."),
)
UNKNOWN = ModelEstimate(
    name="openai:nobody-knows",
    plan=plan(identical=0, bad=7),
    exact=294,
    tokens_in=Tokens(12_000_000, 12_000_000, 12_000_000),
    tokens_out=Tokens(0, None, None),
    cost=None,
    batch=None,
    duration=None,
    unpriced=300,
    unpriced_models=("nobody-knows",),
    unbounded=1,
    too_long=2,
    bad=(BadRow(3, "prompt must be a string, not a number"),),
)


def lines(*models, width=80, vocabularies=True):
    return [*estimate_lines(Estimate(models, (STAMP,), vocabularies), "prompts.jsonl", width)]


def test_one_model_that_is_bounded():
    """Everything about it fits on half a screen."""
    assert lines(BOUNDED) == [
        "prompts.jsonl: 307 rows, 300 requests to send; 7 identical to another row",
        "",
        "  requests     in     out         dollars       in a batch        time",
        "openai:gpt-4o-mini",
        "       300  10.6k  0–8.3k  $0.0016–0.0065  $0.00079–0.0033  1 min 00 s",
        "",
        "What takes the time: 200 requests a minute.",
        "Tokens in are exact: counted with the model's vocabulary.",
        "Low is the prompts alone, high is every answer as long as its max_tokens allows;",
        "  --pilot 50 measures.",
        "Requests that are sent again (retries, answers that do not fit) come on top.",
        "Cheaper for as many tokens; whether their answers do is yours to judge:",
        "    openai:gpt-5-nano  $0.00053–0.0038, saves 41–67 %",
        "Prices: genai-prices 1.2.3 of 2026-11-09 (008c64687bc0).",
    ]


def test_the_name_stands_in_its_row_where_there_is_room():
    """At 100 columns it does."""
    table = lines(BOUNDED, width=100)[2:4]
    assert table == [
        "model               requests     in     out         dollars       in a batch        time",
        "openai:gpt-4o-mini       300  10.6k  0–8.3k  $0.0016–0.0065  $0.00079–0.0033  1 min 00 s",
    ]


def test_one_model_that_was_measured():
    """What the pilot has shown, what failed, how sure it is, and what it cannot know."""
    assert lines(MEASURED) == [
        "prompts.jsonl: 307 rows, 300 requests to send; 7 identical to another row",
        "",
        "  requests      in        out       dollars  expected  in a batch",
        "anthropic:claude-haiku-4-5",
        "       300  ~10.8k  6.6k–8.0k  $0.041–0.052    $0.047      $0.024",
        "",
        "The pilot asked 60 rows (seed 7), $0.0094 paid, 11 answers ended at max_tokens,",
        "  tokens in as billed are 101.8 % of those counted.",
        "2 of them failed, 1 of them maybe billed: Too long. The low end takes such rows",
        "  to cost nothing, the high end as much as others.",
        "~ stands before tokens in that are, or are in part, estimated rather than",
        "  counted.",
        "A pilot's answers are in the cache: a run does not pay for them again.",
        "The ends hold the truth nine times out of ten. Rows of a kind that is rarer than",
        "  one in 26 may have been missed, and are not in them.",
        "Requests that are sent again (retries, answers that do not fit) come on top.",
        "Prices: genai-prices 1.2.3 of 2026-11-09 (008c64687bc0).",
    ]


def test_what_a_pilot_was_billed_is_not_called_counted():
    """With a vocabulary, too: what was billed has replaced what was counted."""
    told = lines(replace(MEASURED, exact=MEASURED.plan.to_send))
    assert "Tokens in are exact: counted with the model's vocabulary." not in told


def test_a_pilot_that_asked_nothing_misses_nothing():
    """Its model is answered from the cache; how rare a kind may be is what the others asked."""
    assert MEASURED.pilot is not None
    nothing = replace(MEASURED, measured=False, pilot=replace(MEASURED.pilot, rows=0))
    assert "  one in 26 may have been missed, and are not in them." in lines(MEASURED, nothing)


def test_models_whose_plans_differ():
    """Each that a run would not do the same with says so; a model without a price is none for nothing."""
    told = lines(BOUNDED, UNKNOWN, vocabularies=False)
    assert told[:4] == [
        "prompts.jsonl: 307 rows, 300 requests to send; 7 identical to another row",
        "openai:nobody-knows: 307 rows, 300 requests to send; 7 bad, without a request",
        "  (run wants --on-bad-row record or skip then)",
        "  line 3: prompt must be a string, not a number",
    ]
    assert "       300  ~12.0M     0–?        unpriced                             " in told
    said = "\n".join(told)
    assert "openai:nobody-knows: None of the requests has a price: nobody-knows." in said
    assert "openai:nobody-knows: 1 request sets no max_tokens: there is no upper end." in said
    assert "openai:nobody-knows: 2 prompts longer than the model's context" in said
    assert "pip install 'fastbatch[tokens]'" in said
    assert "Tokens in without it are exact." in told


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_too_long(width):
    """The table apart, which needs its columns; names are not cut."""
    told = lines(BOUNDED, MEASURED, UNKNOWN, width=width)
    assert max(len(line) for line in told if "–" not in line and "requests  " not in line) <= max(width, 26)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0"),
        ("0.000000072", "$0.000000072"),
        ("0.00158505", "$0.0016"),
        ("0.0999", "$0.10"),
        ("0.996", "$1.00"),
        ("1", "$1.00"),
        ("12.5", "$12.50"),
        ("999.999", "$1,000"),
        ("1204.4", "$1,204"),
    ],
)
def test_dollars_for_people(amount, shown):
    """Two digits that say something, cents above a dollar, whole dollars above a thousand."""
    assert money(Decimal(amount)) == shown
