"""Exact money: whole pico-dollars inside, `Decimal` dollars outside."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext

from fastbatch.models.money import dollars

__all__ = ("PICOS", "dollars", "per_token", "picos", "plain")

PICOS = 10**12
"""Pico-dollars in a dollar; a dollar per million tokens is a million of them per token."""

_PER_MILLION = 10**6
_DIGITS = 60  # of the arithmetic here: no sum of a run comes near


def picos(usd: Decimal | int | str) -> int:
    """Dollars as pico-dollars, to the nearest.

    Raises:
        ValueError: that is no finite number.
    """
    return _whole(usd, PICOS)


def per_token(usd_per_million: Decimal | int | str) -> int:
    """Dollars per million tokens as pico-dollars per token, to the nearest.

    Price lists have at most six digits behind the point, which makes it exact.

    Raises:
        ValueError: that is no finite number.

    >>> per_token("0.15")
    150000
    """
    return _whole(usd_per_million, _PER_MILLION)


def plain(picos: int) -> str:
    """Pico-dollars as dollars in plain digits, as JSON and tables have them.

    >>> plain(2_100_000), plain(0), plain(3 * 10**12)
    ('0.0000021', '0', '3')
    """
    if 0 < picos < PICOS:  # nearly all
        return f"0.{picos:012d}".rstrip("0")
    sign, picos = ("-", -picos) if picos < 0 else ("", picos)
    whole, rest = divmod(picos, PICOS)
    return f"{sign}{whole}.{rest:012d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"


def _whole(given: Decimal | int | str, times: int) -> int:
    try:
        with localcontext(prec=_DIGITS):
            return int((Decimal(given) * times).quantize(Decimal(1), ROUND_HALF_EVEN))
    except (InvalidOperation, OverflowError) as problem:
        raise ValueError(f"{given!r} is no amount of dollars") from problem
