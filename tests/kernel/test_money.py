"""Amounts of money as people write them."""

import pytest

from tokenhub.kernel.money import MONEY_MAX_NANO, format_nano, parse_nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("1.5", 1_500_000_000),
        ("-0.000000001", -1),
        ("2.50000000000000000000000000000000", 2_500_000_000),
        ("1e3", 10**12),
        ("0e-999999999", 0),
        ("9223372036.854775807", MONEY_MAX_NANO),
    ],
)
def test_amounts(text: str, nano: int) -> None:
    assert parse_nano(text) == nano
    assert parse_nano(format_nano(nano, currency="").strip()) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", "ten", "NaN", "sNaN", "-Infinity", "1.0000000001", "1.0000000000000000000000000000001"),
        *("1e-10", "1e-999999999", "9223372036.854775808", "-1e11", "1e400000", "1e400000000", "9" * 5000),
    ],
)
def test_amounts_that_are_none_or_that_no_book_could_hold(text: str) -> None:
    """A ValueError at once: 10 to the power of 400,000,000 is never written out, nothing is rounded away."""
    with pytest.raises(ValueError, match="money"):
        parse_nano(text)
