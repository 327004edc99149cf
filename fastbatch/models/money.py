"""Money for people: `Decimal` dollars, exactly; inside it is whole pico-dollars."""

from __future__ import annotations

from decimal import Decimal, localcontext

_DIGITS = 60  # of the arithmetic here: no sum of a run comes near
_CENTS = 100  # dollars


def dollars(picos: int) -> Decimal:
    """Pico-dollars as dollars.

    >>> dollars(150_000 * 14)
    Decimal('0.0000021')
    """
    with localcontext(prec=_DIGITS):
        found = Decimal(picos).scaleb(-12).normalize()
        return found.quantize(Decimal(1)) if found == found.to_integral_value() else found


def shown(usd: Decimal) -> str:
    """Dollars for people: whole cents from a hundred dollars on, else four digits that say something.

    >>> [shown(Decimal(each)) for each in ("0", "0.000012346", "0.0213", "1.23456", "1234.5")]
    ['$0', '$0.00001235', '$0.02130', '$1.235', '$1,234.50']
    """
    if not usd:
        return "$0"
    sign, usd = ("-", -usd) if usd < 0 else ("", usd)
    digits = 2 if usd >= _CENTS else 3 - usd.adjusted()
    return f"{sign}${usd:,.{digits}f}"
