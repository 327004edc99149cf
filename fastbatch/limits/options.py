"""What a user declares about a provider's limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from fastbatch.errors import ConfigError
from fastbatch.limits.cost import QUANTITIES, Quantity

_WINDOW = re.compile(
    r"(?P<amount>[0-9]{1,18})\s*(?P<what>req|requests|tok|tokens|in|out)?"
    r"\s*/\s*(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?)?\s*(?P<unit>[a-z]+)?"
)
_FIELDS: dict[str | None, str] = {
    "tok": "tokens",
    "tokens": "tokens",
    "in": "input_tokens",
    "out": "output_tokens",
}
# Seconds.
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "day": 86_400.0}


@dataclass(frozen=True, slots=True)
class Window:
    """So many requests, tokens, input tokens or output tokens at most in any `per` seconds.

    >>> Window(requests=25, per=1.0).amounts()
    (('requests', 25),)
    """

    requests: int | None = None
    tokens: int | None = None
    per: float = 60.0
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        for what in QUANTITIES:
            value = getattr(self, what)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError("must be a whole number of 1 or more", key=f"Window.{what}", value=value)
        if not self.amounts():
            raise ConfigError("needs requests=, tokens=, input_tokens= or output_tokens=", key="Window")
        if not (isfinite(self.per) and self.per > 0):
            raise ConfigError("must be seconds above 0", key="Window.per", value=self.per)

    def amounts(self) -> tuple[tuple[Quantity, int], ...]:
        """What is limited, and how much of it is allowed."""
        return tuple((what, value) for what in QUANTITIES if (value := getattr(self, what)) is not None)

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `"1500/5s"`, `"90000tok/60s"`, `"30000in/min"`, `"8000out/min"`, `"500/min"` or `"25/s"`.

        A number without a unit is seconds. Units are ms, s, m or min, h, and d or day.

        Raises:
            ConfigError: the text has another form, or allows nothing.

        >>> Window.parse("90000tok/60s") == Window(tokens=90000, per=60.0)
        True
        """
        match = _WINDOW.fullmatch(text.strip())
        unit = _UNITS.get(match["unit"] or "s") if match else None
        if match is None or unit is None or not (match["number"] or match["unit"]):
            raise ConfigError(
                "write it like 1500/5s, 90000tok/60s, 30000in/min, 500/min or 25/s", key="window", value=text
            )
        amount, per = int(match["amount"]), float(match["number"] or 1) * unit
        if not (amount and per):
            raise ConfigError("must allow something, in some time", key="window", value=text)
        return cls(**{_FIELDS.get(match["what"], "requests"): amount}, per=per)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one endpoint and credential.

    Attributes:
        rpm, tpm: requests and tokens in any 60 seconds.
        windows: further windows, all of which hold at once; days and input or output tokens are said here.
        transit: seconds that a request may spend on its way before the server counts it, at most. The time
            runs from the moment a request is let through, so that connecting (DNS, TLS) is part of it. One
            still without its reply then counts as arrived at that moment: a request that was slower than
            that may meet a 429. Raise it for slow connections or a server behind a queue, lower it to use
            long generations' quota sooner.

    >>> [window.amounts() for window in Limits(rpm=500, windows=(Window(requests=25, per=1.0),)).declared()]
    [(('requests', 500),), (('requests', 25),)]
    """

    rpm: int | None = None
    tpm: int | None = None
    windows: tuple[Window, ...] = ()
    transit: float = 2.0

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError("must be a whole number of 1 or more", key=name, value=value)
        if not (isfinite(self.transit) and self.transit >= 0):
            raise ConfigError("must be 0 or more seconds", key="transit", value=self.transit)

    def declared(self) -> tuple[Window, ...]:
        """All windows, `rpm` and `tpm` among them."""
        minute = () if self.rpm is None and self.tpm is None else (Window(self.rpm, self.tpm, 60.0),)
        return (*minute, *self.windows)
