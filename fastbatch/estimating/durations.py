"""How long a run takes at least, by each limit; the slowest of them decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from fastbatch.estimating.values import Duration, Tokens
from fastbatch.limits.cost import Quantity
from fastbatch.limits.options import Window

_SPANS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day"}


def duration(
    requests: int,
    tokens_in: Tokens,
    tokens_out: Tokens,
    windows: Sequence[Window],
    *,
    concurrency: int,
    latency: float,
) -> Duration | None:
    """Under `windows`, with answers that take `latency` seconds (0: nobody knows); None: nothing says.

    What a window allows may leave at once, so that n windows' worth of requests take n - 1 windows.

    >>> duration(1000, Tokens(0, 0, 0), Tokens(0, 0, 0), [Window(requests=100)], concurrency=1, latency=0.0)
    Duration(low=540.0, expected=540.0, high=540.0, slowest='100 requests a minute')
    """
    found = [*_each(requests, tokens_in, tokens_out, windows)]
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


def _each(
    requests: int, tokens_in: Tokens, tokens_out: Tokens, windows: Sequence[Window]
) -> Iterator[Duration]:
    for window in windows:
        for what, amount in window.amounts():
            low, expected, high = _taken(what, requests, tokens_in, tokens_out)
            yield Duration(
                _seconds(low, amount, window.per),
                None if expected is None else _seconds(expected, amount, window.per),
                None if high is None else _seconds(high, amount, window.per),
                f"{amount:,} {what.replace('_', ' ')} {_span(window.per)}",
            )


def _taken(what: Quantity, requests: int, tokens_in: Tokens, tokens_out: Tokens) -> Tokens:
    if what == "requests":
        return Tokens(requests, requests, requests)
    if what == "input_tokens":
        return tokens_in
    if what == "output_tokens":
        return tokens_out
    expected = (
        None
        if tokens_in.expected is None or tokens_out.expected is None
        else tokens_in.expected + tokens_out.expected
    )
    high = None if tokens_in.high is None or tokens_out.high is None else tokens_in.high + tokens_out.high
    return Tokens(tokens_in.low + tokens_out.low, expected, high)


def _seconds(taken: int, amount: int, per: float) -> float:
    return max(0, ceil(taken / amount) - 1) * per


def _span(per: float) -> str:
    return f"a {_SPANS[per]}" if per in _SPANS else f"in {per:g} s"
