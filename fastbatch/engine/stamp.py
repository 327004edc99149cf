"""When a record was made, as text that is made once a second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stamp:
    """The moment in UTC, to the second.

    Args:
        wall: seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._second = -1
        self._text = ""

    def now(self) -> str:
        """`2026-11-21T07:29:41Z`."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        return self._text
