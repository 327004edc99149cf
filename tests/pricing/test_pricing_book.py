"""Which list's rates hold for a model at a moment."""

from collections.abc import Iterator

import pytest

from fastbatch.models.response import Usage, UsageDetails
from fastbatch.pricing.book import BATCH, PriceBook, Stamp
from fastbatch.pricing.listing import DAY, BatchShare, Entry, Hours, Listing
from fastbatch.pricing.rates import FREE, Rate, Rates
from fastbatch.pricing.served import asked_for


def at(rate: int, **more: object) -> Entry:
    """An entry whose input and output cost the same."""
    return Entry({"input": Rate(rate), "output": Rate(rate)}, **more)  # type: ignore[arg-type]


class Fixed:
    """A list of one model."""

    def __init__(self, listing: Listing) -> None:
        self.stamp = Stamp("fixed", "", "0" * 12)
        self._listing = listing

    def find(self, provider: str, model: str) -> Listing | None:
        return self._listing if (provider, model) == ("openai", self._listing.name) else None

    def models(self, provider: str = "") -> Iterator[Listing]:
        return iter((self._listing,))


def base(book: PriceBook, moment: float, served: dict[str, str] | None = None) -> int | None:
    """The rate of input at a moment."""
    rates = book.rates("openai", "m", moment, served or {})
    return None if rates is None else rates.input.base


def test_moments_may_come_in_any_order() -> None:
    """What is remembered of a moment holds for later ones, never for those before it."""
    book = PriceBook([Fixed(Listing("m", (at(3), at(2, since=10), at(1, since=20))))])
    days = [25, 15, 5, 20, 19, 10, 9, 25, 5]
    assert [base(book, day * DAY) for day in days] == [1, 2, 3, 1, 2, 2, 3, 1, 3]
    assert base(book, 20 * DAY - 0.5) == 2


def test_hours_may_go_over_midnight() -> None:
    """A night's price begins and ends to the second, on every day."""
    book = PriceBook([Fixed(Listing("m", (at(4), at(2, hours=Hours(59_400, 1800)))))])
    seconds = [0, 1799, 1800, 59_399, 59_400, DAY - 1, DAY, DAY + 1800]
    assert [base(book, 5 * DAY + second) for second in seconds] == [2, 2, 4, 4, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("begin", "end", "found"),
    [
        (5, 9, [3]),
        (5, 10, [3, 2]),
        (5, 20.5, [3, 2, 5]),
        (20, 22.3, [5, 1]),
        (30.2, 30.6, [5, 1]),
        (30.6, 31.3, [1, 5]),
    ],
)
def test_rates_within_a_stretch_of_time(begin: float, end: float, found: list[int]) -> None:
    """Each once, in their order: of days, and of hours of a day."""
    listing = Listing("m", (at(3), at(2, since=10), at(5, since=20), at(1, since=21, hours=Hours(43_200, 0))))
    within = PriceBook([Fixed(listing)]).rates_within("openai", "m", begin * DAY, end * DAY)
    assert [rates.input.base for rates in within] == found
    assert PriceBook().rates_within("openai", "m", begin * DAY, end * DAY) == []


def test_the_stronger_list_wins_as_a_whole() -> None:
    """A model of the user's own table takes nothing from the list behind it."""
    weaker = Listing("m", (at(9),), (at(4, when={"processing": "batch"}),))
    book = PriceBook([Fixed(Listing("m", (at(1),))), Fixed(weaker)])
    assert base(book, 0) == 1
    assert base(book, 0, dict(BATCH)) is None


@pytest.mark.parametrize(
    ("served", "rate"),
    [
        ({}, 8),
        ({"processing": "batch"}, 4),
        ({"service_tier": "flex"}, 6),
        ({"service_tier": "flex", "processing": "batch"}, 3),
        ({"service_tier": "priority"}, None),
        ({"service_tier": "priority", "processing": "batch"}, None),
        ({"processing": "express"}, None),
    ],
)
def test_what_is_not_listed_is_not_guessed(served: dict[str, str], rate: int | None) -> None:
    """A way of being served has rates, or a share that its provider documents, or no price."""
    listing = Listing("m", (at(8),), (at(6, when={"service_tier": "flex"}),), BatchShare(1, 2))
    assert base(PriceBook([Fixed(listing)]), 0, served) == rate


def test_what_runs_here_is_free_and_what_is_unknown_is_not() -> None:
    """`local` costs nothing; a model that no list has is unpriced."""
    book = PriceBook()
    assert book.rates("local", "smollm2", 0) is FREE
    assert book.rates("openai", "m", 0) is None
    assert book.rates("openai", None, 0) is None


def test_a_listing_without_rates_for_tokens_has_no_price() -> None:
    """An empty entry, and one with a price for searches alone, are unpriced and not free."""
    for rates in ({}, {"search": Rate(5)}):
        assert base(PriceBook([Fixed(Listing("m", (Entry(rates),)))]), 0) is None


def test_searches_are_no_part_of_anything_else() -> None:
    """A reply that took searches is covered by rates that price them, or where nothing costs anything."""
    searched = Usage(9, 0, 5, 0).detailed(UsageDetails(searches=1))
    quiet = Usage(9, 0, 5, 0).detailed(UsageDetails(written=5, audio=5))
    silent, priced = Rates(Rate(1), Rate(1)), Rates(Rate(1), Rate(1), search=Rate(7))
    assert [rates.covers(searched) for rates in (silent, priced, FREE)] == [False, True, True]
    assert all(
        rates.covers(usage) for rates in (silent, priced, FREE) for usage in (quiet, Usage(9, 0, 5, 0))
    )


def test_the_worst_case_knows_that_a_workspace_may_have_a_place() -> None:
    """A request to Anthropic that names no place may be served in one that is dearer."""
    assert asked_for("anthropic", {}) == ({}, {"place": "us"})
    assert asked_for("anthropic", {"inference_geo": "eu"}) == ({}, {"place": "eu"})
    assert asked_for("openai", {}) == ({},)
    assert asked_for("anthropic", {"speed": "fast"})[-1] == {"speed": "fast", "place": "us"}


def test_a_place_makes_tokens_dearer_but_not_searches() -> None:
    """By the fraction that is listed, on top of every other way of being served; else there is no price."""
    entry = Entry({"input": Rate(10, ((5, 20),)), "output": Rate(30), "search": Rate(7)})
    listing = Listing("m", (entry,), batch_share=BatchShare(1, 2), uplifts={"us": (11, 10)})
    book = PriceBook([Fixed(listing)])
    rates = book.rates("openai", "m", 0, {"place": "us"})
    assert rates is not None
    assert (rates.input, rates.output, rates.search) == (Rate(11, ((5, 22),)), Rate(33), Rate(7))
    assert base(book, 0, {"place": "us", "processing": "batch"}) == 5  # 5.5 is no whole pico-dollar
    assert base(book, 0, {"place": "mars"}) is None
