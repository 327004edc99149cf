"""The parts of an estimate: which rows a pilot asks, how long a run takes, which models cost less."""

import random

import pytest
from inputs import Given

from fastbatch.estimating import tally
from fastbatch.estimating.cheaper import cheaper
from fastbatch.estimating.durations import duration
from fastbatch.estimating.sampling import choose
from fastbatch.estimating.tally import Drawn, Size
from fastbatch.estimating.values import Duration, Tokens
from fastbatch.limits.options import Window
from fastbatch.pricing.book import PriceBook, Stamp
from fastbatch.pricing.listing import Entry, Listing
from fastbatch.pricing.rates import Rate

# Which rows


def rows(count):
    return [Drawn((7 * number) % 101, number, "m", 0, 0) for number in range(count)]


@pytest.mark.parametrize(("of", "count"), [(100, 10), (100, 7), (10, 9), (5, 5), (5, 9), (1, 1), (0, 3)])
def test_a_pilots_rows_stand_for_all_others(of, count):
    """None twice, no more than there are, in the order of the input; each row is one or stands behind one."""
    chosen = choose(rows(of), of, count, random.Random(1))
    lines = [each.row.line for each in chosen]
    assert lines == sorted(set(lines))
    assert len(lines) == min(of, count)
    assert sum(each.stands_for for each in chosen) + len(lines) == pytest.approx(of)


def test_long_and_short_prompts_are_met_as_often_as_they_occur():
    """One row of each fifth of the rows by length, whatever the seed."""
    for seed in range(20):
        chosen = choose(rows(100), 100, 5, random.Random(seed))
        lengths = sorted(each.row.tokens for each in chosen)
        order = sorted(row.tokens for row in rows(100))
        assert all(
            order[20 * fifth] <= length <= order[20 * fifth + 19] for fifth, length in enumerate(lengths)
        )


def test_every_row_may_be_asked():
    """Over many seeds each of them is."""
    met = {each.row.line for seed in range(300) for each in choose(rows(30), 30, 3, random.Random(seed))}
    assert met == set(range(30))


def test_rows_of_a_larger_input_stand_for_more():
    """100 rows drawn from 1,000: ten of them stand for 990 others."""
    chosen = choose(rows(100), 1000, 10, random.Random(1))
    assert sum(each.stands_for for each in chosen) == pytest.approx(990)


def test_a_large_input_is_drawn_from_at_random(monkeypatch):
    """What is kept to choose from is bounded; what it says is said of all rows."""
    monkeypatch.setattr(tally, "_KEPT", 50)
    given = Given([(10 + number % 90, 20) for number in range(1000)])
    assert (given.tally.rows, len(given.tally.kept)) == (1000, 50)
    assert len({row.line for row in given.tally.kept}) == 50
    assert max(row.line for row in given.tally.kept) > 500
    found = given.pilot(20)
    assert found.tokens_out == (20_000, 20_000, 20_000)
    assert float(found.cost.expected) == pytest.approx(given.cost)


# How long

KINDS = ("tokens", "input_tokens", "output_tokens")
SOME = dict(
    zip(KINDS, (Tokens(2000, 2000, 2000), Tokens(1000, 1000, 1000), Tokens(1000, 1000, 1000)), strict=True)
)


@pytest.mark.parametrize(
    ("windows", "latency", "expected"),
    [
        ([Window(requests=10)], 0.0, Duration(540.0, 540.0, 540.0, "10 requests a minute")),
        ([Window(requests=100)], 0.0, Duration(0.0, 0.0, 0.0, "100 requests a minute")),
        ([Window(requests=99)], 0.0, Duration(60.0, 60.0, 60.0, "99 requests a minute")),
        ([Window(tokens=500)], 0.0, Duration(180.0, 180.0, 180.0, "500 tokens a minute")),
        ([Window(input_tokens=500, per=1.0)], 0.0, Duration(1.0, 1.0, 1.0, "500 input tokens a second")),
        ([Window(requests=25, per=5.0)], 0.0, Duration(15.0, 15.0, 15.0, "25 requests in 5 s")),
        (
            [Window(requests=10), Window(tokens=100)],
            0.0,
            Duration(1140.0, 1140.0, 1140.0, "100 tokens a minute"),
        ),
        ([], 2.0, Duration(50.0, 50.0, 50.0, "4 at a time")),
        ([Window(requests=50)], 2.0, Duration(60.0, 60.0, 60.0, "50 requests a minute")),
        ([], 0.0, None),
    ],
)
def test_the_slowest_limit_decides(windows, latency, expected):
    """A hundred requests, a thousand tokens each way; the first window's worth leaves at once."""
    assert duration(100, SOME, windows, concurrency=4, latency=latency) == expected


