"""One window that several processes share: who has how much of it, and who may have more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import ceil, floor
from typing import Any

from fastbatch.limits.cost import Quantity
from fastbatch.limits.exchange import Amount
from fastbatch.limits.holding import Holding

# Arrivals leave together in ticks of this part of the window, with the last of them, so this bounds what is
# given up of a limit; but a tick takes some milliseconds at least, so that an account stays small.
_TICKS = 200
_SHORTEST_TICK = 0.005
# Of a tick: far more than floating point loses in a sum of times, far less than a request's way.
_HAIR = 1e-3

_LONGEST_WAY = 60.0  # seconds; only bounds a search

LOST = "?"
"""Stands for everybody whose use of a lost account is unknown; no holder is called so."""


class SharedWindow:
    """Law: what has left, is on its way or is leased counts until one window after its latest arrival.

    A lease is therefore granted only where the limit has room for all of it, whatever becomes of who holds
    it, and in every sliding window of the server at most the limit arrives.

    When not everybody can have what it wants, each may use as much of the window as the others; who wants
    less than that leaves the rest to the others (max-min).
    """

    def __init__(self, what: Quantity, per: float, learned: int = 0) -> None:
        self.what = what
        self.per = per
        self.learned = learned
        self.holdings: dict[str, Holding] = {}
        self._tick = max(per / _TICKS, _SHORTEST_TICK)
        self._span = ceil(per / self._tick - _HAIR)

    def limit(self, active: Collection[str]) -> int:
        """The limit in force: the lowest that an active process declared, else what was learned last."""
        stated = [
            holding.stated for name, holding in self.holdings.items() if holding.stated and name in active
        ]
        return min(stated) if stated else self.learned

    def leaves(self, latest: float) -> int:
        """The tick at which something leaves that arrived at `latest`, at the latest."""
        return ceil(latest / self._tick + _HAIR) + self._span

    def forget(self, now: float, active: Collection[str]) -> None:
        """Let go of what has left the window, and of those who left and have nothing in it any more."""
        tick = floor(now / self._tick)
        for name, holding in list(self.holdings.items()):
            holding.leave(tick)
            if name not in active and not holding.used:
                del self.holdings[name]

    def used(self) -> int:
        """What counts as used, by everybody (call `forget` first)."""
        return sum([holding.used for holding in self.holdings.values()])

    def hear(
        self, holder: str, now: float, arrived: Iterable[Amount], out: Iterable[Amount], unused: int
    ) -> float:
        """Enter a report; what the holder had leased it has given back, or it is in the report.

        Returns:
            The share of the limit that it has used of its lease.
        """
        holding = self.holdings.get(holder)
        if holding is None:
            holding = self.holdings[holder] = Holding()
        tick = floor(now / self._tick)
        for latest, amount in arrived:
            # Nothing that has a reply arrived later than now, whatever the clocks say.
            leaves = self.leaves(now + min(latest, 0.0))
            if leaves > tick and amount:
                holding.add(leaves, amount)
        under_way: dict[int, int] = {}
        for latest, amount in out:
            leaves = self.leaves(now + latest)
            if leaves > tick and amount:
                under_way[leaves] = under_way.get(leaves, 0) + amount
        holding.replace_out(under_way)
        spent, holding.lease = holding.lease - unused, 0
        return max(spent, 0) / max(self.limit(self.holdings), 1)

    def fill(self, latest: float, active: Collection[str]) -> None:
        """Nobody knows what was used: all of it, until one window after `latest`."""
        lost = self.holdings.setdefault(LOST, Holding())
        lost.replace_out({self.leaves(latest): self.limit(active)})

    def share(self, active: Collection[str], now: float) -> int:
        """What each active process may use of the window, so that all who want more have the same."""
        tick = floor(now / self._tick)
        away, demands = 0, [0]
        for name, holding in self.holdings.items():
            if name in active:
                demands.append(holding.used + holding.demand(tick))
            else:
                away += holding.used
        return ceil(_level(self.limit(active) - away, demands))

    def has_room(self, holder: str, share: int) -> bool:
        """Whether somebody has less than its share."""
        holding = self.holdings.get(holder)
        return holding is None or holding.used < share

    def claim(self, holder: str, share: int) -> int:
        """What to keep free for somebody who waits and is to be served first."""
        holding = self.holdings.get(holder)
        if holding is None:
            return 0
        return max(holding.head, min(holding.want, share - holding.used))

    def grant(self, holder: str, active: Collection[str], share: int, claimed: int) -> int:
        """How much `holder` may use of what it wants, 0 where that would not let its first request leave."""
        holding = self.holdings[holder]
        want, head = max(holding.want, holding.head), holding.head
        limit, mine = self.limit(active), holding.used
        free = limit - self.used() - claimed
        if head > limit:  # larger than the window: only when that is empty, and then it takes all of it
            return limit if free >= limit else 0
        if mine >= share:
            return 0
        # Whoever has less than its share may go beyond it by one request, which is held against it later on:
        # else what lies between the shares and whole requests would be nobody's.
        granted = min(want, free, max(share - mine, head))
        return granted if granted >= head else 0

    def lease(self, holder: str, amount: int, latest: float, now: float) -> None:
        """What was granted counts as used, until it is reported or has left for certain."""
        holding = self.holdings[holder]
        holding.lease, holding.lapses = amount, self.leaves(latest)
        if amount < holding.want:
            holding.hungry = floor(now / self._tick) + self._span

    def free_at(self, amount: int, active: Collection[str], now: float) -> float:
        """When `amount` will be free at the latest, if nobody takes more meanwhile."""
        limit = self.limit(active)
        need = min(amount, limit) - (limit - self.used())
        if need <= 0:
            return now
        # By halves, since what leaves by a tick is quickly added up.
        early = floor(now / self._tick)
        late = early + 2 * self._span + ceil(_LONGEST_WAY / self._tick)
        while late - early > 1:
            middle = (early + late) // 2
            if sum([holding.leaving(middle) for holding in self.holdings.values()]) >= need:
                late = middle
            else:
                early = middle
        return late * self._tick

    def shift(self, seconds: float) -> None:
        """The clock was set back or ahead by `seconds`."""
        ticks = ceil(seconds / self._tick)
        for holding in self.holdings.values():
            holding.shift(ticks)

    def to_list(self) -> list[Any]:
        """For JSON."""
        held = {name: holding.to_list() for name, holding in self.holdings.items()}
        return [self.what, self.per, self.learned, held]

    @classmethod
    def from_list(cls, fields: list[Any]) -> SharedWindow:
        """From JSON.

        Raises:
            ValueError, TypeError: it is something else.
        """
        what, per, learned, held = fields
        window = cls(what, per, learned)
        window.holdings = {name: Holding.from_list(each) for name, each in held.items()}
        return window


def _level(total: int, demands: list[int]) -> float:
    """The most that each may have of `total`, where that is not enough for all of them."""
    left, count = float(max(total, 0)), len(demands)
    for demand in sorted(demands):
        if demand * count > left:
            return left / count
        left -= demand
        count -= 1
    return float(max(demands))
