"""The cap of one manager, which all of its runs, in whatever loop or thread, keep together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from fastbatch.errors import ConfigError
from fastbatch.pricing.cap import Cap
from fastbatch.pricing.money import picos


class Spent(NamedTuple):
    """How a cap is, in pico-dollars; see `Cap`."""

    limit: int
    spent: int
    doubtful: int
    held: int


class Purse:
    """A cap that several threads share."""

    def __init__(self, limit: int) -> None:
        self._lock = Lock()
        self._cap = Cap(limit)
        self._outputs: dict[Path, int] = {}  # what each has cost, as far as the cap knows of it

    @contextmanager
    def _opened(self) -> Iterator[Cap]:
        """The cap, to look at and to change."""
        with self._lock:
            yield self._cap

    def hold(self, worst: int) -> bool:
        """Set the worst case of a request aside; False where it is more than what is left."""
        with self._opened() as cap:
            return cap.hold(worst)

    def insist(self, worst: int) -> None:
        """Something is on its way already that costs at most so much, whatever is left."""
        with self._opened() as cap:
            cap.held += worst

    def fits_later(self, worst: int) -> bool:
        """Whether it would fit if all that is on its way cost nothing."""
        with self._opened() as cap:
            return cap.fits_later(worst)

    def settle(self, held: int, cost: int) -> None:
        """A request that held so much has cost so much."""
        with self._opened() as cap:
            cap.settle(held, cost)

    def doubt(self, held: int) -> None:
        """A request that held so much has no answer, and may have been billed."""
        with self._opened() as cap:
            cap.doubt(held)

    def release(self, held: int) -> None:
        """A request that held so much cost nothing."""
        with self._opened() as cap:
            cap.release(held)

    def look(self) -> Spent:
        """How it is."""
        with self._opened() as cap:
            return Spent(cap.limit, cap.spent, cap.doubtful, cap.held)

    def begin(self, output: Path, filed: int, beside: int) -> None:
        """A run goes on with an output whose records tell such costs, and that has cost so much beside them.

        What runs of this purse had spent for it is in the cap already.
        """
        with self._opened() as cap:
            known = self._outputs.get(output)
            more = max(0, filed + beside - (known or 0))
            cap.spent += more
            if known is None:
                cap.doubtful += beside
            self._outputs[output] = (known or 0) + more

    def spend(self, output: Path, cost: int) -> None:
        """A run has spent so much for an output; the cap knows it."""
        with self._lock:
            self._outputs[output] = self._outputs.get(output, 0) + cost


def amount(budget: Decimal | float | str) -> int:
    """A budget in US dollars as pico-dollars.

    Raises:
        ConfigError: it is none.
    """
    try:
        limit = -1 if isinstance(budget, bool) else picos(str(budget))
    except ValueError:
        limit = -1
    if limit < 0:
        raise ConfigError("must be a number of US dollars, 0 or more", key="budget_usd", value=budget)
    return limit
