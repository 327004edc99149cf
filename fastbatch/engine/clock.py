"""Time as the engine sees it, so that tests can turn the hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None: ...  # noqa: D102


class Clock(Protocol):
    """One monotonic clock, in seconds; it does not follow the wall clock."""

    def time(self) -> float:
        """Now."""
        ...

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Timer:
        """Call `callback(*args)` on the running loop at `when`, or a millisecond later."""
        ...


class SystemClock:
    """`time.monotonic`, and the running loop's timers.

    Not `loop.time()`: uvloop caches it for a whole turn of the loop and rounds it down to a millisecond,
    which would let an entry leave a window too early.
    """

    time = staticmethod(time.monotonic)

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Timer:
        """See `Clock.call_at`."""
        delay = max(0.0, when - time.monotonic())
        return asyncio.get_running_loop().call_later(delay, callback, *args)
