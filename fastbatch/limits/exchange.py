"""What a process and the account of several processes tell each other.

All times in here are seconds from the moment at which the report was made, negative ones before it. Clocks
of different machines are therefore never compared: the account reads a report a little later than it was
made and takes everything in it for later than it was, and what it grants is over a little earlier than it
thinks. Both errors are on the safe side.
"""

from __future__ import annotations

from typing import NamedTuple

from fastbatch.limits.cost import Quantity


class Term(NamedTuple):
    """One window that is shared: at most `limit` of `what` in any `per` seconds.

    `learned` tells what a provider's headers said from what a user declared.
    """

    what: Quantity
    limit: int
    per: float
    learned: bool = False

    def same(self, other: Term) -> bool:
        """Whether both are about one window."""
        return self.what == other.what and self.per == other.per


class Seen(NamedTuple):
    """A state of the account; one that goes back behind a state that somebody saw has been lost."""

    birth: float
    serial: int


class Amount(NamedTuple):
    """So much, arriving at the server at this time at the latest."""

    latest: float
    amount: int


class Report(NamedTuple):
    """What a process did since its last exchange; whatever it held and does not mention is given back.

    Attributes:
        terms: the windows it keeps, in the order of the fields below and of the answer.
        arrived: for each window, what has arrived since the last report that was answered.
        out: for each window, everything that has left and has no reply; replaces what was reported before.
        unused: for each window, what is left of the last lease.
        news: all windows that are learned, when one of them is new or learned anew since the last report.
        pause: seconds for which nobody may send, and why; None for no pause.
        transit: seconds that a request may be on its way before the server counts it.
        seen: the account as it was in the last answer, None at the first exchange.
        leaving: the process wants nothing more.
    """

    terms: tuple[Term, ...]
    arrived: tuple[tuple[Amount, ...], ...]
    out: tuple[tuple[Amount, ...], ...]
    unused: tuple[int, ...]
    news: tuple[Term, ...] = ()
    pause: tuple[float, str] | None = None
    transit: float = 2.0
    seen: Seen | None = None
    leaving: bool = False


class Want(NamedTuple):
    """For each window: what those who wait would use at once, and what the first of them needs."""

    amounts: tuple[int, ...]
    heads: tuple[int, ...]


class Grant(NamedTuple):
    """What may leave until the next exchange.

    Attributes:
        amounts: for each window of the report.
        valid: nothing may leave under this grant after this.
        again: when to come again, if somebody waits.
        wait: when the first in the queue can leave, as far as is known now; 0 when it can at once.
        terms: all windows of the account with the limits in force, the report's first, in its order.
        used: for each of those, what counts as used, by everybody.
        pause: seconds for which nobody may send, and why; None for no pause.
        holders: processes that are active.
        seen: the account after this exchange.
    """

    amounts: tuple[int, ...]
    valid: float
    again: float
    wait: float
    terms: tuple[Term, ...]
    used: tuple[int, ...]
    pause: tuple[float, str] | None
    holders: int
    seen: Seen
