"""The manual clock: time stands still until a test moves it."""

import asyncio

import pytest

from fastbatch.testing import ManualClock


def test_calls_come_in_order_each_at_its_moment():
    """Calls on the way are made by due time, then by the order of setting, and see their own time."""
    clock = ManualClock(start=10.0)
    seen = []
    for when, name in ((13.0, "c"), (11.0, "a"), (13.0, "d"), (12.0, "b")):
        clock.call_at(when, lambda name=name: seen.append((name, clock.time())))
    clock.advance(2.5)
    assert (seen, clock.time()) == ([("a", 11.0), ("b", 12.0)], 12.5)
    clock.advance(0.5)
    assert seen[2:] == [("c", 13.0), ("d", 13.0)]


def test_a_cancelled_call_is_not_made():
    """A cancelled timer neither rings nor counts."""
    clock = ManualClock()
    clock.call_at(1.0, pytest.fail).cancel()
    assert (clock.timers, clock.next_due) == (0, None)
    clock.advance(5.0)


def test_a_call_may_set_another():
    """A call made on the way may set one that is due on the same way."""
    clock = ManualClock()
    seen = []
    clock.call_at(1.0, lambda: clock.call_at(2.0, seen.append, "second"))
    clock.advance(3.0)
    assert seen == ["second"]


def test_time_never_goes_back():
    """Moving the hands backwards is refused, and a call for a moment past leaves them where they are."""
    clock = ManualClock(start=5.0)
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1.0)
    clock.call_at(1.0, lambda: None)
    clock.advance(0.0)
    assert clock.time() == 5.0


async def test_run_moves_time_to_whatever_comes_next():
    """Work that sleeps an hour on this clock is done at once, at the right time."""
    clock = ManualClock()

    async def sleep(seconds):
        woken = asyncio.get_running_loop().create_future()
        clock.call_at(clock.time() + seconds, woken.set_result, None)
        await woken

    async def work():
        await sleep(3600.0)
        await sleep(0.5)
        return clock.time()

    assert await clock.run(work()) == 3600.5


async def test_run_says_when_nothing_will_ever_come():
    """Work that waits for something else is an error and is cancelled, not a test that hangs."""
    forever = asyncio.get_running_loop().create_future()
    with pytest.raises(RuntimeError, match="does not ring"):
        await ManualClock().run(forever)
    assert forever.cancelled()
