"""One sliding window over one quantity, with entries that leave late rather than early."""

from __future__ import annotations

from collections import OrderedDict, deque

from fastbatch.models.stats import Saturation

# Arrivals that lie closer together than this part of the window leave as one, with the last of them: a window
# takes a fixed amount of memory at any rate, and gives up at most this share of its limit.
_GRAIN = 1 / 2000
# Of a window whose length is not known yet (infinite until then) a minute is taken for it.
_UNKNOWN = 60.0
_NEVER = float("inf")


class Entry:
    """What requests that left together take of one window, while they may not have arrived yet."""

    __slots__ = ("amount", "requests", "sent")

    def __init__(self, amount: int, sent: float, requests: int = 1) -> None:
        self.amount = amount
        self.sent = sent
        self.requests = requests  # of which nobody has heard


class Arrivals:
    """Arrivals that leave the window together, a window after the `last` of them."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, amount: int, moment: float) -> None:
        self.amount = amount
        self.first = moment
        self.last = moment


class SlidingWindow:
    """At most `limit` units may arrive at the server in any `per` seconds.

    Two queues, each in the order of leaving, keep every operation O(1): `_sent` holds requests in the order
    of sending, those that left together as one entry, due to leave `transit + per` later; one whose reply
    comes before `transit` is over has certainly arrived by then and moves to `_arrived`, due `per` after its
    reply. All times are seconds of one
    monotonic clock and never go back.
    """

    __slots__ = (
        "_arrived",
        "_began",
        "_ended",
        "_grain",
        "_sent",
        "_taken",
        "_transit",
        "due",
        "limit",
        "name",
        "per",
        "used",
    )

    def __init__(self, name: str, limit: int, per: float, transit: float) -> None:
        self.name = name
        self.limit = limit
        self.per = per
        self.used = 0
        self.due = _NEVER
        """Nothing leaves before; whoever looks earlier need not `forget`."""
        self._transit = transit
        self._grain = (per if per < float("inf") else _UNKNOWN) * _GRAIN
        self._sent: OrderedDict[Entry, None] = OrderedDict()
        self._arrived: deque[Arrivals] = deque()
        # For the share of the quota that was used: all that was let through, from when to when.
        self._taken = 0
        self._began: float | None = None
        self._ended = 0.0

    def forget(self, now: float) -> None:
        """Let go of every entry whose latest arrival lies a whole window back."""
        if now < self.due:
            return
        arrived, sent = self._arrived, self._sent
        while arrived and arrived[0].last + self.per <= now:
            self.used -= arrived.popleft().amount
        while sent:
            entry = next(iter(sent))
            if entry.sent + self._transit + self.per > now:
                break
            self.used -= entry.amount
            del sent[entry]
        self.due = self.next_change()

    def fits(self, amount: int) -> bool:
        """Whether `amount` more may leave now (call `forget` first)."""
        return self.used + amount <= self.limit or (amount > self.limit and self.used == 0)

    def take(self, amount: int, now: float, requests: int = 1) -> Entry:
        """Count requests that leave now, and take `amount` together."""
        entry = Entry(amount, now, requests)
        self.used += amount
        self._taken += amount
        if self._began is None:
            self._began = now
        self._ended = now
        if not self._sent:
            self.due = min(self.due, now + self._transit + self.per)
        self._sent[entry] = None
        return entry

    def settle(self, entry: Entry, amount: int, now: float) -> None:
        """A reply came: the request arrived by `now` at the latest and counts as `amount` from here on."""
        self.settle_part(entry, entry.amount, amount, now, entry.requests)

    def settle_part(self, entry: Entry, took: int, amount: int, now: float, requests: int = 1) -> None:
        """As `settle` for some of the requests of an entry: what `took` so much of it counts as `amount`."""
        if entry not in self._sent:
            return  # it left, a window after its latest possible arrival
        more = amount - took
        self.used += more
        self._taken += more
        if now >= entry.sent + self._transit:
            entry.amount += more
            return
        entry.amount -= took
        entry.requests -= requests
        if not entry.requests:
            del self._sent[entry]
        if amount:
            self._arrive(amount, now)

    def _arrive(self, amount: int, now: float) -> None:
        arrived = self._arrived
        if not arrived:
            self.due = min(self.due, now + self.per)
        elif now - (last := arrived[-1]).first < self._grain:
            last.amount += amount
            last.last = now
            return
        arrived.append(Arrivals(amount, now))

    def forgive(self, amount: int) -> None:
        """Let go of `amount` units before their time, those first that would leave first."""
        arrived, sent = self._arrived, self._sent
        while amount > 0 and (arrived or sent):
            oldest = next(iter(sent), None)
            if arrived and (oldest is None or arrived[0].last <= oldest.sent + self._transit):
                taken = min(amount, arrived[0].amount)
                arrived[0].amount -= taken
                if not arrived[0].amount:
                    arrived.popleft()
            elif oldest is not None and oldest.amount <= amount:
                taken = oldest.amount
                del sent[oldest]
            else:
                return  # half a request that is under way cannot be let go of
            amount -= taken
            self.used -= taken

    def respan(self, per: float) -> None:
        """The window is `per` seconds long, also for what is in it."""
        self.per = per
        self._grain = (per if per < float("inf") else _UNKNOWN) * _GRAIN
        self.due = self.next_change()

    def next_change(self) -> float:
        """When the oldest entry leaves at the latest; infinity where there is none (call `forget` first)."""
        due = self._arrived[0].last + self.per if self._arrived else float("inf")
        return min(due, next(iter(self._sent)).sent + self._transit + self.per) if self._sent else due

    def saturation(self) -> Saturation:
        """How full the window is (call `forget` first)."""
        return Saturation(self.name, self.used, self.limit, self.per, self.utilisation())

    def utilisation(self) -> float | None:
        """The share of limit × time that was let through, from the first request to a window after the last.

        None within the first window, of which it would say nothing.
        """
        if self._began is None or self._ended - self._began < self.per:
            return None
        return self._taken / (self.limit * ((self._ended - self._began) / self.per + 1.0))
