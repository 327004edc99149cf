"""Counting and foretelling: what a run used, and when it will be done."""

from decimal import Decimal

import pytest
from fakes import FakeTransport, asks, manager_on, refusal

from fastbatch import InMemoryCache, TokenStats
from fastbatch.engine.events import Counters, Meter
from fastbatch.models.stats import Saturation
from fastbatch.testing import ManualClock


def eta(total, ok, seconds, *limits):
    """The time left after `ok` of `total` rows in `seconds`, under limits of (used, limit, per)."""
    clock, counters = ManualClock(), Counters()
    meter = Meter(counters, clock)
    counters.total, counters.ok = total, ok
    clock.advance(seconds)
    found = meter.picture(
        tuple(Saturation("requests/s", used, limit, per) for used, limit, per in limits)
    ).eta
    return None if found is None else round(found, 1)


@pytest.mark.parametrize(
    ("expected", "total", "ok", "seconds", "limits"),
    [
        (10.0, 200, 100, 10.0, []),  # as fast as so far
        (None, 200, 0, 5.0, []),  # nothing to go by
        (0.0, 100, 100, 10.0, []),
        (240.0, 3000, 600, 2.0, [(600, 600, 60.0)]),  # a burst says nothing about the minutes to come
        (180.0, 3000, 600, 2.0, [(0, 600, 60.0)]),  # what is free now needs no waiting
        (50.0, 6, 1, 10.0, [(5, 5, 5.0)]),  # slower than the limit allows: the speed decides
        (60.0, 6, 5, 0.0, [(5, 1, 60.0)]),
    ],
)
def test_the_time_left(expected, total, ok, seconds, limits):
    """By the speed of late, and never sooner than the limits allow."""
    assert eta(total, ok, seconds, *limits) == expected


def test_nobody_knows_the_time_left_in_an_outage():
    """What the limits would allow says nothing then; without rows left it is none."""
    counters = Counters()
    meter = Meter(counters, ManualClock())
    counters.total, counters.ok = 200, 100
    assert meter.picture((Saturation("requests/s", 0, 10, 1.0),), parked=True).eta is None
    counters.ok = 200
    assert meter.picture(parked=True).eta == 0.0


@pytest.mark.parametrize(
    ("expected", "limits"),
    [
        (10.0, [("requests", 5, 600, float("inf"))]),  # its length is yet to be learned
        (10.0, [("requests/5s openai 1 of 2", 100, 100, 60.0), ("requests/5s openai 2 of 2", 0, 900, 60.0)]),
        (60.0, [("requests/min openai 2 of 2", 100, 100, 60.0), ("tokens/min openai 1 of 2", 0, 9, 60.0)]),
    ],
)
def test_only_a_limit_of_all_rows_bounds_the_time_left(expected, limits):
    """One whose window is not known says nothing, and one of several accounts bounds a part of the rows."""
    clock, counters = ManualClock(), Counters()
    meter = Meter(counters, clock)
    counters.total, counters.ok = 200, 100
    clock.advance(10.0)
    assert round(meter.picture(tuple(Saturation(*limit) for limit in limits)).eta, 1) == expected


async def test_the_results_usages_add_up_to_what_the_run_used():
    """Cached, shared and failed rows take no tokens; nothing is counted twice."""
    cache = InMemoryCache()
    await manager_on(FakeTransport(), cache=cache).run_async(asks("known"))
    transport = FakeTransport()
    results = await manager_on(transport, cache=cache).run_async(asks("known", "a", "a", "b"))
    used = sum((result.usage for result in results), TokenStats())
    assert (used.requests, used.cache_hits, used.unpriced) == (4, 1, 2)
    assert used.total_tokens == 2 * results[1].usage.total_tokens > 0
    assert results[0].tokens.prompt_tokens > 0
    failed = await manager_on(FakeTransport(lambda call: refusal(400))).run_async(asks("a"))
    assert failed[0].usage == TokenStats()


@pytest.mark.parametrize(
    ("counts", "projected"),
    [
        ({"total": 10, "ok": 4, "cost": 40}, 100),
        ({"total": 10, "ok": 4, "cached": 2, "cost": 20}, 80),  # the others may have to be paid for
        ({"total": 10, "ok": 3, "failed": 1, "shared": 1, "cost": 30}, 90),
        ({"total": 10, "ok": 10, "cost": 7}, 7),
        ({"total": 4, "ok": 4, "cached": 4}, 0),
        ({"total": 10, "ok": 4, "cached": 4}, None),
        ({"total": None, "ok": 4, "cost": 40}, None),
        ({"total": 10}, None),
    ],
)
def test_what_all_of_it_will_cost(counts, projected):
    """As much for each row that is left as for those that were asked; nobody knows before there is one."""
    counters = Counters()
    for name, count in counts.items():
        setattr(counters, name, count)
    found = Meter(counters, ManualClock()).picture().projected
    assert found == (None if projected is None else projected * Decimal("0.000000000001"))
