"""A simulated provider's limits as values: what is limited, to how much, in which time, and kept how."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, cast

from fastbatch.errors import ConfigError

LimitKind = Literal["sliding", "bucket", "fixed"]
LimitedThing = Literal["requests", "tokens", "input_tokens", "output_tokens"]

KINDS = ("sliding", "bucket", "fixed")
THINGS: tuple[LimitedThing, ...] = ("requests", "tokens", "input_tokens", "output_tokens")

# The notation of `Window.parse`, read here again: what judges the limits shares no code with them.
_LIMIT_TEXT = re.compile(
    r"([0-9]{1,18})\s*(req|requests|tok|tokens|in|out)?\s*/\s*(?=\S)([0-9]{1,18}(?:\.[0-9]{1,18})?)?\s*"
    r"(ms|s|m|min|h|d|day|)"
)
_THING: dict[str, LimitedThing] = {
    "tok": "tokens",
    "tokens": "tokens",
    "in": "input_tokens",
    "out": "output_tokens",
}
_UNIT_SECONDS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
}


class Charge(NamedTuple):
    """What one request counts at arrival, by limited thing.

    `tokens` is max(max_tokens, prompt tokens) as at OpenAI, `input_tokens` the prompt's, `output_tokens` is
    max_tokens times `n` (nothing where the request names no maximum).
    """

    requests: int = 1
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def of(self, what: LimitedThing) -> int:
        """The amount of one limited thing."""
        return cast(int, getattr(self, what))


@dataclass(frozen=True, kw_only=True)
class SimulatedLimit:
    """At most so many requests, or tokens, in `per` seconds.

    "sliding": never more than the limit arrive in any half-open window of `per` seconds. "bucket": the bucket
    holds the limit, starts full and refills evenly over `per` seconds, so a first window may see twice as
    many. "fixed": windows follow one another from the first arrival on, each with the whole limit.

    Raises:
        ConfigError: not exactly one thing is limited, or a value that is not positive.

    >>> SimulatedLimit.parse("90000tok/60s").tokens
    90000
    """

    requests: int | None = None
    tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    per: float = 60.0  # seconds
    kind: LimitKind = "sliding"

    def __post_init__(self) -> None:
        if sum(getattr(self, thing) is not None for thing in THINGS) != 1:
            raise ConfigError(f"say exactly one of {', '.join(THINGS)}", key="SimulatedLimit")
        if self.amount < 1:
            raise ConfigError("must be at least 1", key=f"SimulatedLimit.{self.what}", value=self.amount)
        if not (self.per > 0 and math.isfinite(self.per)):
            raise ConfigError(
                "must be a positive number of seconds", key="SimulatedLimit.per", value=self.per
            )
        if self.kind not in KINDS:
            raise ConfigError(
                f"must be one of {', '.join(KINDS)}", key="SimulatedLimit.kind", value=self.kind
            )

    @cached_property
    def what(self) -> LimitedThing:
        """Which of the four is limited."""
        return next(thing for thing in THINGS if getattr(self, thing) is not None)

    @property
    def amount(self) -> int:
        """How much of it is allowed in `per` seconds."""
        return cast(int, getattr(self, self.what))

    def __str__(self) -> str:
        return f"{self.amount} {self.what.replace('_', ' ')} per {self.per:g} s"

    @classmethod
    def parse(cls, text: str, *, kind: LimitKind = "sliding") -> SimulatedLimit:
        """Read `"1500/5s"`, `"10/100ms"`, `"90000tok/60"`, `"30000in/min"` or `"8000out/min"`.

        Without a unit it is seconds.

        Raises:
            ConfigError: the text has another form.
        """
        match = _LIMIT_TEXT.fullmatch(text.strip())
        if match is None:
            raise ConfigError("write it like 1500/5s or 90000tok/60s", key="--limit", value=text)
        amount, what, number, unit = match.groups()
        per = float(number or 1) * _UNIT_SECONDS[unit]
        return cls(**{_THING.get(what, "requests"): int(amount)}, per=per, kind=kind)


def with_pieces(limits: Iterable[SimulatedLimit], piece: float | None) -> tuple[SimulatedLimit, ...]:
    """The limits, then each limit on requests once more as its share of `piece` seconds, rounded up.

    >>> [str(limit) for limit in with_pieces([SimulatedLimit(requests=600)], 1.0)]
    ['600 requests per 60 s', '10 requests per 1 s']
    """
    whole = tuple(limits)
    if piece is None:
        return whole
    pieces = [
        # The hair keeps 3 * 0.1 / 0.3 = 1.0000000000000002 from becoming 2.
        replace(limit, requests=math.ceil(limit.amount * piece / limit.per - 1e-9), per=piece)
        for limit in whole
        if limit.what == "requests" and piece < limit.per
    ]
    return (*whole, *pieces)
