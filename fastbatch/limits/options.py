"""What a user declares about a provider's limits."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from fastbatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` requests, or `tokens` tokens, or both, in any `per` seconds.

    >>> Window(requests=25, per=1.0)
    Window(requests=25, tokens=None, per=1.0)
    """

    requests: int | None = None
    tokens: int | None = None
    per: float = 60.0

    def __post_init__(self) -> None:
        if self.requests is None and self.tokens is None:
            raise ConfigError("needs requests=, tokens= or both", key="Window")
        for name in ("requests", "tokens"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError("must be a whole number of 1 or more", key=f"Window.{name}", value=value)
        if not (isfinite(self.per) and self.per > 0):
            raise ConfigError("must be seconds above 0", key="Window.per", value=self.per)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one endpoint and credential.

    Attributes:
        rpm, tpm: requests and tokens in any 60 seconds.
        windows: further windows, all of which hold at once.
        transit: seconds that a request may spend on its way before the server counts it, at most. A request
            still without its reply then counts as arrived at that moment; raise it for a server behind a
            slow queue, lower it to use long generations' quota sooner.

    >>> Limits(rpm=500, windows=(Window(requests=25, per=1.0),)).declared()
    (Window(requests=500, tokens=None, per=60.0), Window(requests=25, tokens=None, per=1.0))
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
