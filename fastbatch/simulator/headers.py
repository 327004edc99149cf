"""What a provider says about its limits in its headers: as OpenAI, Azure, Anthropic, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from fastbatch.simulator.limits import THINGS, LimitedThing
from fastbatch.simulator.meters import Meter

Style = Literal["openai", "azure", "anthropic", "none", "silent"]
HeaderStyle = Literal["auto", "openai", "azure", "anthropic", "none"]
STYLES = ("auto", "openai", "azure", "anthropic", "none")

# OpenAI has no limits of input or output alone, so it has no words for them.
_SAID: dict[Style, tuple[LimitedThing, ...]] = {
    "openai": ("requests", "tokens"),
    "azure": ("requests", "tokens"),
    "anthropic": THINGS,
    "none": (),
    "silent": (),
}
_LINES: dict[Style, str] = {
    "openai": "x-ratelimit-limit-{0}: %d\r\nx-ratelimit-remaining-{0}: %d\r\nx-ratelimit-reset-{0}: %s\r\n",
    "anthropic": "anthropic-ratelimit-{0}-limit: %d\r\nanthropic-ratelimit-{0}-remaining: %d\r\n"
    "anthropic-ratelimit-{0}-reset: %s\r\n",
    "none": "",
    "silent": "",
}
_LINES["azure"] = _LINES["openai"]


class Announcer:
    """Writes the limit headers for some meters.

    With several limits of one sort the first declared speaks, so that the numbers a client reads belong to
    one window from the first reply to the last.

    Args:
        meters: of all limits, in the order of their declaration.
        style: whose headers.
        epoch: seconds of the epoch when the clock of `now` showed 0 (Anthropic's resets are dates).
    """

    def __init__(self, meters: Iterable[Meter], style: Style, epoch: float) -> None:
        self._style = style
        self._epoch = epoch
        self._shown: list[tuple[Meter, str]] = []
        first: dict[LimitedThing, Meter] = {}
        for meter in meters:
            first.setdefault(meter.limit.what, meter)
        for what in _SAID[style]:
            if what in first:
                self._shown.append((first[what], _LINES[style].format(what.replace("_", "-"))))

    def lines(self, now: float) -> bytes:
        """The header lines of a reply decided on at `now`; empty where there is nothing to say."""
        return "".join(
            [
                lines % (meter.amount, meter.remaining(now), self._reset(meter.reset(now), now))
                for meter, lines in self._shown
            ]
        ).encode()

    def _reset(self, seconds: float, now: float) -> str:
        if self._style == "anthropic":
            return rfc3339(self._epoch + now + seconds)
        return str(math.ceil(seconds)) if self._style == "azure" else go_duration(seconds)


def retry_headers(wait: int | None, style: Style) -> bytes:
    """`retry-after` (whole seconds, rounded up) and `retry-after-ms`; empty for what will never fit.

    `wait` is in milliseconds. Anthropic has no `retry-after-ms`, and who is silent neither.
    """
    if wait is None or style == "silent":
        return b""
    seconds = b"retry-after: %d\r\n" % -(-wait // 1000)
    return seconds if style == "anthropic" else seconds + b"retry-after-ms: %d\r\n" % wait


def go_duration(seconds: float) -> str:
    """A duration as Go writes it, as in OpenAI's reset headers, rounded up to a millisecond.

    >>> [go_duration(s) for s in (0, 0.017, 1, 90, 360, 8.64, 3600)]
    ['0s', '17ms', '1s', '1m30s', '6m0s', '8.64s', '1h0m0s']
    """
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest % 1000:03}".rstrip("0").rstrip(".")
    text = f"{rest // 1000}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def rfc3339(moment: float) -> str:
    """A time of the epoch as Anthropic's resets are written, rounded up to a millisecond.

    Anthropic writes whole seconds, which would be too coarse for the short windows of a test; a fraction is
    good RFC 3339 all the same.

    >>> rfc3339(1_700_000_000.25), rfc3339(1_700_000_000)
    ('2023-11-14T22:13:20.250Z', '2023-11-14T22:13:20Z')
    """
    seconds, milliseconds = divmod(math.ceil(moment * 1000 - 1e-3), 1000)
    fraction = f".{milliseconds:03}" if milliseconds else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
