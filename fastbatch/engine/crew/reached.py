"""Which endpoints have answered somebody of the crew: nobody else has to doubt their addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastbatch.engine.lane import Lane


class Reached:
    """What a member knows of that; endpoints go by the number of their lane, which is the same in each.

    Args:
        tell: is given the number of one that has answered here and, as far as is known, nobody before.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._known: set[int] = set()
        self._lanes: Sequence[Lane[Any]] = ()

    def begin(self, lanes: Sequence[Lane[Any]]) -> None:
        """These are the lanes here."""
        self._lanes = lanes
        for number in self._known:
            self._count(number)

    def hear(self, numbers: Iterable[int]) -> None:
        """These have answered other members."""
        for number in numbers:
            if number not in self._known:
                self._known.add(number)
                self._count(number)

    def look(self) -> None:
        """Tell which have answered since the last look."""
        for number, lane in enumerate(self._lanes):
            if number not in self._known:
                with lane.lock:
                    answered = lane.weather.answers > 0
                if answered:
                    self._known.add(number)
                    self._tell(number)

    def _count(self, number: int) -> None:
        """Another's answer counts here, too: it ends the short patience with what has never answered."""
        if self._lanes:
            lane = self._lanes[number]
            with lane.lock:
                lane.weather.answers += 1
