"""Chance that repeats: every draw comes from the seed, what is drawn, and a request's fingerprint.

Each question has its own salt, so that asking one never shifts the answer to another.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from struct import Struct

from xxhash import xxh3_64_intdigest

from fastbatch.simulator.config import SimulatorConfig

_PAIR = Struct("<QQ")
_NORMAL = NormalDist()
_TWO_64 = 2.0**64

FAILURE, LATENCY, TEXT, WEATHER = 1, 2, 3, 4  # salts


def fingerprint(body: bytes, salt: int) -> int:
    """What tells requests apart: 64 bits of the body's bytes and of a path's salt (see `routes`)."""
    return xxh3_64_intdigest(body, salt)


def roll(seed: int, salt: int, key: int, occurrence: int) -> int:
    """64 random-looking bits that are the same every time."""
    return xxh3_64_intdigest(_PAIR.pack(key, occurrence), ((seed << 8) | salt) & 0xFFFF_FFFF_FFFF_FFFF)


def chance(seed: int, salt: int, key: int, occurrence: int) -> float:
    """The same as a number in [0, 1)."""
    return (roll(seed, salt, key, occurrence) >> 11) * 2.0**-53


def latency(config: SimulatorConfig, key: int, occurrence: int) -> float:
    """Seconds until this arrival of this body is answered: log-normal around the median."""
    if not config.latency or not config.latency_sigma:
        return config.latency
    drawn = (roll(config.seed, LATENCY, key, occurrence) + 0.5) / _TWO_64
    return config.latency * math.exp(config.latency_sigma * _NORMAL.inv_cdf(min(drawn, 1 - 1e-12)))


class FailurePlan:
    """Which arrivals fail, and how.

    A body's n-th arrival draws with n, so that a retry can succeed; after `failures_per_row` failures it
    always does. "invalid" is drawn for answers with a shape only, and counts by what the conversation began
    with: asked again, with what was wrong with the answer, it is the same row, though another body.
    Memory: one dictionary entry (about 100 bytes) a distinct body while there are rates, or
    latencies that vary.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._seed = config.seed
        self._cap = config.failures_per_row
        self._kinds = [(kind, rate) for kind, rate in config.failure_rates.items() if rate > 0]
        self._counts = bool(self._kinds) or config.latency_sigma > 0
        self._seen: dict[int, int] = {}
        self._failed: dict[int, int] = {}

    def draw(self, key: int, row: int | None = None) -> tuple[str | None, int]:
        """The kind of failure of this arrival, or None, and how often the body came before.

        `row` stands for what the conversation began with, where the answer has a shape.
        Nothing changes before `note`, so that a request refused by a limit keeps its draw.
        Without failure rates and varying latencies every arrival is the first.
        """
        if not self._counts:
            return None, 0
        seen = self._seen.get(key, 0)
        drawn = chance(self._seed, FAILURE, key, seen)
        for kind, rate in self._kinds:
            drawn -= rate
            if drawn < 0:
                counted = row if kind == "invalid" else key
                spent = counted is None or (
                    self._cap is not None and self._failed.get(counted, 0) >= self._cap
                )
                return (None if spent else kind), seen
        return None, seen

    def note(self, key: int, kind: str | None, row: int | None = None) -> None:
        """The drawn arrival took place, and failed with `kind` or not."""
        if self._counts:
            self._seen[key] = self._seen.get(key, 0) + 1
            if kind is not None:
                counted = row if kind == "invalid" and row is not None else key
                self._failed[counted] = self._failed.get(counted, 0) + 1


class Repeats:
    """How many texts each body got before, where repeats vary; elsewhere every time is the first.

    Memory: as in `FailurePlan`.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._vary = config.vary_repeats
        self._given: dict[int, int] = {}

    def draw(self, key: int, sampled: bool, whole: bool) -> int:
        """The number of this text; one that is not `whole`, so that nobody reads it, uses up none."""
        if not (self._vary and sampled):
            return 0
        before = self._given.get(key, 0)
        self._given[key] = before + whole
        return before
