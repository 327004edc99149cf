"""The account of one endpoint and credential: who may send now, and else when to ask again."""

from __future__ import annotations

from typing import NamedTuple

from fastbatch.limits.options import Limits
from fastbatch.limits.window import Entry, SlidingWindow
from fastbatch.models.stats import Saturation


class Reservation(NamedTuple):
    """Room that was granted; give it back to `Ledger.settle` with what the request really took."""

    requests: tuple[Entry, ...]
    tokens: tuple[Entry, ...]


class Ledger:
    """Several sliding windows at once, and a pause that stands above them all.

    `reserve` grants or refuses at once; who has been refused asks again at `next_change`. One caller asks at
    a time, the head of a queue, so that admission is first come, first served.

    >>> from fastbatch.limits.options import Window
    >>> ledger = Ledger(Limits(windows=(Window(requests=1, per=10.0),)))
    >>> first = ledger.reserve(tokens=5, now=0.0)
    >>> ledger.reserve(tokens=5, now=1.0) is None, ledger.next_change(5, now=1.0)
    (True, 12.0)
    >>> ledger.settle(first, tokens=5, now=1.5)
    >>> ledger.next_change(5, now=1.5)
    11.5
    """

    def __init__(self, limits: Limits) -> None:
        self._requests: list[SlidingWindow] = []
        self._tokens: list[SlidingWindow] = []
        for window in limits.declared():
            span = _span(window.per)
            if window.requests is not None:
                name = f"requests/{span}"
                self._requests.append(SlidingWindow(name, window.requests, window.per, limits.transit))
            if window.tokens is not None:
                self._tokens.append(
                    SlidingWindow(f"tokens/{span}", window.tokens, window.per, limits.transit)
                )
        self._windows = [*self._requests, *self._tokens]
        self._paused_until = float("-inf")
        self._paused_for = ""
        self.counts_tokens = bool(self._tokens)
        """Whether `reserve` looks at its `tokens`; where not, nobody needs to estimate them."""

    def reserve(self, tokens: int, now: float) -> Reservation | None:
        """Room for one request of `tokens` tokens that leaves now, or None: not yet."""
        if now < self._paused_until:
            return None
        for window in self._windows:
            window.forget(now)
        for window in self._requests:
            if not window.fits(1):
                return None
        for window in self._tokens:
            if not window.fits(tokens):
                return None
        return Reservation(
            tuple([window.take(1, now) for window in self._requests]),
            tuple([window.take(tokens, now) for window in self._tokens]),
        )

    def settle(self, reservation: Reservation, tokens: int | None, now: float) -> None:
        """The reply came, or the request failed; it counts as `tokens` now, None leaves what was reserved."""
        for window, entry in zip(self._requests, reservation.requests, strict=True):
            window.settle(entry, 1, now)
        for window, entry in zip(self._tokens, reservation.tokens, strict=True):
            window.settle(entry, entry.amount if tokens is None else tokens, now)

    def cancel(self, reservation: Reservation, now: float) -> None:
        """Give back room that was granted and not used: nothing was sent."""
        for window, entry in zip(self._windows, (*reservation.requests, *reservation.tokens), strict=True):
            window.settle(entry, 0, now)

    def pause(self, until: float, reason: str) -> None:
        """Grant nothing before `until`; a shorter pause never shortens a longer one."""
        if until > self._paused_until:
            self._paused_until = until
            self._paused_for = reason

    def next_change(self, tokens: int, now: float) -> float:
        """When it is worth asking again after a refusal, at the latest; a reply may make it sooner."""
        if now < self._paused_until:
            return self._paused_until
        blocked = [window for window in self._requests if not window.fits(1)]
        blocked += [window for window in self._tokens if not window.fits(tokens)]
        return max((window.next_change() for window in blocked), default=now)

    def waiting_reason(self, tokens: int, now: float) -> str:
        """A phrase for why a request of `tokens` tokens may not leave now; empty when it may."""
        if now < self._paused_until:
            return f"{self._paused_for}, {self._paused_until - now:.0f} s left"
        full = [window.name for window in self._requests if not window.fits(1)]
        full += [window.name for window in self._tokens if not window.fits(tokens)]
        return f"limit of {' and '.join(full)}" if full else ""

    def saturation(self, now: float) -> tuple[Saturation, ...]:
        """How full each window is at this moment."""
        for window in self._windows:
            window.forget(now)
        return tuple([window.saturation() for window in self._windows])


def _span(seconds: float) -> str:
    """`min`, `s`, or a number of seconds, for names such as `requests/min`."""
    named = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "day"}
    return named.get(float(seconds), f"{seconds:g}s")
