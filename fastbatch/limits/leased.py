"""This process's part of limits that several processes share: what it leased, and what it must report."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from math import floor

from fastbatch.limits.cost import QUANTITIES, Amounts, Cost, Quantity
from fastbatch.limits.exchange import Amount, Grant, Report, Seen, Term, Want
from fastbatch.limits.leasedwindow import LeasedWindow
from fastbatch.limits.options import Limits
from fastbatch.models.stats import Saturation

_LOOKED_AT = 256  # requests of a queue that are added up; the others cost as much as these on average
_AHEAD = 1.5  # of what left since the last exchange is expected until the next one
_BUCKETS = 20  # in the time of transit, for requests that are on their way
_SHORTEST = 0.0025  # seconds of a bucket
_AT_REST = 0.1  # seconds between two exchanges where nobody waits
_AFTER_A_LOSS = 0.25  # seconds until the account is tried again after an exchange that failed
_FORGOTTEN = 30.0  # seconds after twice the window: an account may be given up when nobody used it for longer
_REMEMBERED = 60.0  # seconds of arrivals that are kept for a window that is yet to be learned
_STEP = 0.25  # seconds of them that are kept together

_NOTHING = (0,) * len(QUANTITIES)


class Lease:
    """What one request took; give it back to `settle` or `cancel`."""

    __slots__ = ("amounts", "bucket", "number", "sent", "windows")

    def __init__(self, amounts: Amounts, sent: float, bucket: int, number: int, windows: int) -> None:
        self.amounts = amounts
        self.sent = sent
        self.bucket = bucket
        self.number = number
        self.windows = windows  # how many there were


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
        self._windows = [
            LeasedWindow(Term(what, amount, per), own=True) for (what, per), amount in lowest.items()
        ]
        self._transit = limits.transit
        self._grain = max(limits.transit / _BUCKETS, _SHORTEST)
        self._news: tuple[Term, ...] = ()  # all that is learned, when something of it is new
        self._told: tuple[Term, ...] = ()  # the news of a report that has no answer yet
        self._valid = float("-inf")
        self._number = 0  # of the lease; goes up with each report
        self._asking: float | None = None  # when the report was made that has no answer yet
        # Requests that left in a stretch of time and have no reply: how many, then their amounts.
        self._out: OrderedDict[int, list[int]] = OrderedDict()
        # What arrived in the last minute, by steps: a window that is learned later has seen it, too.
        self._history: deque[tuple[int, list[int]]] | None = deque() if not lowest else None
        self._departed = False  # whether anything left since the last report
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
        return any(window.index for window in self._windows)

    @property
    def knows(self) -> bool:
        """Whether there are any windows."""
        return bool(self._windows)

    def terms(self) -> tuple[Term, ...]:
        """The windows that are shared, with the limits in force."""
        return tuple([window.term for window in self._windows])

    # --- as a part of a ledger

    def fits(self, cost: Cost, now: float) -> bool:
        """Whether a request of this cost may leave now."""
        if not self._windows:
            return True
        if now >= self._valid or self._asking is not None:
            return False
        amounts = cost.amounts
        return all(window.fits(amounts[window.index]) for window in self._windows)

    def take(self, cost: Cost, now: float) -> Lease:
        """Count a request that leaves now."""
        self._departed = True
        amounts = cost.amounts
        number = int(now / self._grain)
        bucket = self._out.get(number)
        if bucket is None:
            bucket = self._out[number] = [0, *_NOTHING]
        bucket[0] += 1
        for index, amount in enumerate(amounts, 1):
            bucket[index] += amount
        for window in self._windows:
            amount = amounts[window.index]
            window.left -= amount
            window.departed += amount
        return Lease(amounts, now, number, self._number, len(self._windows))

    def settle(self, taken: Lease, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was taken."""
        if not self._ended(taken):
            return  # it left the windows, one of them after its latest possible arrival
        amounts = taken.amounts if cost is None else cost.amounts
        latest = min(now, taken.sent + self._transit)
        for at, window in enumerate(self._windows):
            amount = amounts[window.index]
            if taken.number == self._number and at < taken.windows:
                window.left += taken.amounts[window.index] - amount
            if amount:
                window.arrive(latest, amount)
        if self._history is not None:
            self._remember(latest, amounts, now)

    def cancel(self, taken: Lease, now: float) -> None:
        """Give back what was taken: nothing was sent."""
        if self._ended(taken) and taken.number == self._number:
            for window in self._windows[: taken.windows]:
                amount = taken.amounts[window.index]
                window.left += amount
                window.departed -= amount

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
            f"{window.term.limit:g} {window.name}"
            for window in self._windows
            if not window.fits(cost.of(window.term.what))
        ]
        with_whom = f", shared by {self.holders} processes" if self.holders > 1 else ""
        return f"limit of {' and '.join(full)}{with_whom}" if full else "its turn at the shared account"

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is, by the use of all processes, as of the last exchange."""
        return tuple(
            [
                Saturation(
                    window.name,
                    min(window.used, window.term.limit),
                    window.term.limit,
                    window.term.per,
                    learned=window.term.learned and not window.own,
                )
                for window in self._windows
                if window.term.limit
            ]
        )

    # --- towards the account

    def learn(self, terms: Sequence[Term]) -> None:
        """A provider's headers state these windows, all there are: tell the others at the next exchange."""
        lowest: dict[tuple[Quantity, float], Term] = {}
        for term in terms:  # of two limits on one thing the lower one holds
            known = lowest.get((term.what, term.per))
            if known is None or term.limit < known.limit:
                lowest[term.what, term.per] = term._replace(learned=True)
        self._news = tuple(lowest.values())
        for term in self._news:
            self._adopt(term, self._news)

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
        if self._departed or self._out or any(window.busy for window in self._windows):
            return self._last + _AT_REST
        return float("inf")

    def report(self, now: float, *, leaving: bool = False) -> Report:
        """What to tell the account; from here until its answer nothing leaves."""
        longest = max([window.term.per for window in self._windows], default=_REMEMBERED)
        oldest = now - self._transit - longest - self._grain
        while self._out and (next(iter(self._out)) + 1) * self._grain < oldest:
            self._out.popitem(last=False)
        if now - self._last > 2 * longest + _FORGOTTEN:
            self._seen = None  # nothing of ours counts any more, so a new account has lost nothing of it
        self._asking = now
        self._departed = False
        self._number += 1
        self._told, self._news = self._news, ()
        reports = [window.report(now) for window in self._windows]
        return Report(
            tuple([window.to_report for window in self._windows]),
            tuple([arrived for arrived, _ in reports]),
            tuple([self._under_way(window.index, now) for window in self._windows]),
            tuple([left for _, left in reports]),
            self._told,
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
        for window in self._windows:
            what = window.term.what
            costs = sum([cost.of(what) for cost in looked_at])
            waiting = costs * (len(queued) + more) / count
            amounts.append(round(waiting + window.departed * _AHEAD))
            heads.append(looked_at[0].of(what) if looked_at else 0)
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
        self._pause, self._told = None, ()
        mine = len(grant.amounts)
        for at, window in enumerate(self._windows):
            window.granted(grant.amounts[at] if at < mine else 0)
        # Its windows first, in its order: of a learned one even the length may have changed.
        for window, term, used in zip(self._windows[:mine], grant.terms, grant.used, strict=False):
            window.term, window.used = term, used
        for term, used in zip(grant.terms[mine:], grant.used[mine:], strict=True):
            self._adopt(term, grant.terms).used = used

    def failed(self, now: float) -> None:
        """The account did not answer: nobody knows what it entered, so what was leased is lost."""
        self._last, self._asking = now, None
        self._again = _AFTER_A_LOSS
        self._valid = float("-inf")
        self._news, self._told = self._news or self._told, ()
        for window in self._windows:
            window.failed()

    def _adopt(self, term: Term, told: Sequence[Term]) -> LeasedWindow:
        """A window as it is in force; what is learned anew takes the place of what was learned before.

        That is one of the same quantity which is not among all that is `told`: of one quantity a provider may
        state several (by the minute and by the day).
        """
        known = next((each for each in self._windows if each.term.same(term)), None)
        if known is None and term.learned:
            before = [each for each in self._windows if each.term.what == term.what and each.term.learned]
            gone = [each for each in before if not each.own and not any(map(each.term.same, told))]
            known = gone[0] if gone else None
        if known is not None:
            if not known.own:
                known.term = term
            return known
        window = LeasedWindow(term, own=False)
        for step, amounts in self._history or ():
            if amounts[window.index]:
                window.arrive((step + 1) * _STEP, amounts[window.index])
        self._windows.append(window)
        return window

    def _remember(self, latest: float, amounts: Amounts, now: float) -> None:
        history = self._history
        assert history is not None
        step = floor(latest / _STEP)
        if history and history[-1][0] >= step:
            for index, amount in enumerate(amounts):
                history[-1][1][index] += amount
        else:
            history.append((step, list(amounts)))
            while history[0][0] * _STEP < now - _REMEMBERED:
                history.popleft()

    def _under_way(self, index: int, now: float) -> tuple[Amount, ...]:
        late = self._grain + self._transit - now
        return tuple(
            [
                Amount(number * self._grain + late, bucket[index + 1])
                for number, bucket in self._out.items()
                if bucket[index + 1]
            ]
        )

    def _ended(self, taken: Lease) -> bool:
        """Whether it was still under way, as far as the account is told."""
        bucket = self._out.get(taken.bucket)
        if bucket is None:
            return False
        bucket[0] -= 1
        for index, amount in enumerate(taken.amounts, 1):
            bucket[index] -= amount
        if not bucket[0]:
            del self._out[taken.bucket]
        return True
