"""The account of one limit that a server states: our own window over it, corrected by every reply.

The window is an exact sliding one, since a stream that stays within a sliding window (limit, per) also stays
within a bucket of that capacity and rate, and within fixed windows. A reply's numbers were written somewhere
between its request's departure and its arrival here, so:

- *At most* `limit - remaining` and everything that this number may not contain yet is in the server's
  account: requests that left after this one, or were still out when it left. What we hold above that is let
  go of, the oldest first. This is true of every reply, in whatever order they come, and of any server; while
  the window's length is unknown it is the only way in which anything leaves.
- *At least* what the server counts beyond all that was in our window, at the request's departure and now, is
  somebody else's (or counted otherwise than we do). That much is kept free for another window or two, so that
  two clients do not drive each other out.
- When the stated reset has passed, everything that was counted is free, whatever the server means by it.
- A server that is certainly a bucket is followed itself: what it states, less what has flowed off since, and
  what may be missing in it. Others need no estimate there, each reply brings the truth.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from fastbatch.limits.cost import QUANTITIES
from fastbatch.limits.declared import said, span
from fastbatch.limits.reading import Reading, rounded
from fastbatch.limits.stated import Stated
from fastbatch.limits.window import SlidingWindow

_INFINITY = float("inf")
# Seconds for a window of which a server says no reset at all, ever: the field's usual minute.
_USUAL = 60.0
_HAIR = 1e-6  # seconds that a bucket is asked later, so that rounding does not make it too early
# A refusal that our own account does not explain comes of others, of whom we always hear a little late. So a
# part of the limit is left free: this much at first, half as much again for each such refusal in another
# quarter of a window, up to so much; and less with each window without one, down to nothing.
_MARGIN, _MORE, _MOST, _LESS, _LEAST = 0.05, 1.5, 0.2, 0.7, 0.01
_NOTICEABLE = 0.1  # of a window's length; a change by less is told to nobody


class Reply(NamedTuple):
    """What we knew of one quantity when a reply came, and when its request left."""

    now: float
    sent: float
    own: int  # what the request itself took
    used_then: int | None  # in our window when it left, itself included; None: there was no window yet
    answered_then: int  # what had been answered when it left
    answered: int  # what has been answered by now, itself included
    gone: int  # everything that ever left
    refused: bool

    @property
    def missing(self) -> int:
        """What the reply's numbers may not contain: all that left but what was answered before its request.

        The request itself is either counted in them or refused.
        """
        return self.gone - self.answered_then - self.own

    def surprising(self, limit: int) -> bool:
        """Whether it is a refusal of what should have fitted."""
        return self.refused and self.used_then is not None and self.used_then <= limit


class Account:
    """One stated limit: our window over it, and what the server's word adds to that."""

    __slots__ = (
        "answered",
        "base",
        "base_at",
        "base_gone",
        "before",
        "free_at",
        "guessed",
        "heard",
        "index",
        "lately",
        "margin",
        "peak",
        "raised",
        "reading",
        "refills",
        "rotated",
        "stated_per",
        "window",
    )

    def __init__(self, stated: Stated, transit: float) -> None:
        self.index = QUANTITIES.index(stated.what)
        self.stated_per = stated.per
        self.window = SlidingWindow("", stated.limit, stated.per or _INFINITY, transit)
        self.reading = Reading()
        self.heard = -_INFINITY  # departure of the latest request whose reply stated this limit
        self.lately = self.before = 0  # what others certainly took, in this window and the one before it
        self.rotated = -_INFINITY
        self.margin, self.raised = 0.0, -_INFINITY  # the part left free for others, and when it grew
        # When everything is free again that had been answered with the last reply: the latest of all resets,
        # since one of these replies was to the request that arrived last.
        self.free_at = -_INFINITY
        self.guessed = False  # `free_at` is nobody's word: the next reply's reset takes its place
        self.answered = 0
        self.peak: float = 0  # the most that replies said was used, since nothing was under way
        # A bucket: what was used at a moment, and everything that had left and was counted in it.
        self.refills = False
        self.base, self.base_at, self.base_gone = 0, 0.0, 0

    def hear(self, stated: Stated, reply: Reply) -> bool:
        """A reply states the limit anew; True when something changed noticeably."""
        window, newest, changed = self.window, reply.sent >= self.heard, False
        if stated.limit != window.limit:
            if not newest:
                return False  # overtaken by a reply that knows better
            window.limit = stated.limit
            changed = True
        window.forget(reply.now)
        if stated.remaining is not None:
            self._follow(stated.limit - stated.remaining, stated.reset, reply)
        if self.stated_per is None:
            changed |= self._measure(stated, reply)
        if newest:
            self.heard = reply.sent
        wait = self.length if stated.reset is None else stated.reset + rounded(stated.reset)
        self.free_at = reply.now + wait if self.guessed else max(self.free_at, reply.now + wait)
        self.guessed = False
        self.answered = reply.answered
        return changed

    def _follow(self, used: int, reset: float | None, reply: Reply) -> None:
        """Bring our window and what others take in line with what the server says is used."""
        window, now = self.window, reply.now
        if now >= self.rotated + self.length:
            self.before, self.lately, self.rotated = self.lately, 0, now
            if now >= self.raised + self.length:
                self.margin = self.margin * _LESS if self.margin > _LEAST else 0.0
        if reply.surprising(window.limit) and now >= self.raised + self.length / 4:
            self.margin, self.raised = min(_MOST, max(_MARGIN, self.margin * _MORE)), now
        used_then = window.used if reply.used_then is None else reply.used_then
        self.lately = max(self.lately, used - max(used_then, window.used))
        if reply.sent >= self.heard:
            self.base, self.base_at, self.base_gone = used, now, reply.gone - reply.missing
            if self.refills and reset is not None and used >= window.limit:
                self.base = max(used, round(reset * window.limit / window.per))  # overdrawn
        most: float = used + reply.missing
        peak: float = used
        if used >= window.limit:
            most = peak = _INFINITY  # with nothing left a server may count more than it says
        self.peak = max(self.peak, peak)
        if reply.gone == reply.answered:
            # Nothing is under way, and one of these replies was to the request that arrived last.
            if self.peak < most:
                self.base, self.base_at, self.base_gone = int(self.peak), now, reply.gone
            most, self.peak = min(most, self.peak), 0
        if window.used > most:
            window.forgive(window.used - int(most))

    def _measure(self, stated: Stated, reply: Reply) -> bool:
        """Bring the window's length up to date; True when it changed noticeably."""
        window, before = self.window, self.window.per
        if stated.reset is None:
            per = _USUAL if before == _INFINITY else None
        elif stated.remaining is None:
            return False
        else:
            latency = reply.now - reply.sent
            reading = self.reading
            if not reading.observe(stated.limit, stated.remaining, stated.reset, reply.now, latency):
                return False
            per = reading.period()
            self.refills = reading.refills
        if per is None or per == before:
            return False
        window.respan(per)
        return abs(per - before) > _NOTICEABLE * per

    def used(self, now: float, gone: int) -> float:
        """What counts now, as far as can be known (call `advance` first)."""
        if self.refills:
            drained = (now - self.base_at) * self.window.limit / self.window.per
            return max(0.0, self.base - drained) + gone - self.base_gone
        return self.window.used + max(self.lately, self.before)

    def fits(self, amount: int, now: float, gone: int) -> bool:
        """Whether so much more may leave now; what does not fit beside a margin may leave alone."""
        used, limit = self.used(now, gone), self.window.limit
        if used < 1:
            return True
        return used + amount <= (limit if self.refills else limit - ceil(self.margin * limit))

    def next_change(self, amount: int, gone: int) -> float:
        """When it is worth asking again, at the latest."""
        if not self.refills:
            return min(self.window.next_change(), self.free_at)
        window = self.window
        spare = max(0, window.limit - amount) - (gone - self.base_gone)
        if spare < 0:
            return self.free_at
        due = self.base_at + (self.base - spare) * window.per / window.limit + _HAIR
        return min(due, self.free_at)

    def advance(self, now: float, gone: int, answered: int) -> None:
        """Let go of what has left by now, of everything that ever departed and was answered."""
        window = self.window
        window.forget(now)
        if now >= self.free_at:
            window.forgive(window.used - (gone - self.answered))
            self.base, self.base_at, self.base_gone = 0, now, self.answered
            # Nobody has said for a whole window how much the others take: half of it, and half again.
            self.lately, self.before = max(self.lately, self.before) // 2, 0
            self.answered = answered
            self.free_at, self.guessed = now + self.length, True

    @property
    def length(self) -> float:
        """The window's length in seconds, or a usual one."""
        return self.window.per if self.window.per < _INFINITY else _USUAL

    @property
    def name(self) -> str:
        """What it limits, for people."""
        per = self.window.per
        what = said(QUANTITIES[self.index])
        return what if per == _INFINITY else f"{what}/{span(per)}"
