"""Money as integers: amounts are nano-units of a currency (1e-9), prices nano-units per 1,000,000 units."""

from decimal import Context, Decimal, Inexact, InvalidOperation

NANO = 1_000_000_000
PER = 1_000_000
"""A price is for this many units (tokens, mostly)."""


MONEY_MAX_NANO = 2**63 - 1
"""The most that a column of the books holds."""
_EXACT = Decimal("1e-9")


def parse_nano(text: str) -> int:
    """`"1.5"` (units of a currency) -> 1_500_000_000 nano-units.

    Raises: ValueError for anything that is not a finite decimal, is finer than 1e-9 or beyond MONEY_MAX_NANO.
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not an amount of money") from error
    if not value.is_finite():
        raise ValueError(f"{text!r} is not an amount of money")
    # Compared before it is reckoned with: 1e400000000 written out would take hours and all memory.
    if value.copy_abs() > Decimal(MONEY_MAX_NANO).scaleb(-9):
        raise ValueError(f"{text!r} is more money than the books can hold")
    try:
        exact = value.quantize(_EXACT, context=Context(traps=[InvalidOperation, Inexact]))
    except Inexact as error:
        raise ValueError(f"{text!r} is not an amount of money with at most nine decimals") from error
    return int(exact.scaleb(9))


def format_nano(amount_nano: int, *, currency: str) -> str:
    """1_500_000_000, "USD" -> "1.50 USD"; at least two and at most nine decimals, nothing rounded away."""
    sign = "-" if amount_nano < 0 else ""
    whole, rest = divmod(abs(amount_nano), NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals} {currency}"
