"""A cap on what is spent: the worst case of every request is set aside before it is sent."""

from __future__ import annotations


class Cap:
    """Keeps `spent + held` within `limit`; all amounts are pico-dollars.

    A request holds its worst case from before it is sent until its end is known: then what it really cost is
    spent and the rest is free again. What may have been billed although no answer came stays as if it had
    been spent in full, for nobody will ever say.

    Attributes:
        limit: what may be spent.
        spent: what was, the worst case of what may have been billed included.
        doubtful: that part of it.
        held: set aside for what is on its way.
    """

    def __init__(self, limit: int, spent: int = 0) -> None:
        self.limit = limit
        self.spent = spent
        self.doubtful = 0
        self.held = 0

    @property
    def left(self) -> int:
        """What can still be set aside now."""
        return self.limit - self.spent - self.held

    def hold(self, worst: int) -> bool:
        """Set aside the worst case of a request; False where it is more than what is left."""
        if worst > self.limit - self.spent - self.held:
            return False
        self.held += worst
        return True

    def fits_later(self, worst: int) -> bool:
        """Whether it would fit if all that is on its way cost nothing."""
        return worst <= self.limit - self.spent

    def settle(self, worst: int, cost: int) -> None:
        """A request that held so much has cost so much."""
        self.held -= worst
        self.spent += cost

    def doubt(self, worst: int) -> None:
        """A request that held so much has no answer, and may have been billed."""
        self.held -= worst
        self.spent += worst
        self.doubtful += worst

    def release(self, worst: int) -> None:
        """A request that held so much cost nothing."""
        self.held -= worst
