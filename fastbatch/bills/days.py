"""Days of UTC, as people name them and as lines do."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

from fastbatch.errors import ConfigError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def day_named(text: str, option: str) -> str:
    """A day that somebody named, `YYYY-MM-DD`.

    Raises:
        ConfigError: it is none.
    """
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ConfigError("is no day; write it as 2026-11-21", key=option, value=text) from None


def days_named(first: str | None, last: str | None) -> tuple[str, str]:
    """The first and the last of the days to be counted, "" where there is no end to them.

    Raises:
        ConfigError: one is no day, or the last is before the first.
    """
    begin = "" if first is None else day_named(first, "from")
    end = "" if last is None else day_named(last, "to")
    if begin and end and end < begin:
        raise ConfigError(f"is before --from {begin}", key="to", value=end)
    return begin, end


@lru_cache(maxsize=4096)
def seconds(at: str) -> float | None:
    """A line's moment (`2026-11-21T07:29:41Z`) or a day in seconds since 1970; None where it is neither."""
    try:
        return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() if at else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def moment_of(created: int) -> str:
    """Seconds since 1970 as lines have them."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
