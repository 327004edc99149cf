"""The deadlines of one attempt on a clock that the tests turn: which one passes, when, and at what price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fastbatch.errors import ConfigError
from fastbatch.transport.deadline import Deadline
from fastbatch.transport.timeout import Timeout


class Timer:
    def __init__(self, when: float, fire: Callable[[], None]) -> None:
        self.when = when
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """As much of an event loop as a deadline asks for, with hands that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, fire: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, fire))
        return self.timers[-1]

    def turn(self, to: float, late: float = 0.0) -> None:
        """Go to `to` seconds after the beginning; timers fire when due, or all `late` seconds behind."""
        to += 100.0
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when + late <= to]:
            timer = min(due, key=lambda timer: timer.when)
            self.now = max(self.now, timer.when + late)
            timer.cancelled = True
            timer.fire()
        self.now = max(self.now, to)


class Attempt:
    """A task that waits within a deadline until the test lets it go."""

    def __init__(self, timeout: Timeout) -> None:
        self.clock = Clock()
        self.deadline = Deadline(timeout, self.clock)  # type: ignore[arg-type]
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._wait())

    async def _wait(self) -> float:
        with self.deadline:
            await self.done.wait()
        return self.clock.now

    async def turn(self, to: float, late: float = 0.0) -> str | None:
        """Turn the clock, let the task see it; which deadline has passed."""
        await asyncio.sleep(0)
        self.clock.turn(to, late)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.deadline.passed


ALL = Timeout(total=100.0, connect=10.0, first_byte=20.0, idle=5.0)


@pytest.mark.parametrize(
    ("timeout", "phases", "which", "when"),
    [
        (ALL, [], "connect", 10.0),
        (ALL, [(4.0, "send")], "total", 100.0),
        (ALL, [(4.0, "send"), (6.0, "first byte")], "first byte", 26.0),
        (ALL, [(4.0, "first byte"), (9.0, "idle")], "idle", 14.0),
        (ALL, [(4.0, "first byte"), (9.0, "idle"), (13.0, "idle"), (17.5, "idle")], "idle", 22.5),
        (ALL, [(4.0, "first byte"), (9.0, "idle"), (13.0, "held")], "total", 100.0),
        (ALL, [(4.0, "idle"), (8.0, "held"), (50.0, "idle")], "idle", 55.0),
        (ALL, [(4.0, "first byte"), *[(float(at), "idle") for at in range(5, 100, 4)]], "total", 100.0),
        (Timeout(100.0), [], "connect", 20.0),
        (Timeout(100.0), [(1.0, "first byte")], "total", 100.0),
        (Timeout(100.0), [(1.0, "first byte"), (2.0, "idle")], "total", 100.0),
        (Timeout(8.0), [], "total", 8.0),
        (Timeout(8.0, connect=8.0), [], "total", 8.0),
        (Timeout(8.0, first_byte=60.0, idle=60.0), [(1.0, "first byte"), (2.0, "idle")], "total", 8.0),
    ],
)
async def test_which_deadline_passes_and_when(
    timeout: Timeout, phases: list[tuple[float, Any]], which: str, when: float
) -> None:
    """Each phase has its own deadline, counted from its beginning; the total holds over all of them."""
    attempt = Attempt(timeout)
    for at, phase in phases:
        assert await attempt.turn(at) is None
        attempt.deadline.enter(phase)
    assert await attempt.turn(when - 0.01) is None
    assert await attempt.turn(when + 0.01) == which
    with pytest.raises(TimeoutError):
        await attempt.task


async def test_an_attempt_costs_one_timer() -> None:
    """Whatever phases it goes through, as long as it is over before its shortest deadline."""
    attempt = Attempt(ALL)
    for at, phase in enumerate(("send", "first byte", "idle", "idle", "idle"), 1):
        assert await attempt.turn(at * 0.9) is None
        attempt.deadline.enter(phase)  # type: ignore[arg-type]
    attempt.done.set()
    await attempt.task
    assert [timer.cancelled for timer in attempt.clock.timers] == [True]


async def test_a_cancellation_from_outside_goes_on() -> None:
    """Before, and even when the deadline passes in the same moment, it is not turned into a timeout."""
    for late in (False, True):
        attempt = Attempt(ALL)
        await asyncio.sleep(0)
        attempt.task.cancel()
        if late:
            attempt.clock.turn(11.0)
        with pytest.raises(asyncio.CancelledError):
            await attempt.task
        assert attempt.task.cancelled()


async def test_a_timeout_leaves_no_cancellation_behind() -> None:
    """The task goes on afterwards as if nothing had been."""
    clock = Clock()

    async def work() -> str:
        with pytest.raises(TimeoutError), Deadline(ALL, clock):  # type: ignore[arg-type]
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return "went on"

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    clock.turn(11.0)
    assert await task == "went on"


async def test_an_error_of_the_attempt_stays_what_it_is() -> None:
    """Only the cancellation that the deadline caused becomes a timeout."""
    clock = Clock()
    with pytest.raises(KeyError), Deadline(ALL, clock) as deadline:  # type: ignore[arg-type]
        raise KeyError
    assert deadline.passed is None
    assert clock.timers[0].cancelled


async def test_after_a_stop_there_is_time_to_read() -> None:
    """A timer that fires far behind its time gives a grace, in which a reply is still taken."""
    attempt = Attempt(Timeout(1.0))
    assert await attempt.turn(30.0, late=29.0) is None
    attempt.done.set()
    assert await attempt.task == 130.0


async def test_the_grace_after_a_stop_is_short_and_given_once() -> None:
    """Without a reply the deadline passes a tenth of a second after waking, however late that is again."""
    attempt = Attempt(Timeout(1.0))
    assert await attempt.turn(30.0, late=29.0) is None
    assert await attempt.turn(30.09) is None
    assert await attempt.turn(90.0, late=59.0) == "total"
    with pytest.raises(TimeoutError):
        await attempt.task


async def test_after_a_stop_in_a_pause_of_the_reply_it_goes_on() -> None:
    """What is read in the grace counts: the next pause is measured from there."""
    attempt = Attempt(Timeout(60.0, idle=5.0))
    await asyncio.sleep(0)
    attempt.deadline.enter("idle")
    assert await attempt.turn(35.0, late=30.0) is None
    attempt.deadline.enter("idle")
    assert await attempt.turn(39.9) is None
    assert await attempt.turn(40.1) == "idle"
    with pytest.raises(TimeoutError):
        await attempt.task


@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "5", None])
@pytest.mark.parametrize("name", ["total", "connect", "first_byte", "idle"])
def test_what_is_no_deadline_is_refused(name: str, value: Any) -> None:
    """Only numbers above 0; the two finer ones may be left out."""
    if value is None and name in ("first_byte", "idle"):
        assert getattr(Timeout(**{name: value}), name) is None
        return
    with pytest.raises(ConfigError, match=r"^timeout.*: must be seconds above 0$"):
        Timeout(**{name: value})


def test_a_number_is_the_total() -> None:
    """A plain number stands for the whole attempt; a timeout stands for itself."""
    assert Timeout.of(30) == Timeout(total=30)
    assert Timeout.of(ALL) is ALL
    assert (ALL.shortest, Timeout(3.0).shortest, Timeout().shortest) == (5.0, 3.0, 20.0)
