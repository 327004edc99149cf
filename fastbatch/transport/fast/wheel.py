"""The deadlines of all attempts of one transport under one timer.

An entry stands in the bucket of its earliest deadline, a slot of a twentieth of a second. It is not moved
while its deadline only gets later: when its slot comes it says when to look again. A connection that serves
a thousand requests within their shortest deadline is put into a bucket once, so that an attempt costs a
comparison of two numbers. When nothing is in flight all buckets are emptied and no timer is left.

On waking from a stop (SIGSTOP, a suspended laptop) every deadline has passed although the replies may lie in
the sockets: a timer that fires noticeably late gives all of them a short grace, once, as `deadline` does.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from fastbatch.transport.deadline import GRACE, LATE

_SLOTS = 20  # a second has so many; a deadline passes at most one slot late
NEVER = float("inf")


class Entry(Protocol):
    """What has deadlines; `due` and `slot` belong to the wheel: when it looks, and in which bucket."""

    due: float
    slot: int

    def expire(self, now: float) -> float:
        """Give up what has passed; when to look again, 0: not any more."""
        ...


class Wheel:
    """Looks at entries when they are due, on the clock of `loop`."""

    __slots__ = ("_at", "_buckets", "_grace", "_loop", "_pausing", "_timer", "busy")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.busy = 0
        """Attempts in flight, counted by those who make them; at 0 they call `pause`."""
        self._loop = loop
        self._buckets: dict[int, dict[Entry, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = NEVER
        self._grace = False
        self._pausing = False

    def arm(self, entry: Entry, due: float) -> None:
        """Look at `entry` at `due`; needed where that is earlier than `entry.due`."""
        slot = int(due * _SLOTS) + 1
        if entry.slot != slot:
            if entry.slot:
                self._take_out(entry)
            bucket = self._buckets.get(slot)
            if bucket is None:
                bucket = self._buckets[slot] = {}
            bucket[entry] = None
            entry.slot = slot
        entry.due = due
        if slot / _SLOTS < self._at:
            self._set(slot / _SLOTS)

    def disarm(self, entry: Entry) -> None:
        """Forget `entry`."""
        if entry.slot:
            self._take_out(entry)
        entry.due = NEVER

    def pause(self) -> None:
        """Nothing is in flight just now: rest, unless those who got a reply send again at once."""
        if not self._pausing:
            self._pausing = True
            self._loop.call_soon(self._paused)

    def _paused(self) -> None:
        self._pausing = False
        if not self.busy:
            self.rest()

    def rest(self) -> None:
        """No bucket and no timer stays."""
        for bucket in self._buckets.values():
            for entry in bucket:
                entry.slot = 0
                entry.due = NEVER
        self._buckets.clear()
        self._grace = False
        self._at = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_out(self, entry: Entry) -> None:
        bucket = self._buckets.get(entry.slot)
        if bucket is not None:
            bucket.pop(entry, None)
            if not bucket:
                del self._buckets[entry.slot]
        entry.slot = 0

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self._at > LATE and not self._grace:
            self._grace = True
            self._set(now + GRACE)
            return
        self._grace = False
        self._timer = None
        self._at = NEVER
        reached = int(now * _SLOTS)
        for slot in sorted(slot for slot in self._buckets if slot <= reached):
            for entry in self._buckets.pop(slot, ()):
                entry.slot = 0
                entry.due = NEVER
                if again := entry.expire(now):
                    self.arm(entry, again)
        if self._buckets:
            earliest = min(self._buckets) / _SLOTS
            if earliest < self._at:
                self._set(earliest)
