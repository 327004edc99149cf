"""How long one attempt may take, in all and in its parts."""

from __future__ import annotations

from dataclasses import dataclass

from fastbatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Timeout:
    """Four deadlines of one attempt, in seconds; waiting for limits and between attempts is not counted.

    Attributes:
        total: from the call to the last byte of the reply.
        connect: until a connection stands: the name resolved, TCP, TLS, the tunnel through a proxy.
        first_byte: from the request written to the first byte of the reply; None: as long as `total`.
        idle: between two pieces of the reply, headers included; None: as long as `total`.

    Passed while nothing has been sent it is a `ConnectTimeout`, later a `RequestTimeout`.

    Raises:
        ConfigError: a deadline is no number above 0.

    >>> Timeout(60, idle=10)
    Timeout(total=60, connect=20.0, first_byte=None, idle=10)
    """

    total: float = 120.0
    connect: float = 20.0
    first_byte: float | None = None
    idle: float | None = None

    def __post_init__(self) -> None:
        for name, key in (("total", "timeout"), ("connect", "timeout.connect")):
            _check(key, getattr(self, name))
        for name in ("first_byte", "idle"):
            if getattr(self, name) is not None:
                _check(f"timeout.{name}", getattr(self, name))

    @classmethod
    def of(cls, given: float | Timeout) -> Timeout:
        """A number stands for the total.

        >>> Timeout.of(30).total
        30
        """
        return given if isinstance(given, Timeout) else cls(given)

    @property
    def shortest(self) -> float:
        """The earliest that any of the deadlines can pass."""
        return min(
            self.total,
            self.connect,
            self.total if self.first_byte is None else self.first_byte,
            self.total if self.idle is None else self.idle,
        )


def _check(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError("must be seconds above 0", key=key, value=value)
