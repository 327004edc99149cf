"""The cap of one manager, which all of its runs, in whatever loop or thread, keep together."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from fastbatch.errors import ConfigError, RunStopped
from fastbatch.models.money import dollars
from fastbatch.pricing.cap import Cap
from fastbatch.pricing.money import picos

# Without what people and programs read in several ways: `1_000`, `1,000`, the digits of other scripts.
_DOLLARS = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


_USED_UP = 20  # a cap of which less than this part is left


class Spent(NamedTuple):
    """How a cap is, in pico-dollars; see `Cap`."""

    limit: int
    spent: int
    doubtful: int
    held: int

    @property
    def used_up(self) -> bool:
        """Whether next to nothing is left."""
        return (self.limit - self.spent) * _USED_UP <= self.limit


class _Guarded:
    """A cap that one thread at a time has in its hands; as a class, for it is taken several times a row."""

    __slots__ = ("_cap", "_lock")

    def __init__(self, cap: Cap, lock: Lock) -> None:
        self._cap = cap
        self._lock = lock

    def __enter__(self) -> Cap:
        self._lock.acquire()
        return self._cap

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Purse:
    """A cap that several threads share.

    Whoever finds too little in it may stand in line, and has a `ticket` then: nobody gets anything before the
    first in line, who is told whenever there may be more.
    """

    def __init__(self, limit: int) -> None:
        self._lock = Lock()
        self._guarded = _Guarded(Cap(limit), self._lock)
        self._line: dict[object, Callable[[], object]] = {}  # by ticket, how each is told
        self._outputs: dict[Path, int] = {}  # what each has cost, as far as the cap knows of it

    def _opened(self) -> AbstractContextManager[Cap]:
        """The cap, to look at and to change."""
        return self._guarded

    def hold(self, worst: int, ticket: object = None) -> bool:
        """Set the worst case of a request aside; False where it is more than what is left, or others wait."""
        with self._opened() as cap:
            if self._line and next(iter(self._line)) is not ticket:
                return False
            return cap.hold(worst)

    def stand(self, ticket: object, ring: Callable[[], object]) -> None:
        """Stand in line; `ring` is called in any thread, and raises RuntimeError when nobody is there now."""
        with self._lock:
            self._line[ticket] = ring

    def leave(self, ticket: object) -> None:
        """Stand in line no more, whatever came of it."""
        with self._lock:
            if self._line.pop(ticket, None) is not None:
                self._ring()

    def _ring(self) -> None:
        while self._line:
            ticket, ring = next(iter(self._line.items()))
            try:
                ring()
            except RuntimeError:  # its loop was closed
                del self._line[ticket]
            else:
                return

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
            self._ring()

    def doubt(self, held: int) -> None:
        """A request that held so much has no answer, and may have been billed."""
        with self._opened() as cap:
            cap.doubt(held)
            self._ring()

    def release(self, held: int) -> None:
        """A request that held so much cost nothing."""
        with self._opened() as cap:
            cap.release(held)
            self._ring()

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


class OutOfMoney(RunStopped):
    """A run ended since what is left is less than its next request may cost, which is `least` pico-dollars.

    The same budget would end it again.
    """

    def __init__(self, purse: Purse, least: int) -> None:
        look = purse.look()
        limit, spent, doubtful, _ = map(dollars, look)
        may = f", of it up to ${doubtful:f} for requests that may have been billed" if doubtful else ""
        told = (
            f"the budget of ${limit:f} is used up: ${spent:f} are spent{may}, and the next request "
            f"may cost ${dollars(least):f}"
        )
        if not look.used_up:
            told = (
                f"what is left of the budget of ${limit:f}, ${limit - spent:f}, is less than the next "
                f"request may cost, ${dollars(least):f}; ${spent:f} are spent{may}"
            )
        super().__init__(f"Stopped: {told}. Run again with a larger budget to go on.")
        self.least = least
        self._purse = purse

    def now(self) -> OutOfMoney:
        """The same with the sums of now: what was on its way at its first word has ended since."""
        return OutOfMoney(self._purse, self.least)


def amount(budget: Decimal | float | str) -> int:
    """A budget in US dollars, in plain digits, as pico-dollars; whatever is more than 0 is not taken for it.

    Raises:
        ConfigError: it is none.
    """
    text = str(budget).strip()
    try:
        limit = picos(text) if _DOLLARS.fullmatch(text) and not isinstance(budget, bool) else None
    except ValueError:  # beyond all arithmetic
        limit = None
    if limit is None:
        raise ConfigError(
            "must be a number of US dollars, 0 or more, such as 1000 or 0.25", key="budget_usd", value=budget
        )
    if not limit and Decimal(text):
        raise ConfigError(
            "is less than can be counted, which is $0.000000000001", key="budget_usd", value=budget
        )
    return limit
