"""One sliding window over one quantity, with entries that leave late rather than early."""

from __future__ import annotations

from collections import OrderedDict, deque

from fastbatch.models.stats import Saturation

# Arrivals that lie closer together than this part of the window leave as one, with the last of them: a window
# takes a fixed amount of memory at any rate, and gives up at most this share of its limit.
_GRAIN = 1 / 2000


class Entry:
    """What one request takes of one window, while it may not have arrived yet."""

    __slots__ = ("amount", "sent")

    def __init__(self, amount: int, sent: float) -> None:
        self.amount = amount
        self.sent = sent


class Arrivals:
    """Arrivals that leave the window together: `due` is when, `first` when the first of them arrived."""

    __slots__ = ("amount", "due", "first")

    def __init__(self, amount: int, first: float, due: float) -> None:
        self.amount = amount
        self.first = first
        self.due = due


class SlidingWindow:
    """At most `limit` units may arrive at the server in any `per` seconds.

    Two queues, each in the order of leaving, keep every operation O(1): `_sent` holds requests in the order
    of sending, due to leave `transit + per` later; one whose reply comes before `transit` is over has
    certainly arrived by then and moves to `_arrived`, due `per` after its reply. All times are seconds of one
    monotonic clock and never go back.
    """

    __slots__ = ("_arrived", "_grain", "_sent", "_transit", "limit", "name", "per", "used")

    def __init__(self, name: str, limit: int, per: float, transit: float) -> None:
        self.name = name
        self.limit = limit
        self.per = per
        self.used = 0
        self._transit = transit
        self._grain = per * _GRAIN
        self._sent: OrderedDict[Entry, None] = OrderedDict()
        self._arrived: deque[Arrivals] = deque()

    def forget(self, now: float) -> None:
        """Let go of every entry whose latest arrival lies a whole window back."""
        arrived, sent = self._arrived, self._sent
        while arrived and arrived[0].due <= now:
            self.used -= arrived.popleft().amount
        while sent:
            entry = next(iter(sent))
            if entry.sent + self._transit + self.per > now:
                break
            self.used -= entry.amount
            del sent[entry]

    def fits(self, amount: int) -> bool:
        """Whether `amount` more may leave now (call `forget` first)."""
        return self.used + amount <= self.limit or (amount > self.limit and self.used == 0)

    def take(self, amount: int, now: float) -> Entry:
        """Count a request that leaves now."""
        entry = Entry(amount, now)
        self.used += amount
        self._sent[entry] = None
        return entry

    def settle(self, entry: Entry, amount: int, now: float) -> None:
        """A reply came: the request arrived by `now` at the latest and counts as `amount` from here on."""
        if entry not in self._sent:
            return  # it left, a window after its latest possible arrival
        self.used += amount - entry.amount
        entry.amount = amount
        if now < entry.sent + self._transit:
            del self._sent[entry]
            if amount:
                self._arrive(amount, now)

    def _arrive(self, amount: int, now: float) -> None:
        last = self._arrived[-1] if self._arrived else None
        if last is not None and now - last.first < self._grain:
            last.amount += amount
            last.due = now + self.per
        else:
            self._arrived.append(Arrivals(amount, now, now + self.per))

    def next_change(self) -> float:
        """When the oldest entry leaves at the latest; infinity where there is none (call `forget` first)."""
        due = self._arrived[0].due if self._arrived else float("inf")
        return min(due, next(iter(self._sent)).sent + self._transit + self.per) if self._sent else due

    def saturation(self) -> Saturation:
        """How full the window is (call `forget` first)."""
        return Saturation(self.name, self.used, self.limit, self.per)
