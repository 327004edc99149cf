"""The account of limits that several processes share: a value that one at a time takes and changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fastbatch.limits.exchange import Grant, Report, Seen, Term, Want
from fastbatch.limits.sharedwindow import SharedWindow

_VERSION = 1

# Seconds between two exchanges of a process that uses its leases, for a window of `per` seconds: this part of
# it, within these bounds. What others give back is found that late, so it is a share of the limit.
_SHARE_OF_WINDOW = 1 / 100
_SOONEST, _LATEST = 0.025, 0.25
_AT_ONCE = 0.01  # where everybody had all that was wanted
_AT_REST = 1.0  # where nothing is wanted

# A lease outlives the next exchange, so that a busy loop may be late; what it has not used by then is lost
# for as long as the window.
_LEASE = 1 / 50
_SHORTEST_LEASE, _LONGEST_LEASE = 0.05, 1.0

_GRACE = 0.25  # seconds after which somebody who does not come as told is no longer waited for


class Turn:
    """Whose turn it is: what the account knows of one active process.

    Attributes:
        comes: when it comes again, at the latest.
        served: how much it has used, of the window of which that is the most, in limits; it counts from where
            the others stand who were busy when it began.
        charged: the part of that which is for its present lease, as if it used all of that.
        busy: it wanted something at its last exchange.
        waits: it was granted less than that.
    """

    __slots__ = ("busy", "charged", "comes", "served", "waits")

    def __init__(
        self,
        comes: float = float("inf"),
        served: float = 0.0,
        charged: float = 0.0,
        busy: bool = False,
        waits: bool = False,
    ) -> None:
        self.comes = comes
        self.served = served
        self.charged = charged
        self.busy = busy
        self.waits = waits

    def to_list(self) -> list[Any]:
        """For JSON."""
        return [self.comes, self.served, self.charged, self.busy, self.waits]


class LeaseBook:
    """Who has leased how much of which window; `exchange` is all there is to do with it.

    No clock: `now` is seconds of one that everybody who uses this account reads. It may be set back (a
    restart): then everything in the book counts as having happened that much later.

    >>> from fastbatch.limits.exchange import Report, Term, Want
    >>> book = LeaseBook(now=0.0)
    >>> report = Report((Term("requests", 10, 60.0),), arrived=((),), out=((),), unused=(0,))
    >>> book.exchange(0.0, "one", report, Want((4,), (1,))).amounts
    (4,)
    >>> LeaseBook.from_bytes(book.to_bytes()).exchange(0.1, "two", report, Want((9,), (6,))).amounts
    (6,)
    """

    def __init__(self, now: float, *, lost: bool = False) -> None:
        self.birth = now
        self.serial = 0
        self._now = now
        self._lost = lost
        self._windows: list[SharedWindow] = []
        self._turns: dict[str, Turn] = {}
        self._paused = (now, "")

    @property
    def keep(self) -> float:
        """Seconds for which the book means something after its last exchange."""
        longest = max([window.per for window in self._windows], default=60.0)
        return max(2 * longest, self._paused[0] - self._now) + 60.0

    def exchange(self, now: float, holder: str, report: Report, want: Want) -> Grant:
        """Enter what `holder` reports, take back what it had leased, and lease it what it may have now."""
        if now < self._now:
            self.move(now)
        self._now = now
        if report.seen is not None:
            self._compare(report.seen, now)
        self.serial += 1
        if report.pause is not None and now + report.pause[0] > self._paused[0]:
            self._paused = (now + report.pause[0], report.pause[1])
        for name, known in list(self._turns.items()):
            if known.comes + _GRACE < now:
                del self._turns[name]
        turn = self._turns.setdefault(holder, Turn())
        windows, rest = self._hear(now, holder, report, want, turn)
        if report.leaving:
            del self._turns[holder]
        for window in self._windows:
            window.forget(now, self._turns)
        granted = [0] * len(windows) if report.leaving else self._grant(now, holder, turn, windows)
        shortest = min([term.per for term in report.terms], default=60.0)
        valid = min(max(shortest * _LEASE, _SHORTEST_LEASE), _LONGEST_LEASE)
        wait = now
        turn.charged = 0.0
        for at, window in enumerate(windows):
            share = window.lease(holder, granted[at], now + valid + report.transit)
            turn.charged = max(turn.charged, share)
            if turn.waits and not granted[at]:
                wait = max(wait, window.free_at(want.heads[at], self._turns, now))
        turn.served += turn.charged
        again = min(max(shortest * _SHARE_OF_WINDOW, _SOONEST), _LATEST)
        if all(much >= wanted for much, wanted in zip(granted, want.amounts, strict=True)):
            turn.comes = now + _LATEST
            again = _AT_ONCE if any(granted) else _AT_REST
        else:
            turn.comes = now + again
        paused = self._paused[0] - now
        return Grant(
            tuple(granted),
            valid,
            again,
            wait - now,
            tuple(
                [
                    Term(each.what, each.limit(self._turns), each.per, not each.is_declared(self._turns))
                    for each in (*windows, *rest)
                ]
            ),
            tuple([each.used() for each in (*windows, *rest)]),
            (paused, self._paused[1]) if paused > 0 else None,
            len(self._turns),
            Seen(self.birth, self.serial),
        )

    def _grant(self, now: float, holder: str, turn: Turn, windows: list[SharedWindow]) -> list[int]:
        """What `holder` may use of each of its windows: of all of them, or of none.

        Who waits and has used the least comes first. That is one order for all windows, or two processes
        could each wait for what is kept for the other one.
        """
        wants = [window.holdings[holder].want for window in windows]
        if not any(wants):
            turn.busy = turn.waits = False
            return [0] * len(windows)
        others = {name: each for name, each in self._turns.items() if name != holder and each.busy}
        if others and not turn.busy:
            # Who comes to where others are busy has no claim to what it did not want before.
            turn.served = max(turn.served, min([each.served for each in others.values()]))
        turn.busy = True
        first = [
            name
            for name, each in others.items()
            if each.waits and (each.served, name) < (turn.served, holder)
        ]
        granted = []
        for window in windows:
            claimed = sum([window.claim(name, self._turns, len(others)) for name in first])
            granted.append(window.grant(holder, self._turns, len(others), claimed))
        turn.waits = any(much < wanted for much, wanted in zip(granted, wants, strict=True))
        if any(wanted and not much for much, wanted in zip(granted, wants, strict=True)):
            return [0] * len(windows)
        return granted

    def move(self, now: float) -> None:
        """Take `now` for the moment of the last exchange: everything in the book happened that much later."""
        seconds = now - self._now
        for window in self._windows:
            window.shift(seconds)
        for turn in self._turns.values():
            turn.comes += seconds
        self._paused = (self._paused[0] + seconds, self._paused[1])
        self._now = now

    def _compare(self, seen: Seen, now: float) -> None:
        """Somebody saw this account in a later state, or another one: what was in that nobody knows."""
        if seen.birth == self.birth and seen.serial <= self.serial:
            return
        if self._lost and now - self.birth < _LONGEST_LEASE:
            return  # the others who saw it, soon after the first; all of them count as lost already
        self.birth, self._lost = now, True
        for window in self._windows:
            window.fill(now, self._turns)

    def _hear(
        self, now: float, holder: str, report: Report, want: Want, turn: Turn
    ) -> tuple[list[SharedWindow], list[SharedWindow]]:
        """The report's windows, and the other ones."""
        told = (*report.news, *report.terms)
        for term in report.news:
            window = self._window(term, self._windows, told)
            if window.per != term.per:
                window.respan(term.per)
            window.learned = term.limit
        rest = list(self._windows)
        found: dict[Term, SharedWindow] = {}
        # What is known exactly first, so that a learned one takes no other's place.
        for term in sorted(report.terms, key=lambda term: term.learned and not _exact(term, rest)):
            found[term] = self._window(term, rest, told)
            if found[term] in rest:
                rest.remove(found[term])
        heard: list[SharedWindow] = []
        spent = 0.0
        for at, term in enumerate(report.terms):
            window = found[term]
            share = window.hear(holder, now, report.arrived[at], report.out[at], report.unused[at])
            spent = max(spent, share)
            holding = window.holdings[holder]
            holding.stated = 0 if term.learned else term.limit
            holding.head = want.heads[at]
            holding.want = max(want.amounts[at], holding.head)
            window.learned = window.learned or term.limit
            if self._lost and now - self.birth < window.per + report.transit:
                window.fill(self.birth + report.transit, self._turns)
            heard.append(window)
        turn.served += spent - turn.charged
        return heard, rest

    def _window(self, term: Term, among: list[SharedWindow], told: Sequence[Term]) -> SharedWindow:
        """The window that a term is about.

        What is learned may have had another length before: then it is one of the same quantity that is not
        among all that is `told`.
        """
        found = _exact(term, among)
        if found is None and term.learned:
            before = [each for each in among if each.what == term.what and not each.is_declared(self._turns)]
            known = {(each.what, each.per) for each in told}
            found = next((each for each in before if (each.what, each.per) not in known), None)
        if found is None:
            found = SharedWindow(term.what, term.per)
            self._windows.append(found)
        return found

    def to_bytes(self) -> bytes:
        """The whole account, for `from_bytes`."""
        return orjson.dumps(
            [
                _VERSION,
                self.birth,
                self.serial,
                self._now,
                self._lost,
                [window.to_list() for window in self._windows if window.holdings],
                {name: turn.to_list() for name, turn in self._turns.items()},
                self._paused,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> LeaseBook:
        """The account that `to_bytes` wrote.

        Raises:
            ValueError: it is damaged, or written by another version.
        """
        try:
            fields: list[Any] = orjson.loads(data)
            version, birth, serial, now, lost, windows, turns, paused = fields
            if version != _VERSION:
                raise ValueError(f"it has version {version}")
            book = cls(birth)
            book.serial, book._now, book._lost = serial, now, lost
            book._windows = [SharedWindow.from_list(each) for each in windows]
            book._turns = {name: Turn(*each) for name, each in turns.items()}
            book._paused = (paused[0], paused[1])
        except (TypeError, AttributeError, IndexError) as error:
            raise ValueError(str(error)) from None
        return book


def _exact(term: Term, among: list[SharedWindow]) -> SharedWindow | None:
    return next((each for each in among if (each.what, each.per) == (term.what, term.per)), None)
