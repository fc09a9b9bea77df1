"""Money as integers: amounts are nano-units of a currency (1e-9), prices nano-units per 1,000,000 units."""

from decimal import Decimal, InvalidOperation

NANO = 1_000_000_000
PER = 1_000_000
"""A price is for this many units (tokens, mostly)."""


def parse_nano(text: str) -> int:
    """`"1.5"` (units of a currency) -> 1_500_000_000 nano-units.

    Raises: ValueError for anything that is not a finite decimal or is finer than 1e-9.
    """
    try:
        value = Decimal(text) * NANO
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not an amount of money") from error
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"{text!r} is not an amount of money with at most nine decimals")
    return int(value)


def format_nano(amount_nano: int, *, currency: str) -> str:
    """1_500_000_000, "USD" -> "1.50 USD"; at least two and at most nine decimals, nothing rounded away."""
    sign = "-" if amount_nano < 0 else ""
    whole, rest = divmod(abs(amount_nano), NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals} {currency}"
