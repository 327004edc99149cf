"""When batches are given up so that their rows are answered in time: `6h`, `90m`, `2026-11-22T08:00`."""

from __future__ import annotations

import re
from datetime import datetime

from fastbatch.errors import ConfigError

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_KEPT, _MOST = 0.25, 3600.0  # of the time there is, and seconds at most, kept for finishing online


def seconds_left(deadline: str | float, now: float) -> float:
    """Seconds from `now` (since 1970) until a deadline, 0.0 for one that has passed.

    A number is seconds, text a span of time or a date with its time, local where it names no zone.

    >>> seconds_left("1h30m", 0.0), seconds_left("1970-01-01T00:10Z", 60.0), seconds_left(90, 0.0)
    (5400.0, 540.0, 90.0)

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(deadline, str):
        text = deadline.strip()
        parts = _PART.findall(text)
        if parts and not _PART.sub("", text).strip():
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
        try:
            return max(0.0, datetime.fromisoformat(text).timestamp() - now)
        except (ValueError, OverflowError, OSError):
            pass
    elif not isinstance(deadline, bool) and isinstance(deadline, int | float) and 0 <= deadline < 1e9:
        return float(deadline)
    raise ConfigError(
        "must be a span of time or a moment, such as 6h, 90m or 2026-11-22T08:00",
        key="deadline",
        value=deadline,
    )


def given_up_after(seconds: float) -> float:
    """After how many of the seconds that are left the batches are cancelled: a quarter of them is kept for
    the cancellation and for finishing online, an hour at most.

    >>> given_up_after(6 * 3600), given_up_after(3600)
    (18000.0, 2700.0)
    """
    return seconds - min(_KEPT * seconds, _MOST)
