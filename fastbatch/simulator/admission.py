"""Who may pass: all limits of a provider together, for everybody or for each model. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fastbatch.simulator.headers import Announcer, Style
from fastbatch.simulator.limits import Charge, SimulatedLimit
from fastbatch.simulator.meters import Meter, fresh


@dataclass(frozen=True)
class Refusal:
    """Why a request may not pass: the limit in its way, its state, and for how long (infinity: for ever)."""

    limit: SimulatedLimit
    amount: int  # what the limit allows at present
    used: int
    requested: int
    wait: float  # seconds

    @property
    def retry_after_ms(self) -> int | None:
        """Whole milliseconds after which the same request passes if nobody else came; None: never."""
        if math.isinf(self.wait):
            return None
        # Up to one millisecond late and never a rounding error early: waiting exactly this long must do.
        return math.floor(self.wait * 1000 + 0.001) + 1


class _Account:
    """The meters of one model, or of all, and who tells of them in each style."""

    def __init__(self, meters: list[Meter]) -> None:
        self.meters = meters
        self.announcers: dict[Style, Announcer] = {}


class Admission:
    """All limits of one provider: a request passes all of them or is charged to none.

    Args:
        limits: what is kept.
        per_model: every model has the whole of each limit to itself.
        epoch: seconds of the epoch when the clock of `now` showed 0.
    """

    def __init__(
        self,
        limits: Iterable[SimulatedLimit],
        *,
        per_model: bool = False,
        epoch: float = 0.0,
    ) -> None:
        self._limits = tuple(limits)
        self._per_model = per_model
        self._epoch = epoch
        self._factor = 1.0
        self._accounts: dict[str, _Account] = {}
        if not per_model:
            self._account("", 0.0)

    @property
    def meters(self) -> list[Meter]:
        """The state of every limit, model after model."""
        return [meter for account in self._accounts.values() for meter in account.meters]

    def by_model(self) -> list[tuple[str, Meter]]:
        """The same with the models' names; without `per_model` the name is empty."""
        return [(name, meter) for name, account in self._accounts.items() for meter in account.meters]

    def admit(self, charge: Charge, now: float, model: str = "") -> Refusal | None:
        """Charge one request to every limit, or say which one refuses it for the longest."""
        refusal: Refusal | None = None
        charges = [
            (meter, amount)
            for meter in self._account(model, now).meters
            if (amount := charge.of(meter.limit.what))
        ]
        for meter, amount in charges:
            wait = meter.wait(amount, now)
            if wait > 0:
                meter.refused += 1
                if refusal is None or wait > refusal.wait:
                    used = meter.amount - meter.remaining(now)
                    refusal = Refusal(meter.limit, meter.amount, used, amount, wait)
        if refusal is None:
            for meter, amount in charges:
                meter.take(amount, now)
        return refusal

    def headers(self, now: float, model: str = "", style: Style = "openai") -> bytes:
        """The limit headers of a reply leaving the decision at `now`; empty without limits."""
        if not self._limits:
            return b""
        account = self._account(model, now)
        announcer = account.announcers.get(style)
        if announcer is None:
            announcer = account.announcers[style] = Announcer(account.meters, style, self._epoch)
        return announcer.lines(now)

    def scale(self, factor: float, now: float) -> None:
        """Let every limit be `factor` times what was declared, from now on."""
        if factor != self._factor:
            self._factor = factor
            for meter in self.meters:
                meter.resize(self._present(meter.limit), now)

    def replace(self, limits: Iterable[SimulatedLimit], now: float) -> None:
        """Keep other limits from now on; one that only changed its amount remembers what it was charged."""
        self._limits = tuple(limits)
        for name, account in self._accounts.items():
            meters = [self._inherit(limit, account.meters, now) for limit in self._limits]
            self._accounts[name] = _Account(meters)

    def _inherit(self, limit: SimulatedLimit, old: list[Meter], now: float) -> Meter:
        shape = (limit.what, limit.per, limit.kind)
        for index, known in enumerate(old):
            if (known.limit.what, known.limit.per, known.limit.kind) == shape:
                heir = old.pop(index)
                heir.limit = limit
                heir.resize(self._present(limit), now)
                return heir
        return self._fresh(limit, now)

    def _account(self, model: str, now: float) -> _Account:
        name = model if self._per_model else ""
        account = self._accounts.get(name)
        if account is None:
            meters = [self._fresh(limit, now) for limit in self._limits]
            account = self._accounts[name] = _Account(meters)
        return account

    def _fresh(self, limit: SimulatedLimit, now: float) -> Meter:
        made = fresh(limit)
        if self._factor != 1.0:
            made.resize(self._present(limit), now)
        return made

    def _present(self, limit: SimulatedLimit) -> int:
        return max(1, round(limit.amount * self._factor))
