"""Numbers as people read them, each with a greatest width, so that columns can stand still."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fastbatch.models.stats import Snapshot

__all__ = [
    "averages",
    "duration",
    "money",
    "one_line",
    "percent",
    "projected",
    "rate",
    "seconds",
    "short",
    "sizes",
]

_UNITS = ("", "k", "M", "G", "T", "P")
_LEAST = Decimal("0.0001")  # dollars that are told
_MEGABYTE = 1_000_000  # as package indexes and disks count


def short(number: float) -> str:
    """Three significant digits and a unit, at most five characters.

    >>> short(0), short(950), short(1_204), short(48_210), short(999_999), short(1_230_000)
    ('0', '950', '1.20k', '48.2k', '1.00M', '1.23M')
    """
    for unit in _UNITS:
        # What would round up to 1000 belongs to the next unit.
        if number < (999.5 if unit else 1000) or unit == _UNITS[-1]:
            break
        number /= 1000
    if not unit:
        return f"{int(number)}"
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}{unit}"


def rate(per_second: float) -> str:
    """A speed, at most seven characters; slow ones keep a decimal.

    >>> rate(0), rate(0.04), rate(2.41), rate(240.2), rate(12_345)
    ('0/s', '<0.1/s', '2.4/s', '240/s', '12.3k/s')
    """
    if per_second == 0:
        return "0/s"
    if per_second < 0.05:
        return "<0.1/s"
    return f"{per_second:.1f}/s" if per_second < 9.95 else f"{short(round(per_second))}/s"


def seconds(number: float) -> str:
    """A short time, at most five characters.

    >>> seconds(0.0123), seconds(0.84), seconds(12.34), seconds(123.4)
    ('12ms', '840ms', '12.3s', '123s')
    """
    if number < 0.9995:
        return f"{number * 1000:.0f}ms"
    return f"{number:.1f}s" if number < 99.95 else f"{min(number, 9999):.0f}s"


def money(usd: Decimal | None) -> str:
    """Dollars, at most seven characters; None is unknown.

    >>> [money(Decimal(each)) for each in ("0", "0.0000124", "0.0213", "1.235", "123.4", "12345")]
    ['$0', '<$.0001', '$0.0213', '$1.24', '$123', '$12.3k']
    """
    if usd is None:
        return "-"
    if not usd:
        return "$0"
    if usd < _LEAST:
        return "<$.0001"
    if usd < 1:
        return f"${usd:.4f}"
    return f"${usd:.2f}" if usd < 100 else f"${short(float(usd))}"


def projected(snapshot: Snapshot) -> str:
    """What all rows will cost, at most eight characters; it is more than that where answers are unpriced."""
    told = money(snapshot.projected)
    if not snapshot.bill.unpriced or snapshot.projected is None:
        return told
    return ">$0" if told.startswith("<") else f">{told}"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units, at most seven characters; None is unknown.

    >>> [duration(seconds) for seconds in (0.4, 37.2, 65, 11_220, 183_600, None)]
    ['0s', '37s', '1m 05s', '3h 07m', '2d 03h', '-']
    """
    if seconds is None:
        return "-"
    left = int(min(seconds, 1e9))  # a speed next to nothing leaves next to infinity
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m {left % 60:02}s"
    if left < 86_400:
        return f"{left // 3600}h {left // 60 % 60:02}m"
    if left < 100 * 86_400:
        return f"{left // 86_400}d {left // 3600 % 24:02}h"
    return ">99d"


def percent(done: float, total: float) -> str:
    """A share, rounded down: 100% stands for all of it, at most four characters below 1000%.

    >>> percent(999, 1000), percent(1000, 1000), percent(0, 0)
    ('99%', '100%', '100%')
    """
    return f"{int(100 * done / total)}%" if total > 0 else "100%"


def sizes(done: int, total: int | None) -> str:
    """Bytes that came, and of how many.

    >>> sizes(43_120_000, 98_000_000), sizes(43_120_000, None)
    ('43.1/98.0 MB', '43.1 MB')
    """
    whole = "" if total is None else f"/{total / _MEGABYTE:,.1f}"
    return f"{done / _MEGABYTE:,.1f}{whole} MB"


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, which a provider's message may hold.

    >>> one_line("slow\\x1b[2J\\ndown")
    'slow [2J down'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def averages(snapshot: Snapshot) -> Snapshot:
    """The same picture with its speeds taken over the whole run, as the last one shows them."""
    seconds = snapshot.elapsed
    if seconds <= 0:
        return snapshot
    return replace(
        snapshot,
        rows_per_s=(snapshot.ok + snapshot.failed) / seconds,
        prompt_tokens_per_s=snapshot.prompt_tokens / seconds,
        completion_tokens_per_s=snapshot.completion_tokens / seconds,
    )
