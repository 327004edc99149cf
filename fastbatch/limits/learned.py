"""Limits learned from what a provider's replies state: nothing declared, and the whole quota used.

One account for each stated limit (`limits/account.py`); this file knows what left, what was answered, and
which request a reply belongs to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fastbatch.limits.account import Account, Reply
from fastbatch.limits.cost import QUANTITIES, Amounts, Cost, Quantity
from fastbatch.limits.exchange import Term
from fastbatch.limits.stated import Stated
from fastbatch.limits.window import Entry
from fastbatch.models.stats import Saturation

_INFINITY = float("inf")
# Seconds by which two requests may differ in their way to the server: the later one may be counted first.
_JITTER = 0.01
# A server may name its windows as it likes, in every reply anew. Real ones state a handful; what is stated
# beyond so many is not listened to.
_MOST_ACCOUNTS = 32

_NOTHING: Amounts = (0, 0, 0, 0)


class _Moment:
    """Departures so close together that they may overtake each other, and the most that our windows held."""

    __slots__ = ("began", "used")

    def __init__(self, began: float) -> None:
        self.began = began
        self.used: list[int] = []


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
        self._accounts: list[Account] = []
        self._by_name: dict[tuple[Quantity, float | None], int] = {}
        # Everything that ever left, and everything answered since, in the order of QUANTITIES.
        self._gone: Amounts = (0, 0, 0, 0)
        self._answered: Amounts = (0, 0, 0, 0)
        self._moment = _Moment(-_INFINITY)
        self.knows = False
        """Whether a limit on requests has been stated."""
        self.counts_tokens = False
        """Whether costs matter; where not, nobody needs to estimate them."""

    def fits(self, cost: Cost, now: float) -> bool:
        """Whether a request of this cost may leave now, as far as the provider has said."""
        if not self._accounts:
            return True
        amounts, gone, answered = cost.amounts, self._gone, self._answered
        for account in self._accounts:
            index = account.index
            account.advance(now, gone[index], answered[index])
            if not account.fits(amounts[index], now, gone[index]):
                return False
        return True

    def take(self, cost: Cost, now: float) -> Taken:
        """Count a request that leaves now."""
        prompt, completion, total = cost
        tokens = prompt + completion if total is None else total
        one, two, three, four = self._gone
        self._gone = one + 1, two + tokens, three + prompt, four + completion
        amounts = 1, tokens, prompt, completion
        moment = self._moment
        if now - moment.began > _JITTER:
            self._moment = moment = _Moment(now)
        taken = Taken(amounts, self._answered, now, moment)
        if accounts := self._accounts:
            taken.entries = tuple([each.window.take(amounts[each.index], now) for each in accounts])
            used = [each.window.used for each in accounts]
            moment.used = used if len(moment.used) < len(used) else [*map(max, used, moment.used)]
        return taken

    @property
    def silent(self) -> bool:
        """Whether nothing has been stated yet."""
        return not self._accounts

    def take_all(self, together: Amounts, now: float) -> tuple[Amounts, _Moment]:
        """Count requests that leave now and take so much together, while nothing has been stated.

        Returns:
            What `taken` makes a request of them of.
        """
        self._gone = _sum(self._gone, together)
        moment = self._moment
        if now - moment.began > _JITTER:
            self._moment = moment = _Moment(now)
        return self._answered, moment

    def taken(self, amounts: Amounts, left: tuple[Amounts, _Moment], sent: float) -> Taken:
        """One of the requests that left together."""
        return Taken(amounts, left[0], sent, left[1])

    def answer_all(self, took: Amounts) -> None:
        """As `settle`, for requests that left together and took so much."""
        self._answered = _sum(self._answered, took)

    def hear(self, stated: Sequence[Stated], now: float, taken: Taken, *, refused: bool = False) -> bool:
        """The reply to `taken` states these limits; True when one was learned or changed noticeably.

        Call it before `settle`; `refused` tells a 429, which is not counted unless the server says so.
        """
        changed = False
        if refused:
            taken.refused = True
            for account, entry in zip(self._accounts, taken.entries, strict=False):
                account.window.settle(entry, 0, now)
        for each in stated:
            if each.what in self._ignore:
                continue
            place = self._by_name.get((each.what, each.per))
            if place is None:
                if len(self._accounts) >= _MOST_ACCOUNTS:
                    continue
                place = self._learn(each, now, taken)
                changed = True
            changed |= self._accounts[place].hear(each, self._reply(place, taken, now))
        return changed

    def settle(self, taken: Taken, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was taken."""
        if not taken.open:
            return
        taken.open = False
        own = taken.amounts
        done = self._answered
        self._answered = done[0] + own[0], done[1] + own[1], done[2] + own[2], done[3] + own[3]
        if not taken.entries:
            return
        amounts = own if cost is None else cost.amounts
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
        amounts, gone = cost.amounts, self._gone
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

    def _reply(self, place: int, taken: Taken, now: float) -> Reply:
        account = self._accounts[place]
        index = account.index
        own, held = taken.amounts[index], taken.moment.used
        return Reply(
            now,
            taken.sent,
            own,
            held[place] if place < len(held) else None,
            taken.answered[index],
            self._answered[index] + (own if taken.open else 0),
            self._gone[index],
            taken.refused,
        )

    def _learn(self, stated: Stated, now: float, taken: Taken) -> int:
        """Open an account: what the server counts arrived by now, all else that left may arrive yet."""
        account = Account(stated, self._transit)
        place = self._by_name[stated.what, stated.per] = len(self._accounts)
        self._accounts.append(account)
        if account.index:
            self.counts_tokens = True
        else:
            self.knows = True
        missing = self._reply(place, taken, now).missing
        gone, window = self._gone[account.index], account.window
        counted = gone - missing if stated.remaining is None else stated.limit - stated.remaining
        window.settle(window.take(counted, now), counted, now)
        window.take(missing, now)
        return place

    def _full(self, cost: Cost, now: float) -> list[Account]:
        amounts = cost.amounts
        for account in self._accounts:
            account.advance(now, self._gone[account.index], self._answered[account.index])
        gone = self._gone
        return [
            account
            for account in self._accounts
            if not account.fits(amounts[account.index], now, gone[account.index])
        ]


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
