"""A clock whose hands the test turns, so that an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

# How many turns of the loop count as "nothing is left to do". No loop says when it is idle, so this is a
# bound on the longest chain of wake-ups in the engine (below ten), with room to spare.
_TURNS = 50
# So often in a row nothing may be due before it is said: much can be done in no time.
_PATIENCE = 100


class ManualTimer:
    """A call that `ManualClock` makes when its hands reach `when`, unless it is cancelled before."""

    __slots__ = ("args", "callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.when = when
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call; cancelling twice, or too late, is allowed."""
        self.cancelled = True


class ManualClock:
    """Implements the engine's `Clock`; time passes only in `advance` and `run`. Seconds, from `start`.

    >>> clock, rung = ManualClock(), []
    >>> timer = clock.call_at(5.0, rung.append, "five")
    >>> clock.advance(4.0); rung
    []
    >>> clock.advance(1.0); rung, clock.time()
    (['five'], 5.0)
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._numbers = count()  # timers of one moment ring in the order in which they were set
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def time(self) -> float:
        """Now."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> ManualTimer:
        """Call `callback(*args)` when the hands reach `when`; for a moment past, when they next move."""
        timer = ManualTimer(when, callback, args)
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    @property
    def timers(self) -> int:
        """How many calls are due later."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    @property
    def next_due(self) -> float | None:
        """When the next call is due, None where none is."""
        while self._timers and self._timers[0][2].cancelled:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, seconds: float) -> None:
        """Move the hands; what falls due on the way is called in order, each at its own moment.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time goes forward only")
        end = self._now + seconds
        while (due := self.next_due) is not None and due <= end:
            timer = heappop(self._timers)[2]
            self._now = max(self._now, due)
            timer.callback(*timer.args)
        self._now = end

    async def run_until_idle(self) -> None:
        """Let the loop do what can be done while time stands still."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def run(self, work: Awaitable[T]) -> T:
        """Await `work`; whenever nothing is left to do, the hands move on to the next call that is due.

        For work that waits for this clock alone: while real input or output is under way time would fly.

        Raises:
            RuntimeError: it waits for something that is not on this clock.
        """
        task = asyncio.ensure_future(work)
        quiet = 0
        try:
            while True:
                await self.run_until_idle()
                if task.done():
                    return task.result()
                due = self.next_due
                if due is not None:
                    quiet = 0
                    self.advance(max(0.0, due - self._now))
                elif (quiet := quiet + 1) == _PATIENCE:
                    raise RuntimeError("the work waits for something that this clock does not ring for")
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
