"""The account of one endpoint, credential and model: who may send now, and else when to ask again."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Protocol

from fastbatch.limits.adaptive import Adaptive
from fastbatch.limits.cost import Amounts, Cost
from fastbatch.limits.declared import DeclaredLimits
from fastbatch.limits.declared import Taken as Declared
from fastbatch.limits.exchange import Term
from fastbatch.limits.learned import LearnedLimits
from fastbatch.limits.leased import LeasedLimits
from fastbatch.limits.stated import Stated
from fastbatch.limits.window import Entry
from fastbatch.models.stats import Saturation

_JITTER = 0.1  # of a pause, so that not everybody who was told the same time comes back in the same instant
_MOST_JITTER = 1.0  # seconds of it
_TOLD = "the provider asked to wait"
# Seconds of nothing but refusals that are a storm; it is forgotten when it is rare, which is that much longer
# from one to the next.
_STORM, _RARE = 1.2, 10.0
# Until a request leaves: this part of `transit`, and at least so many seconds.
_IN_TIME, _AT_ONCE = 1 / 8, 0.05


_ONE: Amounts = (1, 0, 0, 0)


class Part(Protocol):
    """One set of windows that a ledger keeps within."""

    def fits(self, cost: Cost, now: float) -> bool: ...  # noqa: D102

    def take(self, cost: Cost, now: float) -> Any: ...  # noqa: D102

    def settle(self, taken: Any, cost: Cost | None, now: float) -> None: ...  # noqa: D102

    def cancel(self, taken: Any, now: float) -> None: ...  # noqa: D102

    def next_change(self, cost: Cost, now: float) -> float: ...  # noqa: D102

    def waiting_reason(self, cost: Cost, now: float) -> str: ...  # noqa: D102

    def saturation(self, now: float) -> tuple[Saturation, ...]: ...  # noqa: D102


class Lot:
    """Requests that left together: what they take, and what was known when they left."""

    __slots__ = ("entries", "left", "sent")

    def __init__(self, entries: tuple[Entry, ...], left: Any, sent: float) -> None:
        self.entries = entries
        self.left = left
        self.sent = sent


class Reservation:
    """Room that was granted; it is given back to `Ledger.settle` with what the request really took."""

    __slots__ = ("amounts", "lot", "over", "sent", "taken")

    def __init__(
        self, taken: list[Any] | None, sent: float, lot: Lot | None = None, amounts: Amounts = _ONE
    ) -> None:
        self.taken = taken  # by each part; None where it is one of a lot that nobody has looked at by itself
        self.sent = sent
        self.lot = lot
        self.amounts = amounts  # of a lot
        self.over = False  # settled or cancelled: a second word about it changes nothing


class Ledger:
    """Windows that were declared, windows that were learned, the pace, and a pause above them all.

    `reserve` grants or refuses at once; who has been refused asks again at `next_change`. One caller asks at
    a time, the head of a queue, so that admission is first come, first served.

    Args:
        declared: windows of the user's, which other models' ledgers may share; None where there are none.
        ceiling: requests in flight at most.
        slow_start: find out carefully what a provider takes of which nothing is known.
        transit: seconds that a request may be on its way before the server counts it.
        shared: instead of `declared`, what is leased from an account of several processes.
        teach: tell that account what is learned.

    >>> from fastbatch.limits.options import Limits
    >>> ledger = Ledger(DeclaredLimits(Limits(rpm=1)))
    >>> first = ledger.reserve(Cost(), now=0.0)
    >>> ledger.reserve(Cost(), now=1.0) is None, ledger.next_change(Cost(), now=1.0)
    (True, 62.0)
    >>> ledger.settle(first, None, now=1.5)
    >>> ledger.next_change(Cost(), now=1.5)
    61.5
    """

    def __init__(
        self,
        declared: DeclaredLimits | None = None,
        *,
        ceiling: int = 65_536,
        slow_start: bool = False,
        transit: float = 2.0,
        shared: LeasedLimits | None = None,
        teach: bool = False,
    ) -> None:
        self._learned = LearnedLimits(
            transit=transit, ignore=frozenset() if declared is None else declared.quantities
        )
        self._adaptive = Adaptive(ceiling=ceiling, slow_start=slow_start)
        self._parts: list[Part] = [self._learned]  # the last one, whatever comes before it
        self._unheard = slow_start
        self._declared = declared
        self._shared = shared
        self._teach = shared is not None and teach
        if shared is not None:
            self._parts.insert(0, shared)
        elif declared is not None and declared.quantities:
            self._parts.insert(0, declared)
        self._ceiling = ceiling
        self._in_time = max(transit * _IN_TIME, _AT_ONCE)
        self._paused_until = float("-inf")
        self._paused_for = ""
        self.in_flight = 0
        """Requests that left and whose outcome is not known."""
        self._refused_since: float | None = None
        self._forgot_at = float("-inf")

    @property
    def counts_tokens(self) -> bool:
        """Whether `reserve` looks at its `cost`; where not, nobody needs to estimate it.

        Where nothing is declared it does until the first reply, which may state a limit of tokens.
        """
        if self._unheard or self._learned.counts_tokens:
            return True
        if self._shared is not None and self._shared.counts_tokens:
            return True
        return self._declared is not None and self._declared.counts_tokens

    def reserve(self, cost: Cost, now: float) -> Reservation | None:
        """Room for one request of `cost` that leaves now, or None: not yet."""
        if now < self._paused_until or not self._adaptive.allows(self.in_flight, now):
            return None
        parts = self._parts
        for part in self.deciding() if self._teach else parts:
            if not part.fits(cost, now):
                return None
        self._adaptive.left(now)
        self.in_flight += 1
        learned = self._learned.take(cost, now)
        taken = [learned] if len(parts) == 1 else [parts[0].take(cost, now), learned]
        return Reservation(taken, now)

    def reserve_many(self, costs: Sequence[Cost], now: float) -> list[Reservation]:
        """Room for as many of these requests as may leave now, the first of them first."""
        if len(costs) > 1 and (together := self._reserve_lot(costs, now)):
            return together
        granted: list[Reservation] = []
        for cost in costs:
            reservation = self.reserve(cost, now)
            if reservation is None:
                break
            granted.append(reservation)
        return granted

    def _reserve_lot(self, costs: Sequence[Cost], now: float) -> list[Reservation]:
        """Room for several at once, where there is plenty, and nothing but declared limits decides."""
        if now < self._paused_until or self._shared is not None or not self._learned.silent:
            return []
        number = self._adaptive.room(self.in_flight, now)
        if number < 2:
            return []
        each = [cost.amounts for cost in costs[:number]]
        together = _together(each)
        declared = self._declared if len(self._parts) > 1 else None
        if declared is not None and not declared.fits_all(together, now):
            return []
        self._adaptive.left_together(len(each), now)
        self.in_flight += len(each)
        left = self._learned.take_all(together, now)
        lot = Lot(() if declared is None else declared.take_all(together, now), left, now)
        return [Reservation(None, now, lot, amounts) for amounts in each]

    def deciding(self) -> list[Part]:
        """The parts that must have room. What others lease is strangers' use to what is learned here, so that
        where learned limits are shared the account alone decides.
        """
        shared = self._shared
        return self._parts[:-1] if self._teach and shared is not None and shared.knows else self._parts

    def scarce(self, cost: Cost, now: float) -> Part | None:
        """The part that other models' ledgers may share, where nothing but that has no room for `cost`."""
        first, *others = self.deciding()
        if not others or now < self._paused_until or not self._adaptive.allows(self.in_flight, now):
            return None
        if first.fits(cost, now) or not all(part.fits(cost, now) for part in others):
            return None
        return first

    def shares(self, part: Part) -> bool:
        """Whether `part` is one of its own."""
        return self._parts[0] is part

    def settle(self, reservation: Reservation, cost: Cost | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `cost` now, None leaves what was reserved."""
        if self._ends(reservation):
            for part, taken in zip(self._parts, self._taken(reservation), strict=True):
                part.settle(taken, cost, now)

    def settle_many(self, settled: Sequence[tuple[Reservation, Cost | None]], now: float) -> None:
        """As `settle`, for all that came back together."""
        lots: dict[Lot, tuple[list[Amounts], list[Amounts]]] = {}
        # All of them before anything is changed: a foreign provider's cost may be none.
        counted = [None if cost is None else cost.amounts for _, cost in settled]
        for (reservation, cost), amount in zip(settled, counted, strict=True):
            lot = reservation.lot
            if lot is None or reservation.taken is not None:
                self.settle(reservation, cost, now)
                continue
            if reservation.over:
                continue
            reservation.over = True
            both = lots.get(lot)
            if both is None:
                both = lots[lot] = [], []
            both[0].append(reservation.amounts)
            both[1].append(amount or reservation.amounts)
        declared = self._declared
        for lot, (took, amounts) in lots.items():
            self.in_flight -= len(took)
            had = _together(took)
            if declared is not None and lot.entries:
                declared.settle_all(lot.entries, had, _together(amounts), now)
            self._learned.answer_all(had)

    def cancel(self, reservation: Reservation, now: float) -> None:
        """Give back room that was granted and not used: nothing was sent."""
        if self._ends(reservation):
            self._adaptive.dropped(now)  # it may have been the one that tries after a pause
            for part, taken in zip(self._parts, self._taken(reservation), strict=True):
                part.cancel(taken, now)

    def stale(self, reservation: Reservation, now: float) -> bool:
        """Whether room was granted so long ago that a request which leaves by it may arrive too late.

        Something held it up in between, a slow disk for one; it gives the room back and asks again.
        """
        return now - reservation.sent > self._in_time

    def hear(
        self, stated: Sequence[Stated], reservation: Reservation, now: float, *, refused: bool = False
    ) -> None:
        """A reply's headers state limits, `refused` with a 429."""
        self._unheard = False
        changed = self._learned.hear(stated, now, self._taken(reservation)[-1], refused=refused)
        if changed and self._teach and self._shared is not None:
            self._shared.learn(self._learned.terms())

    def accepted(self, reservation: Reservation, now: float) -> None:
        """The provider took a request and answered it."""
        self._unheard = False
        if self._refused_since is not None:
            self._after_refusals(now - self._refused_since, now)
            self._refused_since = None
        self._adaptive.accepted(now, now - reservation.sent)

    def accepted_many(self, reservations: Sequence[Reservation], now: float) -> None:
        """As `accepted`, for all that were answered together."""
        if self._unheard or self._refused_since is not None or not self._adaptive.content:
            for reservation in reservations:
                self.accepted(reservation, now)

    def _taken(self, reservation: Reservation) -> list[Any]:
        """What each part has of a request; of one that left with others it is told apart here."""
        if reservation.taken is None:
            lot, amounts = reservation.lot, reservation.amounts
            assert lot is not None
            learned = self._learned.taken(amounts, lot.left, lot.sent)
            declared = [Declared(lot.entries, amounts)] if len(self._parts) > 1 else []
            reservation.taken = [*declared, learned]
        return reservation.taken

    def _after_refusals(self, lasted: float, now: float) -> None:
        """Something is let in again. Where windows are known, a storm of refusals taught nothing about the
        pace: it is as before. One that comes again and again is a limit that nobody told of.
        """
        declared = frozenset() if self._declared is None else self._declared.quantities
        known = self._learned.knows or "requests" in declared
        if known and lasted >= _STORM and now - self._forgot_at > _RARE * lasted:
            self._forgot_at = now
            self._adaptive = Adaptive(ceiling=self._ceiling, slow_start=True)

    def dropped(self, now: float) -> None:
        """A request that left came to nothing, for a reason that is no limit."""
        self._adaptive.dropped(now)

    def refused(self, reservation: Reservation, stated: float | None, jitter: float, now: float) -> float:
        """The provider said "too many": everybody waits; `stated` is for how long, None where it is unsaid.

        Returns:
            Seconds of the pause.
        """
        if self._refused_since is None:
            self._refused_since = now
        if self._learned.knows and not self._learned.fits(Cost(), now):
            self._adaptive.dropped(now)  # the headers say why, and when there is room again
            seconds, reason = 0.0, _TOLD
        else:
            seconds, reason = self._adaptive.refused(now, stated, self.in_flight, now - reservation.sent)
        if stated is not None and stated > seconds:
            seconds, reason = stated, _TOLD
        if seconds:
            spread = min(_MOST_JITTER, seconds * _JITTER) * jitter
            self.pause(now + seconds + spread, reason)
            if self._shared is not None:
                self._shared.pause(seconds + spread, reason)
        return seconds

    def refusing(self, now: float) -> float:
        """Seconds in which nothing but refusals came."""
        return 0.0 if self._refused_since is None else now - self._refused_since

    def reopen(self, now: float) -> None:
        """The endpoint is back after an outage: not everybody at once."""
        self._adaptive.reopen(now)

    def pause(self, until: float, reason: str) -> None:
        """Grant nothing before `until`; a shorter pause never shortens a longer one."""
        if until > self._paused_until:
            self._paused_until = until
            self._paused_for = reason

    def paused(self, now: float) -> float:
        """Seconds left of a pause."""
        return max(0.0, self._paused_until - now)

    def give_up(self, cost: Cost, now: float, patience: float) -> None:
        """Make a pause of it where replies have stated that a request of `cost` must wait longer than that.

        While one is under way its reply may still say otherwise.
        """
        learned = self._learned
        if self.in_flight or learned.fits(cost, now):
            return
        due = learned.next_change(cost, now)
        if due - now > patience:
            self.pause(due, f"{learned.waiting_reason(cost, now)} is used up")

    def paused_for(self, now: float) -> str:
        """Why there is a pause; empty when there is none."""
        return self._paused_for if now < self._paused_until else ""

    def next_change(self, cost: Cost, now: float) -> float:
        """When it is worth asking again after a refusal, at the latest; a reply may make it sooner."""
        due = self._paused_until
        if not self._adaptive.allows(self.in_flight, now):
            due = max(due, self._adaptive.next_change(self.in_flight, now))
        for part in self.deciding():
            if not part.fits(cost, now):
                due = max(due, part.next_change(cost, now))
        return max(due, now)

    def waiting_reason(self, cost: Cost, now: float) -> str:
        """A phrase for why a request of `cost` may not leave now; empty when it may."""
        if now < self._paused_until:
            return f"{self._paused_for}, {ceil(self._paused_until - now)} s left"
        reasons = [part.waiting_reason(cost, now) for part in self.deciding()]
        if said := " and ".join(filter(None, reasons)):
            return said
        return "" if self._adaptive.allows(self.in_flight, now) else self._adaptive.waiting_reason()

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is at this moment."""
        return tuple([window for part in self.deciding() for window in part.saturation(now)])

    def _ends(self, reservation: Reservation) -> bool:
        first, reservation.over = not reservation.over, True
        self.in_flight -= first
        return first

    def terms(self) -> tuple[Term, ...]:
        """What was learned from the provider's replies."""
        return self._learned.terms()

    @property
    def rate(self) -> float | None:
        """Requests a second that were found to be taken, where the provider says nothing; None: any."""
        return self._adaptive.rate

    @property
    def concurrency(self) -> int:
        """Requests in flight that the provider is found to take."""
        return self._adaptive.concurrency

    def load(self, now: float) -> float:
        """How busy it is, for choosing among several: the fullest window, or requests in flight."""
        shares = [window.share for window in self.saturation(now)]
        return max([*shares, self.in_flight / self._ceiling])


def _together(amounts: Sequence[Amounts]) -> Amounts:
    """What several requests take."""
    requests, tokens, prompt, completion = map(sum, zip(*amounts, strict=True))
    return requests, tokens, prompt, completion
