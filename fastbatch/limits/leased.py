"""This process's part of limits that several processes share: what it leased, and what it must report."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from fastbatch.limits.cost import Cost, Quantity
from fastbatch.limits.declared import said, span
from fastbatch.limits.exchange import Amount, Grant, Report, Seen, Term, Want
from fastbatch.limits.options import Limits
from fastbatch.models.stats import Saturation

_LOOKED_AT = 256  # requests of a queue that are added up; the others cost as much as these on average
_AHEAD = 1.5  # of what left since the last exchange is expected until the next one
_GRAIN = 1 / 400  # of a window: arrivals this close together are reported as one, with the last of them
_BUCKETS = 20  # in the time of transit, for requests that are on their way
_SHORTEST = 0.0025  # seconds, of both
_AT_LEAST = 0.25  # seconds between two exchanges where nobody waits
_AFTER_A_LOSS = 0.25  # seconds until the account is tried again after an exchange that failed

_FORGOTTEN = 30.0  # seconds after twice the window: an account may be given up when nobody used it for longer

Bucket = list[int]
"""How many requests left in a stretch of time and have no reply, then what they take of each window."""


class Lease:
    """What one request took; give it back to `settle` or `cancel`."""

    __slots__ = ("amounts", "bucket", "number", "sent")

    def __init__(self, amounts: tuple[int, ...], sent: float, bucket: int, number: int) -> None:
        self.amounts = amounts
        self.sent = sent
        self.bucket = bucket
        self.number = number


class LeasedLimits:
    """A part of a ledger, as `DeclaredLimits` is, that only lets leave what was leased to it.

    An exchange is `report`, then the account's answer to `granted`, or `failed`; between them nothing
    leaves. `next_exchange` says when; whoever makes the exchanges asks the gate to look again afterwards.
    All times are seconds of one monotonic clock.

    >>> from fastbatch.limits.leases import LeaseBook
    >>> book, limits = LeaseBook(now=0.0), LeasedLimits(Limits(rpm=2))
    >>> limits.fits(Cost(), now=0.0)
    False
    >>> limits.granted(book.exchange(0.0, "me", limits.report(now=0.0), limits.want([Cost()])), now=0.0)
    >>> limits.fits(Cost(), now=0.0)
    True
    """

    def __init__(self, limits: Limits) -> None:
        lowest: dict[tuple[Quantity, float], int] = {}
        for window in limits.declared():
            for what, amount in window.amounts():
                lowest[what, window.per] = min(amount, lowest.get((what, window.per), amount))
        declared = [Term(what, amount, per) for (what, per), amount in lowest.items()]
        self._transit = limits.transit
        self._grain = max(limits.transit / _BUCKETS, _SHORTEST)
        self._terms = declared
        self._limits = [term.limit for term in declared]
        self._news: dict[tuple[str, float], Term] = {}
        self._left = [0] * len(declared)  # of the lease
        self._valid = float("-inf")
        self._number = 0  # of the lease; goes up with each report
        self._asking: float | None = None  # when the report was made that has no answer yet
        self._out: OrderedDict[int, Bucket] = OrderedDict()
        self._arrived: list[list[list[float]]] = [[] for _ in declared]  # [first, latest, amount] of each
        self._reported: list[list[list[float]]] = []
        self._departed: list[int] = [0] * len(declared)  # since the last report
        self._used = [0] * len(declared)  # by everybody, as of the last grant
        self._pause: tuple[float, str] | None = None
        self._seen: Seen | None = None
        self._last = float("-inf")
        self._again = 0.0
        self._free = float("-inf")
        self.holders = 0
        """Processes that use the account, as of the last exchange."""

    @property
    def counts_tokens(self) -> bool:
        """Whether costs matter."""
        return any(term.what != "requests" for term in self._terms)

    def terms(self) -> tuple[Term, ...]:
        """The windows that are shared, with the limits in force."""
        return tuple(
            [term._replace(limit=limit) for term, limit in zip(self._terms, self._limits, strict=True)]
        )

    # --- as a part of a ledger

    def fits(self, cost: Cost, now: float) -> bool:
        """Whether a request of this cost may leave now."""
        if not self._terms:
            return True
        if now >= self._valid or self._asking is not None:
            return False
        for term, left, limit in zip(self._terms, self._left, self._limits, strict=True):
            amount = cost.of(term.what)
            if amount > left and not (amount > limit and left >= limit > 0):
                return False
        return True

    def take(self, cost: Cost, now: float) -> Lease:
        """Count a request that leaves now."""
        amounts = tuple([cost.of(term.what) for term in self._terms])
        number = int(now / self._grain)
        bucket = self._out.get(number)
        if bucket is None:
            bucket = self._out[number] = [0] * (1 + len(amounts))
        self._count(bucket, amounts, 1)
        for at, amount in enumerate(amounts):
            self._left[at] -= amount
            self._departed[at] += amount
        return Lease(amounts, now, number, self._number)

    def settle(self, taken: Lease, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was taken."""
        bucket = self._out.get(taken.bucket)
        if bucket is None:
            return  # it left the windows, one of them after its latest possible arrival
        self._count(bucket, taken.amounts, -1)
        latest = min(now, taken.sent + self._transit)
        for at, reserved in enumerate(taken.amounts):
            amount = reserved if cost is None else cost.of(self._terms[at].what)
            if taken.number == self._number:
                self._left[at] += reserved - amount
            if amount:
                self._arrive(at, latest, amount)
        if not bucket[0]:
            del self._out[taken.bucket]

    def cancel(self, taken: Lease, now: float) -> None:
        """Give back what was taken: nothing was sent."""
        bucket = self._out.get(taken.bucket)
        if bucket is None:
            return
        self._count(bucket, taken.amounts, -1)
        if not bucket[0]:
            del self._out[taken.bucket]
        if taken.number == self._number:
            for at, amount in enumerate(taken.amounts):
                self._left[at] += amount
                self._departed[at] -= amount

    def next_change(self, cost: Cost, now: float) -> float:
        """When a request of this cost is expected to leave; an exchange is what changes it."""
        return max(self._last + self._again, self._free, now)

    def waiting_reason(self, cost: Cost, now: float) -> str:
        """A phrase for why a request of this cost may not leave now; empty when it may."""
        if self.fits(cost, now):
            return ""
        if self._seen is None:
            return "the account shared with other processes"
        full = [
            f"{said(term.what)}/{span(term.per)}"
            for term, left in zip(self._terms, self._left, strict=True)
            if cost.of(term.what) > left
        ]
        with_whom = f", shared by {self.holders} processes" if self.holders > 1 else ""
        return f"limit of {' and '.join(full)}{with_whom}" if full else "its turn at the shared account"

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is, by the use of all processes, as of the last exchange."""
        return tuple(
            [
                Saturation(f"{said(term.what)}/{span(term.per)}", min(used, limit), limit, term.per)
                for term, used, limit in zip(self._terms, self._used, self._limits, strict=True)
                if limit
            ]
        )

    # --- towards the account

    def learn(self, terms: Sequence[Term]) -> None:
        """A provider's headers state these windows: tell the others at the next exchange."""
        for term in terms:
            self._adopt(term._replace(learned=True))
            self._news[term.what, term.per] = term._replace(learned=True)

    def pause(self, seconds: float, reason: str) -> None:
        """Tell the others at the next exchange that nobody may send for so long."""
        self._pause = (seconds, reason)
        self._again = 0.0

    @property
    def asking(self) -> bool:
        """Whether an exchange is under way."""
        return self._asking is not None

    def next_exchange(self, waiting: bool) -> float:
        """When to make an exchange; `waiting`: somebody stands in the queue. Infinity: when that changes.

        The moment may be past. Nothing is due while an exchange is under way, or where nobody waits and the
        account knows everything.
        """
        if self._asking is not None:
            return float("inf")
        if waiting or self._pause or self._news:
            return self._last + self._again
        if self._out or any(self._arrived) or any(self._left):
            return self._last + max(self._again, _AT_LEAST)
        return float("inf")

    def report(self, now: float, *, leaving: bool = False) -> Report:
        """What to tell the account; from here until its answer nothing leaves."""
        longest = max([term.per for term in self._terms], default=0.0)
        oldest = now - self._transit - longest - self._grain
        while self._out and (next(iter(self._out)) + 1) * self._grain < oldest:
            self._out.popitem(last=False)
        if now - self._last > 2 * longest + _FORGOTTEN:
            self._seen = None  # nothing of ours counts any more, so a new account has lost nothing of it
        arrived, self._arrived = self._arrived, [[] for _ in self._terms]
        # Answered or not: what may have been entered twice is counted twice, and that is on the safe side.
        self._reported = arrived
        self._asking = now
        self._number += 1
        unused, self._left = self._left, [0] * len(self._terms)
        return Report(
            tuple(self._terms),
            tuple([tuple([Amount(latest - now, int(much)) for _, latest, much in each]) for each in arrived]),
            tuple([self._under_way(at, now) for at in range(len(self._terms))]),
            tuple([max(left, 0) for left in unused]),
            tuple(self._news.values()),
            self._pause,
            self._transit,
            self._seen,
            leaving,
        )

    def want(self, queued: Sequence[Cost], more: int = 0) -> Want:
        """What those who wait would use; `queued` are the first of them in their order, `more` the others."""
        looked_at = list(islice(queued, _LOOKED_AT))
        count = max(len(looked_at), 1)
        amounts, heads = [], []
        for at, term in enumerate(self._terms):
            costs = sum([cost.of(term.what) for cost in looked_at])
            waiting = costs * (len(queued) + more) / count
            amounts.append(round(waiting + self._departed[at] * _AHEAD))
            heads.append(looked_at[0].of(term.what) if looked_at else 0)
        return Want(tuple(amounts), tuple(heads))

    def granted(self, grant: Grant, now: float) -> None:
        """The account answered."""
        assert self._asking is not None
        self._last, self._asking = self._asking, None
        self._valid = self._last + grant.valid
        self._again = grant.again
        self._free = now + grant.wait
        self._seen = grant.seen
        self.holders = grant.holders
        self._left = [*grant.amounts, *[0] * (len(self._terms) - len(grant.amounts))]
        self._departed = [0] * len(self._terms)
        self._reported, self._pause = [], None
        self._news.clear()
        for term in grant.terms:
            self._adopt(term)
        used = {(term.what, term.per): used for term, used in zip(grant.terms, grant.used, strict=True)}
        self._used = [used.get((term.what, term.per), 0) for term in self._terms]

    def failed(self, now: float) -> None:
        """The account did not answer: nobody knows what it entered, so what was leased is lost."""
        self._last, self._asking = now, None
        self._again = _AFTER_A_LOSS
        self._valid = float("-inf")
        for mine, reported in zip(self._arrived, self._reported, strict=False):
            mine[:0] = reported
        self._reported = []

    def _adopt(self, term: Term) -> None:
        """A window as it is in force."""
        for at, known in enumerate(self._terms):
            if (known.what, known.per) == (term.what, term.per):
                self._limits[at] = term.limit
                if known.learned:
                    self._terms[at] = term
                return
        self._terms.append(term)
        self._limits.append(term.limit)
        self._left.append(0)
        self._arrived.append([])
        self._departed.append(0)
        self._used.append(0)

    def _arrive(self, at: int, latest: float, amount: int) -> None:
        arrived = self._arrived[at]
        grain = max(self._terms[at].per * _GRAIN, _SHORTEST)
        if arrived and abs(latest - arrived[-1][0]) < grain:
            arrived[-1][1] = max(arrived[-1][1], latest)
            arrived[-1][2] += amount
        else:
            arrived.append([latest, latest, amount])

    def _under_way(self, at: int, now: float) -> tuple[Amount, ...]:
        late = self._grain + self._transit - now
        return tuple(
            [
                Amount(number * self._grain + late, bucket[at + 1])
                for number, bucket in self._out.items()
                if len(bucket) > at + 1 and bucket[at + 1]
            ]
        )

    def _count(self, bucket: Bucket, amounts: tuple[int, ...], sign: int) -> None:
        if len(bucket) < len(amounts) + 1:
            bucket.extend([0] * (len(amounts) + 1 - len(bucket)))
        bucket[0] += sign
        for at, amount in enumerate(amounts, 1):
            bucket[at] += sign * amount
