"""One sliding window over one quantity, with entries that leave late rather than early."""

from __future__ import annotations

from collections import deque

from fastbatch.models.stats import Saturation


class Entry:
    """What one request takes of one window."""

    __slots__ = ("amount", "moved", "sent")

    def __init__(self, amount: int, sent: float) -> None:
        self.amount = amount
        self.sent = sent
        self.moved = False  # it left the window, or its arrival is known and stands in `_arrived`


class SlidingWindow:
    """At most `limit` units may arrive at the server in any `per` seconds.

    Two queues, each in the order of leaving, keep every operation O(1) amortised: `_sent` holds requests in
    the order of sending, due to leave `transit + per` later; one whose reply comes before `transit` is over
    has certainly arrived by then and moves to `_arrived`, due `per` after its reply. All times are seconds of
    one monotonic clock and never go back.
    """

    __slots__ = ("_arrived", "_sent", "_transit", "limit", "name", "per", "used")

    def __init__(self, name: str, limit: int, per: float, transit: float) -> None:
        self.name = name
        self.limit = limit
        self.per = per
        self.used = 0
        self._transit = transit
        self._sent: deque[Entry] = deque()
        self._arrived: deque[tuple[float, int]] = deque()

    def forget(self, now: float) -> None:
        """Let go of every entry whose latest arrival lies a whole window back."""
        arrived, sent = self._arrived, self._sent
        while arrived and arrived[0][0] <= now:
            self.used -= arrived.popleft()[1]
        while sent:
            entry = sent[0]
            if not entry.moved:
                if entry.sent + self._transit + self.per > now:
                    break
                self.used -= entry.amount
                entry.moved = True
            sent.popleft()

    def fits(self, amount: int) -> bool:
        """Whether `amount` more may leave now (call `forget` first)."""
        return self.used + amount <= self.limit or (amount > self.limit and self.used == 0)

    def take(self, amount: int, now: float) -> Entry:
        """Count a request that leaves now."""
        entry = Entry(amount, now)
        self.used += amount
        self._sent.append(entry)
        return entry

    def settle(self, entry: Entry, amount: int, now: float) -> None:
        """A reply came: the request arrived by `now` at the latest and counts as `amount` from here on."""
        if entry.moved:
            return
        self.used += amount - entry.amount
        entry.amount = amount
        if now < entry.sent + self._transit:
            entry.moved = True
            self._arrived.append((now + self.per, amount))

    def next_change(self) -> float:
        """When the oldest entry leaves at the latest; infinity where there is none (call `forget` first)."""
        due = self._arrived[0][0] if self._arrived else float("inf")
        return min(due, self._sent[0].sent + self._transit + self.per) if self._sent else due

    def saturation(self) -> Saturation:
        """How full the window is (call `forget` first)."""
        return Saturation(self.name, self.used, self.limit, self.per)
