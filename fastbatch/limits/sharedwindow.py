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

# Of a limit, for all together, in one round. One that could take everything that is free whenever it comes
# would have more than the others, who can ask for no more than they have in flight at once.
_ROUND = 1 / 10

_LONGEST_WAY = 60.0  # seconds; only bounds a search

LOST = "?"
"""Stands for everybody whose use of a lost account is unknown; no holder is called so."""


class SharedWindow:
    """Law: what has left, is on its way or is leased counts until one window after its latest arrival.

    A lease is therefore granted only where the limit has room for all of it, whatever becomes of who holds
    it, and in every sliding window of the server at most the limit arrives.

    When several want something, they have it in rounds, a part of the window each; whose turn it is the
    account says.
    """

    def __init__(self, what: Quantity, per: float, learned: int = 0) -> None:
        self.what = what
        self.per = per
        self.learned = learned
        self.holdings: dict[str, Holding] = {}
        self._measure()

    def _measure(self) -> None:
        self._tick = max(self.per / _TICKS, _SHORTEST_TICK)
        self._span = ceil(self.per / self._tick - _HAIR)

    def respan(self, per: float) -> None:
        """It was learned that the window is shorter, or longer; what is in it stays as long as that says."""
        span, tick = self._span, self._tick
        self.per = per
        self._measure()
        self.holdings = {
            name: holding.moved(lambda leaves: self.leaves((leaves - span) * tick))
            for name, holding in self.holdings.items()
        }

    def is_declared(self, active: Collection[str]) -> bool:
        """Whether a user of an active process declared it."""
        return any(holding.stated for name, holding in self.holdings.items() if name in active)

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

    def claim(self, holder: str, active: Collection[str], rivals: int) -> int:
        """What to keep free for somebody who waits and is to be served first."""
        holding = self.holdings.get(holder)
        return 0 if holding is None else min(holding.want, self._round(holding, active, rivals))

    def grant(self, holder: str, active: Collection[str], rivals: int, claimed: int) -> int:
        """How much `holder` may use of what it wants, 0 where that would not let its first request leave.

        `rivals` others want something, and `claimed` is kept for those of them who are to be served first.
        """
        holding = self.holdings[holder]
        limit = self.limit(active)
        free = limit - self.used() - claimed
        if (
            holding.head > limit
        ):  # larger than the window: only when that is empty, and then it takes all of it
            return limit if free >= limit else 0
        granted = min(holding.want, free, self._round(holding, active, rivals))
        return granted if granted >= holding.head else 0

    def _round(self, holding: Holding, active: Collection[str], rivals: int) -> int:
        """The most that one may have before it is somebody else's turn."""
        if not rivals:
            return holding.want
        return max(holding.head, ceil(self.limit(active) * _ROUND / (rivals + 1)))

    def lease(self, holder: str, amount: int, latest: float) -> float:
        """What was granted counts as used, until it is reported or has left for certain.

        Returns:
            Its share of the limit.
        """
        holding = self.holdings[holder]
        holding.lease, holding.lapses = amount, self.leaves(latest)
        return amount / max(self.limit(self.holdings), 1)

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
