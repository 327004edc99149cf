"""Sums over rows that nobody asked: what a sample says of them, by arithmetic that can be checked."""

import pytest

from fastbatch.pricing.intervals import LEAST, Interval, Measured, t_quantile, total


def sample(*found, known=None, stands_for=9.0):
    known = known or [10.0] * len(found)
    return [Measured(each, value, stands_for) for each, value in zip(known, found, strict=True)]


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 6.314),
        (2, 2.920),
        (4, 2.132),
        (5, 2.015),
        (8, 1.860),
        (9, 1.833),
        (19, 1.729),
        (99, 1.660),
        (10**6, 1.645),
    ],
)
def test_quantiles_of_students_t(freedom, quantile):
    """As printed tables have them (5 % above)."""
    assert t_quantile(freedom) == pytest.approx(quantile, abs=6e-4)


def test_rows_that_are_all_alike():
    """Nothing varies, so nothing is uncertain: 5 rows of 7 stand for 45 more."""
    assert total(sample(7, 7, 7, 7, 7), 450.0) == Interval(315.0, 315.0, 315.0)


def test_everything_was_asked():
    """No row is left, whatever they were like, and however few."""
    assert total(sample(1, 100, stands_for=0.0), 0.0) == Interval(0.0, 0.0, 0.0)
    assert total([], 0.0) == Interval(0.0, 0.0, 0.0)


def test_too_few_rows_say_nothing():
    """Below five there is no interval, rather than one of any width."""
    assert total(sample(*range(LEAST - 1)), 100.0) is None
    assert total(sample(*range(LEAST)), 100.0) is not None


def test_by_hand():
    """Ten rows 1…10 for 90 others: mean 5.5, s² = 82.5/9, a new sum's error is 90·s·√(1/10 + 1/90).

    That is 90 × 3.02765 × 0.33333 = 90.83, times t₉ = 1.83311 is 166.50; no skewness; above, two rows more
    like the dearest: 90/10 × 2 × 4.5 = 81.
    """
    low, expected, high = total(sample(*range(1, 11)), 900.0)
    assert expected == pytest.approx(495.0)
    assert low == pytest.approx(495.0 - 166.50, abs=0.05)
    assert high == pytest.approx(495.0 + 166.50 + 81.0, abs=0.05)


def test_rows_that_follow_what_is_known():
    """Where tokens out are three times those in, the other rows' tokens in say nearly all."""
    known = [float(each) for each in range(10, 30)]
    low, expected, high = total(sample(*(3 * each for each in known), known=known), 10_000.0)
    assert (low, high) == pytest.approx((expected, expected))
    assert expected == pytest.approx(30_000.0)


def test_what_is_known_is_ignored_where_it_explains_little():
    """A line through noise would be worse than the mean."""
    found = [5, 9, 2, 8, 1, 7, 3, 6, 4, 5]
    known = [float(each) for each in range(10)]
    assert total(sample(*found, known=known), 10**9).expected == pytest.approx(90 * 5.0)


def test_a_long_tail_moves_the_upper_end():
    """One dear row in ten: the upper end is further away than the lower one, by far."""
    low, expected, high = total(sample(*[10] * 9, 100), 900.0)
    assert high - expected > 2 * (expected - low)


def test_rows_that_stand_for_more_count_for_more():
    """The mean is of the rows that they stand for; where few do for most, the interval is wider."""
    even = total(sample(*range(1, 11)), 900.0)
    odd = total(
        [Measured(10.0, float(each), 18.0 if each > 5 else 0.0) for each in range(1, 11)],
        900.0,
    )
    assert odd.expected == pytest.approx(90 * 8.0)
    assert odd.high - odd.low > even.high - even.low


def test_cut_to_what_is_possible():
    """All three numbers keep within the bounds."""
    assert Interval(-5.0, 20.0, 90.0).within(0.0, 50.0) == Interval(0.0, 20.0, 50.0)
    assert Interval(1.0, 2.0, 3.0).plus(10.0) == Interval(11.0, 12.0, 13.0)
