"""How long a window is, read from what is left of it and when it is free again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from headers_world import METERS, ROUNDINGS

from fastbatch.limits.reading import Reading, rounded


def watched(
    kind: str, limit: int, per: float, rounding: str, gap: Callable[[int], float], count: int
) -> Reading:
    """A reading of `count` requests, each sent a gap after the one before it if it fits."""
    meter, reading, now = METERS[kind](limit, per), Reading(), 0.0
    for number in range(count):
        now += gap(number)
        if meter.used(now) + 1 <= limit:
            meter.take(1, now)
        remaining = int(max(0, limit - meter.used(now)))
        reading.observe(limit, remaining, ROUNDINGS[rounding](meter.reset(now)), now)
    return reading


@pytest.mark.parametrize("rounding", ["exact", "ms", "s up", "s down"])
@pytest.mark.parametrize("per", [5.0, 10.0, 60.0, 3600.0, 86_400.0])
@pytest.mark.parametrize("limit", [40, 300])
@pytest.mark.parametrize("kind", sorted(METERS))
def test_windows_of_usual_lengths_are_found(kind: str, limit: int, per: float, rounding: str) -> None:
    """After three windows of full use every kind of server is read rightly, however it rounds."""
    count = 4 * limit
    reading = watched(kind, limit, per, rounding, lambda number: 3 * per / count, count)
    assert reading.period() == pytest.approx(per, rel=0.025 if rounding in ("exact", "ms") else 0.25)
    assert (reading.period() or 0) >= per * 0.99


@pytest.mark.parametrize("per", [1.0, 5.0, 60.0, 86_400.0])
def test_a_bucket_is_certain_after_little_use(per: float) -> None:
    """A day's bucket is known from a few requests at once: 250 out of ten thousand."""
    reading = watched("bucket", 10_000, per, "ms", lambda number: 0.0, 250)
    assert reading.refills
    assert reading.period() == per


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("rounding", ["exact", "ms"])
@pytest.mark.parametrize("per", [1.0, 5.0, 60.0])
def test_other_windows_are_never_taken_for_buckets(kind: str, rounding: str, per: float) -> None:
    """From no request to the next, at even use and in bursts."""
    for gap in (lambda number: per / 200, lambda number: 0.0, lambda number: per * 0.99 * (number % 50 == 0)):
        for count in range(8, 400, 49):
            assert not watched(kind, 100, per, rounding, gap, count).refills


def test_nothing_is_known_from_nothing() -> None:
    """No observation, or one that fits everything, says no length."""
    reading = Reading()
    assert reading.period() is None
    reading.observe(100, 99, 0.6, 0.0)
    assert (reading.period(), reading.refills) == (None, False)


def test_a_window_that_became_longer_is_found_at_once() -> None:
    """A limit of a second becomes one of a minute."""
    reading = Reading()
    for number in range(10):
        reading.observe(100, 90 - number, 1.0 + number / 1e4, number * 0.1)
    assert reading.period() == pytest.approx(1.0, rel=0.01)
    reading.observe(100, 80, 60.0, 2.0)
    assert reading.period() == pytest.approx(60.0, rel=0.03)


def test_a_window_that_became_shorter_is_found_in_time() -> None:
    """The longest reset of so many windows counts, and then no more."""
    reading = Reading()
    for number in range(10):
        reading.observe(100, 90 - number, 59.999, number * 0.1)
    for number in range(2000):
        reading.observe(100, 90 - number % 80, 4.999, 10.0 + number)
    assert reading.period() == 5.0


def test_a_bucket_that_changes_is_measured_anew() -> None:
    """What was certain and is contradicted is no proof against buckets."""
    reading = Reading()
    for per in (60.0, 10.0):
        for used in range(1, 200):
            reading.observe(1000, 1000 - used, round(used * per / 1000, 3), per + used * 0.001)
        assert reading.refills
        assert reading.period() == per


@pytest.mark.parametrize(("reset", "rounding"), [(1.0, 1.0), (0.0, 1.0), (0.5, 0.0011), (59.999, 0.0011)])
def test_whole_seconds_may_be_rounded(reset: float, rounding: float) -> None:
    """Other numbers are right to the millisecond."""
    assert rounded(reset) == rounding
