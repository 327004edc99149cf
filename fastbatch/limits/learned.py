"""Limits learned from what a provider's replies state: nothing declared, and the whole quota used.

Each stated limit is kept as an exact sliding window of our own, since a stream that stays within a sliding
window (limit, per) also stays within a bucket of that capacity and rate, and within fixed windows. Every
reply corrects the account. It was written somewhere between its request's departure and its arrival here:

- *At most* `limit - remaining` and everything that this number may not contain yet is in the server's
  account: requests that left after this one, or were still out when it left. What we hold above that is let
  go of, the oldest first. This is true of every reply, in whatever order they come, and of any server; while
  the window's length is unknown it is the only way in which anything leaves.
- *At least* what the server counts beyond ours at the request's departure is somebody else's (or counted
  otherwise than we do): it takes room, too, as the reply to the latest departure states it.
- When the stated reset has passed, everything that was counted is free, whatever the server means by it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil
from typing import NamedTuple

from fastbatch.limits.cost import QUANTITIES, Cost, Quantity
from fastbatch.limits.declared import said, span
from fastbatch.limits.exchange import Term
from fastbatch.limits.reading import Reading, rounded
from fastbatch.limits.stated import Stated
from fastbatch.limits.window import Entry, SlidingWindow
from fastbatch.models.stats import Saturation

_INFINITY = float("inf")
# Seconds for a window of which a server says no reset at all, ever: the field's usual minute.
_USUAL = 60.0
_HAIR = 1e-6  # seconds that a bucket is asked later, so that rounding does not make it too early
# A refusal that our own account does not explain comes of others, of whom we always hear a little late. So a
# part of the limit is left free: this much at first, half as much again for each such refusal in another
# quarter of a window, up to so much; and less with each window without one, down to nothing.
_MARGIN, _MORE, _MOST, _LESS, _LEAST = 0.05, 1.5, 0.2, 0.7, 0.01
# Seconds by which two requests may differ in their way to the server: the later one may be counted first.
_JITTER = 0.01
_NOTICEABLE = 0.1  # of a window's length; a change by less is told to nobody

Amounts = tuple[int, int, int, int]
"""What a request takes, in the order of `QUANTITIES`."""

_NOTHING: Amounts = (0, 0, 0, 0)


class _Moment:
    """Departures so close together that they may overtake each other, and the most that our windows held."""

    __slots__ = ("began", "next", "used")

    def __init__(self, began: float) -> None:
        self.began = began
        self.used: list[int] = []
        self.next: _Moment | None = None

    def held(self, place: int) -> int | None:
        """The most in a window now and in the next moment, None where it did not exist."""
        if place >= len(self.used):
            return None
        later = self.next
        return max(self.used[place], later.used[place]) if later is not None else self.used[place]


class Taken:
    """One request that left: what it takes, what had been answered by then, and its place in each window."""

    __slots__ = ("amounts", "answered", "entries", "moment", "open", "refused", "sent")

    def __init__(self, amounts: Amounts, answered: Amounts, sent: float, moment: _Moment) -> None:
        self.amounts = amounts
        self.answered = answered
        self.sent = sent
        self.moment = moment
        self.entries: tuple[Entry, ...] = ()
        self.open = True
        self.refused = False


class _Reply(NamedTuple):
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


class _Account:
    """One stated limit: our window over it, and what the server's word adds to that."""

    __slots__ = (
        "answered",
        "base",
        "base_at",
        "base_gone",
        "before",
        "free_at",
        "heard",
        "index",
        "lately",
        "margin",
        "others",
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
        # What others seem to take by the newest reply; and at least, in this window and the one before it.
        self.others = self.lately = self.before = 0
        self.rotated = -_INFINITY
        self.margin, self.raised = 0.0, -_INFINITY  # the part left free for others, and when it grew
        # When everything is free again that had been answered with the last reply: the latest of all resets,
        # since one of these replies was to the request that arrived last.
        self.free_at = -_INFINITY
        self.answered = 0
        self.peak: float = 0  # the most that replies said was used, since nothing was under way
        # A bucket: what was used at a moment, and everything that had left and was counted in it.
        self.refills = False
        self.base, self.base_at, self.base_gone = 0, 0.0, 0

    def hear(self, stated: Stated, reply: _Reply) -> bool:
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
        self.free_at = max(self.free_at, reply.now + wait)
        self.answered = reply.answered
        return changed

    def _follow(self, used: int, reset: float | None, reply: _Reply) -> None:
        """Bring our window and what others take in line with what the server says is used."""
        window, now = self.window, reply.now
        if now >= self.rotated + self.length:
            self.before, self.lately, self.rotated = self.lately, 0, now
            if now >= self.raised + self.length:
                self.margin = self.margin * _LESS if self.margin > _LEAST else 0.0
        if reply.surprising(window.limit) and now >= self.raised + self.length / 4:
            self.margin, self.raised = min(_MOST, max(_MARGIN, self.margin * _MORE)), now
        used_then = window.used if reply.used_then is None else reply.used_then
        ours = window.used - reply.own if reply.refused else used_then
        self.lately = max(self.lately, used - max(used_then, window.used))
        if reply.sent >= self.heard:
            # A refusal is quick, so that its numbers are those of now.
            self.others = max(0, used - ours)
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
        excess = window.used + self.others - most
        if excess > 0:
            theirs = min(int(excess), self.others)
            self.others -= theirs
            window.forgive(int(excess) - theirs)

    def _measure(self, stated: Stated, reply: _Reply) -> bool:
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
        theirs = max(self.others, self.lately, self.before)
        return self.window.used + theirs + ceil(self.margin * self.window.limit)

    def fits(self, amount: int, now: float, gone: int) -> bool:
        """Whether so much more may leave now."""
        used, limit = self.used(now, gone), self.window.limit
        return used + amount <= limit or (amount > limit and used < 1)

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
            self.others = 0
            # Nobody has said for a whole window how much the others take: half of it, and half again.
            self.lately, self.before = max(self.lately, self.before) // 2, 0
            self.answered = answered
            self.free_at = now + self.length

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


class LearnedLimits:
    """One window for each limit that headers state, corrected by every reply.

    Args:
        transit: seconds that a request may be on its way before the server counts it, at most.
        ignore: quantities that are not learned, since the user declared them.

    >>> limits = LearnedLimits()
    >>> first = limits.take(Cost(), now=0.0)
    >>> limits.hear([Stated("requests", limit=1, remaining=0, reset=10.0, per=10.0)], 0.5, first)
    True
    >>> limits.settle(first, None, now=0.5)
    >>> limits.fits(Cost(), now=1.0), limits.next_change(Cost(), now=1.0)
    (False, 10.5)
    """

    def __init__(self, *, transit: float = 2.0, ignore: Collection[Quantity] = ()) -> None:
        self._transit = transit
        self._ignore = frozenset(ignore)
        self._accounts: list[_Account] = []
        self._by_name: dict[tuple[Quantity, float | None], int] = {}
        # Everything that ever left, and everything answered since, in the order of QUANTITIES.
        self._gone: Amounts = (0, 0, 0, 0)
        self._answered: Amounts = (0, 0, 0, 0)
        self._moment = _Moment(-_INFINITY)

    @property
    def counts_tokens(self) -> bool:
        """Whether costs matter; where not, nobody needs to estimate them."""
        return any(account.index for account in self._accounts)

    def fits(self, cost: Cost, now: float) -> bool:
        """Whether a request of this cost may leave now, as far as the provider has said."""
        if not self._accounts:
            return True
        amounts, gone, answered = _amounts(cost), self._gone, self._answered
        for account in self._accounts:
            index = account.index
            account.advance(now, gone[index], answered[index])
            if not account.fits(amounts[index], now, gone[index]):
                return False
        return True

    def take(self, cost: Cost, now: float) -> Taken:
        """Count a request that leaves now."""
        amounts = _amounts(cost)
        self._gone = _sum(self._gone, amounts)
        moment = self._moment
        if now - moment.began > _JITTER:
            moment.next = self._moment = moment = _Moment(now)
        taken = Taken(amounts, self._answered, now, moment)
        if accounts := self._accounts:
            taken.entries = tuple([each.window.take(amounts[each.index], now) for each in accounts])
            used = [each.window.used for each in accounts]
            moment.used = used if len(moment.used) < len(used) else [*map(max, used, moment.used)]
        return taken

    def hear(self, stated: Sequence[Stated], now: float, taken: Taken, *, refused: bool = False) -> bool:
        """The reply to `taken` states these limits; True when one was learned or changed noticeably.

        Call it before `settle`; `refused` tells a 429, which is not counted unless the server says so.
        """
        changed = False
        taken.refused = refused
        for each in stated:
            if each.what in self._ignore:
                continue
            place = self._by_name.get((each.what, each.per))
            if place is None:
                place = self._learn(each, now, taken)
                changed = True
            changed |= self._accounts[place].hear(each, self._reply(place, taken, now))
        return changed

    def settle(self, taken: Taken, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was taken."""
        if not taken.open:
            return
        taken.open = False
        self._answered = _sum(self._answered, taken.amounts)
        amounts = taken.amounts if cost is None else _amounts(cost)
        if taken.refused:
            amounts = _NOTHING
        for account, entry in zip(self._accounts, taken.entries, strict=False):
            account.window.settle(entry, amounts[account.index], now)

    def cancel(self, taken: Taken, now: float) -> None:
        """Give back what was taken: nothing was sent."""
        if not taken.open:
            return
        taken.open = False
        self._answered = _sum(self._answered, taken.amounts)
        for account, entry in zip(self._accounts, taken.entries, strict=False):
            account.window.settle(entry, 0, now)

    def next_change(self, cost: Cost, now: float) -> float:
        """When it is worth asking again after a refusal, at the latest; a reply may make it sooner."""
        amounts, gone = _amounts(cost), self._gone
        changes = [each.next_change(amounts[each.index], gone[each.index]) for each in self._full(cost, now)]
        return max(changes, default=now)

    def waiting_reason(self, cost: Cost, now: float) -> str:
        """A phrase for why a request of this cost may not leave now; empty when it may."""
        full = [f"{account.window.limit} {account.name}" for account in self._full(cost, now)]
        return f"the provider's limit of {' and '.join(full)}" if full else ""

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is at this moment, with what others take of it."""
        found = []
        for each in self._accounts:
            each.advance(now, self._gone[each.index], self._answered[each.index])
            used = each.used(now, self._gone[each.index])
            window = each.window
            found.append(
                Saturation(each.name, used, window.limit, window.per, window.utilisation(), learned=True)
            )
        return tuple(found)

    def terms(self) -> tuple[Term, ...]:
        """What was learned: each limit whose window's length is known."""
        return tuple(
            Term(QUANTITIES[each.index], each.window.limit, each.window.per, learned=True)
            for each in self._accounts
            if each.window.per < _INFINITY
        )

    def _reply(self, place: int, taken: Taken, now: float) -> _Reply:
        account = self._accounts[place]
        index = account.index
        own = taken.amounts[index]
        return _Reply(
            now,
            taken.sent,
            own,
            taken.moment.held(place),
            taken.answered[index],
            self._answered[index] + (own if taken.open else 0),
            self._gone[index],
            taken.refused,
        )

    def _learn(self, stated: Stated, now: float, taken: Taken) -> int:
        """Open an account: what the server counts arrived by now, all else that left may arrive yet."""
        account = _Account(stated, self._transit)
        place = self._by_name[stated.what, stated.per] = len(self._accounts)
        self._accounts.append(account)
        missing = self._reply(place, taken, now).missing
        gone, window = self._gone[account.index], account.window
        counted = gone - missing if stated.remaining is None else stated.limit - stated.remaining
        window.settle(window.take(counted, now), counted, now)
        window.take(missing, now)
        return place

    def _full(self, cost: Cost, now: float) -> list[_Account]:
        amounts = _amounts(cost)
        for account in self._accounts:
            account.advance(now, self._gone[account.index], self._answered[account.index])
        gone = self._gone
        return [
            account
            for account in self._accounts
            if not account.fits(amounts[account.index], now, gone[account.index])
        ]


def _amounts(cost: Cost) -> Amounts:
    prompt, completion, total = cost
    return 1, prompt + completion if total is None else total, prompt, completion


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
