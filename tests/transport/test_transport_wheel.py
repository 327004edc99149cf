"""Many deadlines under one timer, on a clock that the tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fastbatch.transport.fast.wheel import NEVER, Wheel


class Timer:
    def __init__(self, when: float, fire: Callable[[], None]) -> None:
        self.when = when
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock(asyncio.AbstractEventLoop):
    """As much of an event loop as the wheel asks for, with hands that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback, *args, context=None):  # type: ignore[no-untyped-def]
        self.soon.append(callback)

    def time(self) -> float:
        return self.now

    def call_at(self, when, fire, *args, context=None):  # type: ignore[no-untyped-def]
        self.timers.append(Timer(when, fire))
        return self.timers[-1]

    def turn(self, to: float, late: float = 0.0) -> None:
        """Go to `to`; timers fire when they are due, or all `late` seconds behind."""
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when + late <= to]:
            timer = min(due, key=lambda timer: timer.when)
            self.now = max(self.now, timer.when + late)
            timer.cancelled = True
            timer.fire()
        self.now = max(self.now, to)

    @property
    def waiting(self) -> int:
        return sum(not timer.cancelled for timer in self.timers)


class Entry:
    """Notes when it is looked at; `until` is when its deadline really passes."""

    def __init__(self, wheel: Wheel, until: float) -> None:
        self.due = NEVER
        self.slot = 0
        self.until = until
        self.looked: list[float] = []
        self.passed: float | None = None
        wheel.busy += 1

    def expire(self, now: float) -> float:
        self.looked.append(now)
        if now < self.until:
            return self.until
        self.passed = now
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheel(clock: Clock) -> Wheel:
    return Wheel(clock)


@pytest.mark.parametrize("due", [100.0, 100.01, 100.049, 100.05, 101.234, 220.0])
def test_a_deadline_passes_at_most_a_slot_late(wheel: Wheel, clock: Clock, due: float) -> None:
    """Never before it is due, and at most a twentieth of a second after."""
    entry = Entry(wheel, due)
    wheel.arm(entry, due)
    clock.turn(due)
    assert entry.passed is None or entry.passed >= due
    clock.turn(due + 0.051)
    assert entry.passed is not None
    assert due <= entry.passed <= due + 0.051


def test_many_deadlines_are_one_timer(wheel: Wheel, clock: Clock) -> None:
    """A thousand attempts, in whatever order their deadlines come: the loop has one timer."""
    entries = [Entry(wheel, 130.0 - number / 100) for number in range(1000)]
    for entry in entries:
        wheel.arm(entry, entry.until)
    assert clock.waiting == 1
    clock.turn(125.0)
    assert clock.waiting == 1
    assert [entry.passed is not None for entry in entries] == [entry.until < 125.0 for entry in entries]


def test_a_deadline_that_gets_later_costs_nothing_until_then(wheel: Wheel, clock: Clock) -> None:
    """The entry stays where it is, is looked at once and put where it belongs now."""
    entry = Entry(wheel, 105.0)
    wheel.arm(entry, 105.0)
    entry.until = 160.0
    clock.turn(159.9)
    assert len(entry.looked) == 1
    assert entry.passed is None
    clock.turn(160.1)
    assert entry.passed is not None


def test_a_deadline_that_gets_earlier_is_moved(wheel: Wheel, clock: Clock) -> None:
    """It passes in its new time, and is not looked at in the old one."""
    entry = Entry(wheel, 101.0)
    wheel.arm(entry, 150.0)
    wheel.arm(entry, 101.0)
    clock.turn(101.1)
    assert entry.passed is not None
    clock.turn(151.0)
    assert len(entry.looked) == 1


def test_nothing_in_flight_leaves_no_timer(wheel: Wheel, clock: Clock) -> None:
    """Nor anything in the buckets; what comes later begins anew."""
    entry = Entry(wheel, 105.0)
    wheel.arm(entry, 105.0)
    wheel.busy -= 1
    wheel.rest()
    assert (clock.waiting, entry.due, entry.slot) == (0, NEVER, 0)
    clock.turn(110.0)
    assert entry.looked == []
    wheel.arm(entry, 111.0)
    clock.turn(111.1)
    assert len(entry.looked) == 1


def test_a_pause_is_no_rest(wheel: Wheel, clock: Clock) -> None:
    """Those who got the last replies in flight mostly send again in the next moment."""
    entry = Entry(wheel, 105.0)
    wheel.arm(entry, 105.0)
    wheel.busy -= 1
    wheel.pause()
    wheel.pause()
    wheel.busy += 1
    (look,) = clock.soon
    look()
    assert (clock.waiting, entry.due) == (1, 105.0)
    wheel.busy -= 1
    wheel.pause()
    clock.soon[-1]()
    assert (clock.waiting, entry.due) == (0, NEVER)


def test_what_is_disarmed_is_not_looked_at(wheel: Wheel, clock: Clock) -> None:
    """A connection that is gone is held by nobody."""
    gone, stays = Entry(wheel, 105.0), Entry(wheel, 105.0)
    for entry in (gone, stays):
        wheel.arm(entry, 105.0)
    wheel.disarm(gone)
    clock.turn(106.0)
    assert (gone.looked, len(stays.looked)) == ([], 1)


def test_after_a_stop_there_is_time_to_read(wheel: Wheel, clock: Clock) -> None:
    """A timer far behind its time waits a tenth of a second before it judges, once."""
    answered, silent = Entry(wheel, 101.0), Entry(wheel, 101.0)
    for entry in (answered, silent):
        wheel.arm(entry, 101.0)
    clock.turn(130.0, late=28.95)
    assert (answered.looked, silent.looked) == ([], [])
    answered.until = 135.0
    clock.turn(190.0, late=59.0)
    assert answered.passed is not None
    assert silent.passed is not None


def test_one_that_gives_up_can_end_it_all(wheel: Wheel, clock: Clock) -> None:
    """The last attempt fails inside of the wheel, which rests, and goes on later."""
    entry = Entry(wheel, 101.0)

    def expire(now: float) -> float:
        wheel.busy -= 1
        wheel.rest()
        return 0.0

    entry.expire = expire  # type: ignore[method-assign]
    wheel.arm(entry, 101.0)
    wheel.arm(other := Entry(wheel, 101.01), 101.01)
    clock.turn(101.2)
    assert clock.waiting == 0
    assert other.slot == 0
