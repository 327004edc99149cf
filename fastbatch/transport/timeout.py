"""How long one attempt may take, in all and in its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    shortest: float = field(init=False, repr=False, compare=False)
    """The earliest that any of them can pass; the one timer of an attempt is set by it."""

    def __post_init__(self) -> None:
        given = [("timeout", self.total), ("timeout.connect", self.connect)]
        if self.first_byte is not None:
            given.append(("timeout.first_byte", self.first_byte))
        if self.idle is not None:
            given.append(("timeout.idle", self.idle))
        for key, value in given:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError("must be seconds above 0", key=key, value=value)
        object.__setattr__(self, "shortest", min(value for _, value in given))

    @classmethod
    def of(cls, given: float | Timeout) -> Timeout:
        """A number stands for the total.

        >>> Timeout.of(30).total
        30
        """
        return given if isinstance(given, Timeout) else cls(given)