def test_what_is_not_known_of_tokens_is_not_known_of_time():
    """Answers without a bound leave the time without one; what nobody measured is not expected."""
    taken = {"tokens": Tokens(1000, None, None)}
    found = duration(100, taken, [Window(tokens=500)], concurrency=4, latency=0.0)
    assert found == Duration(60.0, None, None, "500 tokens a minute")
    taken = {"tokens": Tokens(1000, None, 2000)}
    found = duration(100, taken, [Window(tokens=500)], concurrency=4, latency=0.0)
    assert found == Duration(60.0, None, 180.0, "500 tokens a minute")


# Which cost less


def listed(name, dollars_in, dollars_out, **more):
    rates = {"input": Rate(int(dollars_in * 10**6)), "output": Rate(int(dollars_out * 10**6))}
    return Listing(name, (Entry(rates),), **more)


class Prices:
    """Models of one provider."""

    stamp = Stamp("test", "", "0" * 12)

    def __init__(self, *listings):
        self.listings = listings

    def find(self, provider, model):
        return next((each for each in self.listings if each.name == model), None)

    def models(self, provider=""):
        return iter(self.listings)


def recommended(*others, own=(2, 8), sizes=None, answer=None, embeds=False):
    book = PriceBook([Prices(listed("own", *own), *others)])
    found = cheaper(
        "own",
        "acme",
        book,
        0.0,
        sizes or {7: Size(10, 1000, 500, 0)},
        answer=answer,
        embeds=embeds,
        longest=150,
    )
    return [(each.name, *(round(share, 3) for share in each.saving)) for each in found]


def test_the_saving_is_that_of_this_input():
    """1,000 tokens in and 0 to 500 out: $0.002 to $0.006 become $0.0002 to $0.0042."""
    assert recommended(listed("small", 0.2, 8)) == [("acme:small", 0.3, 0.9)]
    assert recommended(listed("small", 0.2, 8), answer=50) == [("acme:small", 0.3, 0.3)]


def test_answers_without_an_end_save_what_their_tokens_save():
    """With any length of answers between none and endless, the saving is between the two."""
    sizes = {7: Size(10, 1000, 0, 10)}
    assert recommended(listed("small", 0.2, 4), sizes=sizes) == [("acme:small", 0.5, 0.9)]


@pytest.mark.parametrize(
    "other",
    [
        listed("dearer", 3, 9),
        listed("dearer-answers", 0.1, 12),
        listed("as-dear", 2, 8),
        listed("free", 0, 0),
        listed("old", 1, 1, deprecated=True),
        listed("short", 1, 1, context=100),
        listed("text-embedding-x", 1, 1),
        listed("own-audio", 1, 1),
        listed("own-image-1", 1, 1),
        listed("own-realtime", 1, 1),
        listed("own-transcribe", 1, 1),
        listed("own-preview", 1, 1),
        listed("own-2024-07-18", 1, 1),
    ],
    ids=lambda each: each.name,
)
def test_what_is_not_recommended(other):
    """What is not cheaper at both ends, does something else, is deprecated, or too short."""
    assert recommended(other) == []


def test_embeddings_are_compared_with_embeddings():
    """And the cheapest come first, three of them at most."""
    others = [listed(f"embed-{price}", price, 0) for price in (1, 0.5, 0.1, 0.2)]
    names = [name for name, *_ in recommended(listed("chat", 0.1, 0.1), *others, own=(2, 0), embeds=True)]
    assert names == ["acme:embed-0.1", "acme:embed-0.2", "acme:embed-0.5"]


def test_a_model_without_a_price_is_compared_with_nothing():
    """Nobody knows what would be saved."""
    book = PriceBook([Prices(listed("small", 0.2, 8))])
    sizes = {7: Size(10, 1000, 500, 0)}
    assert cheaper("own", "acme", book, 0.0, sizes, answer=None, embeds=False, longest=150) == ()
