"""The cap of one manager, which all of its runs, in whatever loop or thread, keep together."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from threading import Lock

from fastbatch.errors import ConfigError
from fastbatch.pricing.cap import Cap
from fastbatch.pricing.money import picos


class Purse:
    """A cap and its lock; take `lock` for every look at it."""

    def __init__(self, limit: int) -> None:
        self.lock = Lock()
        self.cap = Cap(limit)
        self._outputs: dict[Path, int] = {}  # what each has cost, as far as the cap knows of it

    @classmethod
    def of(cls, budget: Decimal | float | str) -> Purse:
        """A purse with so many US dollars in it.

        Raises:
            ConfigError: that is no amount.
        """
        try:
            limit = -1 if isinstance(budget, bool) else picos(str(budget))
        except ValueError:
            limit = -1
        if limit < 0:
            raise ConfigError("must be a number of US dollars, 0 or more", key="budget_usd", value=budget)
        return cls(limit)

    def begin(self, output: Path, spent: int, doubtful: int) -> None:
        """A run goes on with an output that has cost so much, and at most so much that nobody knows of.

        What runs of this purse had spent for it is in the cap already.
        """
        with self.lock:
            known = self._outputs.get(output)
            if known is not None:
                spent, doubtful = max(0, spent - known), 0
            self.cap.spent += spent + doubtful
            self.cap.doubtful += doubtful
            self._outputs[output] = (known or 0) + spent

    def spend(self, output: Path, picos: int) -> None:
        """A run has spent so much for an output, as its lines say; the cap knows it."""
        with self.lock:
            self._outputs[output] = self._outputs.get(output, 0) + picos

    def beside(self) -> tuple[int, int]:
        """What no answer tells of: what may have been billed, and what is held for what is on its way."""
        with self.lock:
            return self.cap.doubtful, self.cap.held
