"""How much the rows that nobody asked will come to, judged by a sample of them: 90 % intervals.

What is summed (tokens, money) is never negative, often skewed, and sometimes follows what is known of every
row. So three things stand together:

- the mean of the sample, or where that explains more than half of the spread, a line through it over what is
  known of each row (the regression estimator of Cochran, Sampling Techniques, 1977, chapter 7);
- Student's t for a new sum rather than for a mean (the rows themselves vary, too), and beside it Hall's
  transformation, which moves the ends by the sample's skewness (P. Hall, On the removal of skewness by
  transformation, J. R. Statist. Soc. B 54, 1992, 221-228); the wider end of the two is taken;
- two rows more like the dearest, since a small sample of a long tail has seldom seen the tail.

None of it can know a kind of row that the sample has not met: one in a hundred is missed by ten rows nine
times out of ten. `docs/costs.md` says so to people, tests/estimating measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cbrt, inf, sqrt
from typing import NamedTuple

LEAST = 5
"""Rows below which a sample is said to tell nothing."""

_QUANTILE = 1.6448536269514722  # of the normal distribution, 5 % above
_FEW = (inf, 6.3137515147, 2.9199855804, 2.3533634348, 2.1318467863)  # of Student's, by its degrees
_EXPLAINED = 0.5  # of the spread: less is not worth the risk of a line that is none
_MORE = 2  # rows like the dearest: with none of them 75 of 100 pilots of ten rows were right, with them 85
_TINY = 1e-9  # as a share: what is left by rounding


class Measured(NamedTuple):
    """One row of a sample.

    Attributes:
        known: what is known of every row, asked or not, such as its tokens in.
        found: what was measured.
        stands_for: how many rows that were not asked it was drawn for.
    """

    known: float
    found: float
    stands_for: float


class Interval(NamedTuple):
    """A sum: what is expected, and its ends, each of which is passed one time in twenty."""

    low: float
    expected: float
    high: float

    def plus(self, amount: float) -> Interval:
        """The same with something added that is certain."""
        return Interval(self.low + amount, self.expected + amount, self.high + amount)

    def within(self, least: float, most: float) -> Interval:
        """The same cut to what is possible."""
        low, expected, high = (min(max(each, least), most) for each in self)
        return Interval(low, expected, high)


def total(sample: Sequence[Measured], known: float) -> Interval | None:
    """The sum over all rows that were not asked; `known` is what is known of them, summed.

    None where the sample is smaller than `LEAST` and there is something that it would have to tell.

    >>> total([Measured(10, 7, 9)] * 10, 900.0)
    Interval(low=630.0, expected=630.0, high=630.0)
    """
    rows = sum(each.stands_for for each in sample)
    if not rows:
        return Interval(0.0, 0.0, 0.0)
    if len(sample) < LEAST:
        return None
    slope = _slope(sample)
    rest = [each.found - slope * each.known for each in sample]
    mean = sum(value * each.stands_for for value, each in zip(rest, sample, strict=True)) / rows
    expected = slope * known + rows * mean
    centre = sum(rest) / len(rest)
    freedom = len(rest) - (2 if slope else 1)
    variance = sum((value - centre) ** 2 for value in rest) / freedom
    if variance <= _TINY * centre * centre:
        return Interval(expected, expected, expected)
    # Rows that stand for more of the others count for more, as if there were fewer of them.
    share = sum(each.stands_for**2 for each in sample) / rows**2
    error = rows * sqrt(variance * (share + 1 / rows))
    skew = sum((value - centre) ** 3 for value in rest) / len(rest) / variance**1.5 * sqrt(share)
    far = t_quantile(freedom)
    low = expected - error * max(far, _hall(far, skew))
    high = expected - error * min(-far, _hall(-far, skew))
    return Interval(low, expected, high + _MORE * rows * share * (max(rest) - mean))


def t_quantile(freedom: int) -> float:
    """What Student's t passes one time in twenty, by its expansion (Abramowitz and Stegun, 26.7.5).

    >>> round(t_quantile(9), 3), round(t_quantile(199), 3)
    (1.833, 1.653)
    """
    if freedom < len(_FEW):
        return _FEW[freedom]
    z = _QUANTILE
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def _slope(sample: Sequence[Measured]) -> float:
    """How much is found for each of what is known; 0 where the sample shows no such thing."""
    count = len(sample)
    known = sum(each.known for each in sample) / count
    found = sum(each.found for each in sample) / count
    spread = sum((each.known - known) ** 2 for each in sample)
    all_of_it = sum((each.found - found) ** 2 for each in sample)
    if not spread or not all_of_it:
        return 0.0
    slope = sum((each.known - known) * (each.found - found) for each in sample) / spread
    return slope if slope * slope * spread > _EXPLAINED * all_of_it else 0.0


def _hall(quantile: float, skew: float) -> float:
    """Hall's transformation turned round: which t has this quantile in a sample so skewed."""
    if abs(skew) < _TINY:
        return quantile
    cubed = 1 + skew * (quantile - skew / 6)
    return 3 / skew * (cbrt(cubed) - 1)
