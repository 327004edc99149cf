"""What one process has of one shared window: what arrived, what is on its way, and what was leased to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any


class Holding:
    """Amounts by the tick at which they leave the window; ticks are counted by the window.

    Attributes:
        lease: granted, and perhaps used by now.
        lapses: the tick at which a lease that nobody gave back has left the window for certain.
        want, head: what it would use at once, and what the first of its requests needs.
        stated: the limit that its user declared, 0 for none.
    """

    __slots__ = (
        "_amounts",
        "_arrived",
        "_first",
        "_out",
        "_out_ticks",
        "_under_way",
        "head",
        "lapses",
        "lease",
        "stated",
        "want",
    )

    def __init__(self) -> None:
        # A dense list from tick `_first` on: JSON of small numbers, and O(1) for each tick that passes.
        self._first = 0
        self._amounts: list[int] = []
        self._arrived = 0
        # What has no reply yet, in the order of leaving.
        self._out: list[int] = []
        self._out_ticks: list[int] = []
        self._under_way = 0
        self.lease = 0
        self.lapses = 0
        self.want = 0
        self.head = 0
        self.stated = 0

    def add(self, tick: int, amount: int) -> None:
        """Something arrived that leaves at `tick`."""
        amounts = self._amounts
        if not amounts:
            self._first = tick
            amounts.append(0)
        at = tick - self._first
        if at < 0:
            amounts[:0] = [0] * -at
            self._first, at = tick, 0
        elif at >= len(amounts):
            amounts.extend([0] * (at + 1 - len(amounts)))
        amounts[at] += amount
        self._arrived += amount

    def replace_out(self, amounts: dict[int, int]) -> None:
        """What has left and has no reply yet, by the tick at which it leaves the window."""
        self._out_ticks = sorted(amounts)
        self._out = [amounts[tick] for tick in self._out_ticks]
        self._under_way = sum(self._out)

    def leave(self, tick: int) -> None:
        """Let go of everything that has left by `tick`."""
        if self._amounts and self._first <= tick:
            gone = min(tick + 1 - self._first, len(self._amounts))
            self._arrived -= sum(self._amounts[:gone])
            del self._amounts[:gone]
            self._first += gone
        if self._out_ticks and self._out_ticks[0] <= tick:
            gone = bisect_right(self._out_ticks, tick)
            self._under_way -= sum(self._out[:gone])
            del self._out[:gone], self._out_ticks[:gone]
        if self.lease and self.lapses <= tick:
            self.lease = 0

    @property
    def used(self) -> int:
        """What counts in the window now, the lease included (call `leave` first)."""
        return self._arrived + self._under_way + self.lease

    def leaving(self, until: int) -> int:
        """How much of it leaves by the tick `until`."""
        gone = sum(self._amounts[: max(until + 1 - self._first, 0)])
        gone += sum(self._out[: bisect_right(self._out_ticks, until)])
        return gone + (self.lease if self.lapses <= until else 0)

    def moved(self, leaves: Callable[[int], int]) -> Holding:
        """The same in other ticks."""
        moved = Holding()
        for at, amount in enumerate(self._amounts):
            if amount:
                moved.add(leaves(self._first + at), amount)
        out: dict[int, int] = {}
        for tick, amount in zip(self._out_ticks, self._out, strict=True):
            out[leaves(tick)] = out.get(leaves(tick), 0) + amount
        moved.replace_out(out)
        moved.lease, moved.lapses = self.lease, leaves(self.lapses)
        moved.want, moved.head, moved.stated = self.want, self.head, self.stated
        return moved

    def shift(self, ticks: int) -> None:
        """The clock was set: everything leaves as much later as before."""
        self._first += ticks
        self.lapses += ticks
        self._out_ticks = [tick + ticks for tick in self._out_ticks]

    def to_list(self) -> list[Any]:
        """For JSON."""
        return [
            self._first,
            self._amounts,
            self._out,
            self._out_ticks,
            self.lease,
            self.lapses,
            self.want,
            self.head,
            self.stated,
        ]

    @classmethod
    def from_list(cls, fields: list[Any]) -> Holding:
        """From JSON.

        Raises:
            ValueError, TypeError: it is something else.
        """
        holding = cls()
        (
            holding._first,
            holding._amounts,
            holding._out,
            holding._out_ticks,
            holding.lease,
            holding.lapses,
            holding.want,
            holding.head,
            holding.stated,
        ) = fields
        holding._arrived = sum(holding._amounts)
        holding._under_way = sum(holding._out)
        return holding
