"""A spell of weather as a value: what goes wrong, from when, and for how long.

Times run from the first request and not from the start of the server, so that the time a client needs to
start up does not shift them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, cast

from fastbatch.errors import ConfigError, did_you_mean

SpellKind = Literal["outage", "429", "500", "503", "hang", "refuse", "limits"]
SPELL_KINDS = ("outage", "429", "500", "503", "hang", "refuse", "limits")

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_SPELL_TEXT = re.compile(rf"(\w+)@{_NUMBER}s?\+{_NUMBER}s?(?:,factor={_NUMBER})?(?:,retry-after={_NUMBER})?")
_STATES_A_WAIT = ("outage", "429", "503")
_FIXED = ("outage", "refuse")  # these hit everybody


@dataclass(frozen=True, kw_only=True)
class Spell:
    """One spell of weather.

    Attributes:
        kind: "outage" (every request gets 503), "429", "500" and "503" (requests get this status, whatever
            the limits say), "hang" (they are read and never answered), "refuse" (nobody listens on the port,
            open connections are cut), "limits" (they are another size).
        begins: seconds after the first request.
        lasts: seconds.
        factor: for "limits" what they are multiplied by (0.5 unless said); for "429", "500", "503" and "hang"
            the share of requests that it hits (all unless said).
        retry_after: seconds that the 429 or 503 ask to wait; None: they name no time.

    Raises:
        ConfigError: a value is impossible; names the field.
    """

    kind: SpellKind
    begins: float
    lasts: float
    factor: float | None = None
    retry_after: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in SPELL_KINDS:
            known = f"known kinds are {', '.join(SPELL_KINDS)}."
            raise ConfigError(known + did_you_mean(self.kind, SPELL_KINDS), key="Spell.kind", value=self.kind)
        for name in ("begins", "lasts", "factor", "retry_after"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ConfigError("must be a number from 0 up", key=f"Spell.{name}", value=value)
        if self.factor is not None:
            if self.kind in _FIXED:
                raise ConfigError(f"{self.kind} hits everybody", key="Spell.factor", value=self.factor)
            if self.kind != "limits" and self.factor > 1:
                raise ConfigError("must be a share from 0 to 1", key="Spell.factor", value=self.factor)
            if self.kind == "limits" and self.factor == 0:
                raise ConfigError("must be above 0", key="Spell.factor", value=self.factor)
        if self.retry_after is not None and self.kind not in _STATES_A_WAIT:
            named = ", ".join(_STATES_A_WAIT)
            raise ConfigError(f"goes with {named} only", key="Spell.retry_after", value=self.retry_after)

    @property
    def ends(self) -> float:
        """Seconds after the first request."""
        return self.begins + self.lasts

    @classmethod
    def parse(cls, text: str) -> Spell:
        """Read `"outage@20+60"`: a kind, when it begins and how many seconds it lasts.

        Further parts are `,factor=0.5` and `,retry-after=2`, in this order.

        Raises:
            ConfigError: the text has another form.

        >>> Spell.parse("limits@10+30,factor=0.25").factor
        0.25
        """
        match = _SPELL_TEXT.fullmatch(text.strip())
        if match is None:
            problem = "write it like outage@20+60, limits@10+30,factor=0.5 or 429@5+30,retry-after=2"
            raise ConfigError(problem, key="--weather", value=text)
        kind, begins, lasts, factor, retry_after = match.groups()
        return cls(
            kind=cast(SpellKind, kind),
            begins=float(begins),
            lasts=float(lasts),
            factor=None if factor is None else float(factor),
            retry_after=None if retry_after is None else float(retry_after),
        )
