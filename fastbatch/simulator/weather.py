"""What goes wrong for a while: which spells are in force, and whom they hit. Pure: `now` is passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastbatch.simulator.dice import WEATHER, chance
from fastbatch.simulator.spells import Spell


class Weather:
    """Which spells are in force, once the first request has come.

    A spell with a share hits a body's n-th arrival or not by its own dice (see `dice`). Memory: an entry for
    each distinct body that arrives during such a spell.
    """

    def __init__(self, spells: Iterable[Spell], seed: int) -> None:
        self.spells = tuple(spells)
        self._seed = seed
        self._began: float | None = None
        self._seen: dict[int, int] = {}

    def begin(self, now: float) -> None:
        """The first request came."""
        self._began = now

    def factor(self, now: float) -> float:
        """What the limits are multiplied by."""
        if not self.spells:
            return 1.0
        return math.prod(
            0.5 if spell.factor is None else spell.factor
            for spell in self._in_force(now)
            if spell.kind == "limits"
        )

    def strikes(self, key: int, now: float) -> Spell | None:
        """The spell that decides the fate of this arrival, the first declared; None: fair weather."""
        if not self.spells:
            return None
        for spell in self._in_force(now):
            if spell.kind == "limits":
                continue
            if spell.factor is None or spell.factor >= 1:
                return spell
            seen = self._seen.get(key, 0)
            self._seen[key] = seen + 1
            if chance(self._seed, WEATHER, key, seen) < spell.factor:
                return spell
        return None

    def _in_force(self, now: float) -> list[Spell]:
        if not self.spells or self._began is None:
            return []
        passed = now - self._began
        return [spell for spell in self.spells if spell.begins <= passed < spell.ends]
