"""Counting and foretelling: what a run used, and when it will be done."""

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
