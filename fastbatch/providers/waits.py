"""How long a refusal asks us to wait, and whether it is the day that is used up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, NamedTuple

from fastbatch.providers.limit_headers import read_limits

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_GOOGLE_DELAY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
# A reset further away than this belongs to a quota of a day (or a month): waiting for it is no pause.
_LONG = 3600.0


class Wait(NamedTuple):
    """What a refusal says: seconds to wait (None: nothing), and whether a whole day's quota is used up."""

    seconds: float | None
    daily: bool = False


def read_wait(headers: Mapping[str, str]) -> Wait:
    """The wait of a 429: as `retry-after` states it, else until the limits with nothing left are free again.

    >>> read_wait({"x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-requests": "0",
    ...            "x-ratelimit-reset-requests": "6m0s"})
    Wait(seconds=360.0, daily=False)
    """
    stated = read_retry_after(headers)
    limits = [limit for limit in read_limits(headers) if limit.reset is not None]
    # Azure says -1, which is no number of requests that are left: it counts where no limit says 0.
    empty = [limit for limit in limits if limit.remaining == 0] or [
        limit for limit in limits if limit.remaining is None
    ]
    resets = [limit.reset for limit in empty if limit.reset is not None]
    longest = max(resets, default=None)
    seconds = longest if stated is None else stated
    # A day's bucket refills all the time: who is asked back within the hour has not lost the day.
    daily = longest is not None and longest > _LONG and seconds is not None and seconds > _LONG
    return Wait(seconds, daily)


def read_retry_after(headers: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait by `retry-after-ms`, else `retry-after` (seconds or an HTTP date), None where unsaid.

    A date is measured against the reply's own `Date` header, so that a wrong clock here changes nothing. A
    reply without one leaves our `clock` (seconds since 1970); what that puts into the past, or more than an
    hour ahead, counts as unsaid, as negative, absurd and unreadable values do.
    """
    if (wait := _number(headers.get("retry-after-ms"))) is not None:
        return wait / 1000
    given = headers.get("retry-after")
    if not given:
        return None
    if (wait := _number(given)) is not None:
        return wait
    try:
        then = parsedate_to_datetime(given)
        sent = headers.get("date")
        if sent is not None:
            return max(0.0, (then - parsedate_to_datetime(sent)).total_seconds())
        # A date is cut to a second, so that one just ahead may look as if it lay just behind.
        ahead = (then - datetime.fromtimestamp(clock(), UTC)).total_seconds()
        return max(0.0, ahead) if -2.0 <= ahead <= _LONG else None
    except (ValueError, TypeError, OverflowError):
        return None


def read_google_wait(body: Any) -> tuple[float | None, bool]:
    """Seconds and whether the day is used up, from the details of Google's error bodies; (None, False) else.

    `google.rpc.RetryInfo.retryDelay` is text such as "26s"; a `google.rpc.QuotaFailure` names the quota in
    `quotaId`, with `PerDay` in it where a day's is meant.

    >>> read_google_wait({"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
    ...                                          "retryDelay": "26s"}]}})
    (26.0, False)
    """
    if isinstance(body, list):  # the OpenAI-shaped endpoint wraps its errors so
        body = body[0] if body else None
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    seconds, daily = None, False
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        kind = detail.get("@type")
        if not isinstance(kind, str):
            continue
        if kind.endswith("google.rpc.RetryInfo"):
            delay = detail.get("retryDelay")
            found = _GOOGLE_DELAY.fullmatch(delay) if isinstance(delay, str) else None
            seconds = float(found[1]) if found else seconds
        elif kind.endswith("google.rpc.QuotaFailure"):
            violations = detail.get("violations")
            for violation in violations if isinstance(violations, list) else ():
                quota = violation.get("quotaId") if isinstance(violation, dict) else None
                daily = daily or (isinstance(quota, str) and "PerDay" in quota)
    return seconds, daily


def _number(given: str | None) -> float | None:
    """A number of 0 or more as headers write it, None for anything else."""
    if not given or not _NUMBER.fullmatch(given.strip()):
        return None
    number = float(given)
    return number if isfinite(number) else None
