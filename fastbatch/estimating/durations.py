"""How long a run takes at least, by each limit; the slowest of them decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from fastbatch.estimating.values import Duration, Tokens
from fastbatch.limits.cost import Quantity
from fastbatch.limits.options import Window

_SPANS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day"}


def duration(
    requests: int,
    taken: Mapping[Quantity, Tokens],
    windows: Sequence[Window],
    *,
    concurrency: int,
    latency: float,
) -> Duration | None:
    """Under `windows`, of which the requests take so many tokens of each kind, with answers that come after
    `latency` seconds (0: nobody knows); None: nothing says.

    What a window allows may leave at once, so that n windows' worth of requests take n - 1 windows.

    >>> duration(1000, {}, [Window(requests=100)], concurrency=1, latency=0.0)
    Duration(low=540.0, expected=540.0, high=540.0, slowest='100 requests a minute')
    """
    found = [*_each(requests, taken, windows)]
    if latency:
        seconds = ceil(requests / concurrency) * latency
        found.append(Duration(seconds, seconds, seconds, f"{concurrency:,} at a time"))
    if not found:
        return None
    slowest = max(found, key=lambda each: each.expected or each.high or each.low)
    low = max(each.low for each in found)
    known = [each.expected for each in found if each.expected is not None]
    ends = [each.high for each in found if each.high is not None]
    return Duration(
        low,
        max(known) if len(known) == len(found) else None,
        max(ends) if len(ends) == len(found) else None,
        slowest.slowest,
    )


def _each(requests: int, taken: Mapping[Quantity, Tokens], windows: Sequence[Window]) -> Iterator[Duration]:
    for window in windows:
        for what, amount in window.amounts():
            of = Tokens(requests, requests, requests) if what == "requests" else taken[what]
            low, expected, high = of
            yield Duration(
                _seconds(low, amount, window.per),
                None if expected is None else _seconds(expected, amount, window.per),
                None if high is None else _seconds(high, amount, window.per),
                f"{amount:,} {what.replace('_', ' ')} {_span(window.per)}",
            )


def _seconds(taken: int, amount: int, per: float) -> float:
    return max(0, ceil(taken / amount) - 1) * per


def _span(per: float) -> str:
    return f"a {_SPANS[per]}" if per in _SPANS else f"in {per:g} s"
