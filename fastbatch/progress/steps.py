"""When a line about a file on its way is due: after each quarter of it."""

from __future__ import annotations

from fastbatch.engine.events import Fetching

__all__ = ["Steps"]

_QUARTERS = 4
_BYTES = 25_000_000  # a step where the size is unknown


class Steps:
    """Lets a file's first news, every quarter's and the last through (25 MB where the size is unknown)."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None

    def due(self, event: Fetching) -> bool:
        """Whether to tell this one."""
        if event.finished:
            self._said = None
            return True
        step = event.done * _QUARTERS // event.total if event.total else event.done // _BYTES
        if self._said == (event.what, step):
            return False
        self._said = (event.what, step)
        return True
