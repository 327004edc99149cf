"""The cap of one manager, which all of its runs, in whatever loop or thread, keep together."""

from __future__ import annotations

from threading import Lock

from fastbatch.pricing.cap import Cap


class Purse:
    """A cap and its lock; take `lock` for every look at it."""

    def __init__(self, limit: int) -> None:
        self.lock = Lock()
        self.cap = Cap(limit)

    def begin(self, spent: int, doubtful: int) -> None:
        """An output that a run goes on with has cost so much before, and at most so much nobody knows of."""
        with self.lock:
            self.cap.spent += spent + doubtful
            self.cap.doubtful += doubtful
