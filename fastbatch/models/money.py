"""Money for people: `Decimal` dollars, exactly; inside it is whole pico-dollars."""

from __future__ import annotations

from decimal import Decimal, localcontext

_DIGITS = 60  # of the arithmetic here: no sum of a run comes near


def dollars(picos: int) -> Decimal:
    """Pico-dollars as dollars.

    >>> dollars(150_000 * 14)
    Decimal('0.0000021')
    """
    with localcontext(prec=_DIGITS):
        found = Decimal(picos).scaleb(-12).normalize()
        return found.quantize(Decimal(1)) if found == found.to_integral_value() else found
