"""The deadlines of one attempt under one timer.

The timer is set by the shortest of the deadlines. Going from one phase to the next only moves numbers; when
the timer fires too early for the present phase it is set again. An attempt that is over in less than its
shortest deadline therefore costs one `call_at` and one `cancel`, whatever number of phases it has.

On waking from a stop (SIGSTOP, a suspended laptop) every deadline has passed although the replies may lie in
the sockets. A timer that fires noticeably late is therefore given a short grace, once, in which the event
loop reads what is there. Timers run before sockets are read in uvloop and after it in asyncio; both are
served.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self

from fastbatch.transport.timeout import Timeout

Phase = Literal["connect", "send", "first byte", "idle", "held"]
"""`send`: the request is being written; `held`: it is us who do not read. Both know the total alone."""

Passed = Literal["connect", "first byte", "idle", "total"]

LATE = 0.05
"""Seconds behind its time from which on a timer was not late by chance."""

GRACE = 0.1
"""Seconds to read what is there; both together stay below the 0.2 s that we promise."""


def next_due(timeout: Timeout, phase: Phase, began: float, since: float) -> tuple[float, Passed]:
    """When the next deadline passes of an attempt that began then and is in this phase since, and which."""
    total = began + timeout.total
    if phase == "connect" and (due := since + timeout.connect) < total:
        return due, phase
    if phase == "first byte" and timeout.first_byte and (due := since + timeout.first_byte) < total:
        return due, phase
    if phase == "idle" and timeout.idle and (due := since + timeout.idle) < total:
        return due, phase
    return total, "total"


class Deadline:
    """Cancels the task when a deadline passes and turns that into `TimeoutError`, as `asyncio.timeout` does.

    A cancellation from outside wins: it goes on as `CancelledError`. `passed` says which deadline it was.

    >>> with Deadline(Timeout(60, first_byte=30), loop) as deadline:    # doctest: +SKIP
    ...     await connect()
    ...     deadline.enter("first byte")
    ...     await reply()
    """

    __slots__ = (
        "_armed",
        "_cancelling",
        "_grace",
        "_loop",
        "_task",
        "_timer",
        "began",
        "passed",
        "phase",
        "since",
        "timeout",
    )  # fmt: skip

    def __init__(self, timeout: Timeout, loop: asyncio.AbstractEventLoop) -> None:
        self.timeout = timeout
        self.phase: Phase = "connect"
        self.passed: Passed | None = None
        self._loop = loop
        self._grace = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "a deadline holds for a task"
        self._task = task
        self._cancelling = task.cancelling()
        self.began = self.since = now = self._loop.time()
        self._arm(now + self.timeout.shortest)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self.passed is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def enter(self, phase: Phase) -> None:
        """A new phase begins now."""
        self.phase = phase
        self.since = self._loop.time()

    def due(self) -> tuple[float, Passed]:
        """When the next deadline passes, by the loop's clock, and which one it is."""
        return next_due(self.timeout, self.phase, self.began, self.since)

    def _arm(self, when: float) -> None:
        self._armed = when
        self._timer = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        due, which = self.due()
        if now < due:
            self._grace = False
            # Not simply when it is due: the next phase may begin at once and have a shorter deadline.
            self._arm(min(due, now + self.timeout.shortest))
        elif now - self._armed > LATE and not self._grace:
            self._grace = True
            self._arm(now + GRACE)
        else:
            self.passed = which
            self._task.cancel()
