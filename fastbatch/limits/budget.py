"""The retry budget: how often something may be bought a second time."""

from __future__ import annotations

# The stated retries are always possible at the start, and a sick endpoint cannot double the bill.
AT_FIRST = 10.0
_EARNED = 0.1


class RetryBudget:
    """Retries of requests that may have been billed: ten at first, and one more for every ten answers.

    >>> budget = RetryBudget()
    >>> [budget.spend() for _ in range(11)].count(True)
    10
    """

    def __init__(self, first: float = AT_FIRST) -> None:
        self._left = first

    def earn(self, requests: int = 1) -> None:
        """So many requests were answered, and not with an error."""
        self._left += _EARNED * requests

    def spend(self) -> bool:
        """Take one retry; False when there is none."""
        if self._left < 1.0 - 1e-9:  # ten tenths are a hair less than one
            return False
        self._left -= 1.0
        return True
