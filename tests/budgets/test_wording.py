"""How people write limits, and what is forecast."""

import pytest

from tokenhub.budgets.forecast import Forecast, forecast
from tokenhub.budgets.types import Window
from tokenhub.budgets.wording import describe_window, format_amount, parse_amount, parse_window
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.ledger.types import Unit


def test_amounts() -> None:
    assert parse_amount("20M", Unit.TOKENS) == 20_000_000
    assert parse_amount("500_000", Unit.TOKENS) == 500_000
    assert parse_amount("12.5", Unit.MONEY) == 12_500_000_000
    assert format_amount(20_000_000, Unit.TOKENS, currency="USD") == "20,000,000"
    assert format_amount(12_500_000_000, Unit.MONEY, currency="USD") == "12.50 USD"


@pytest.mark.parametrize("text", ["", "ten", "-5", "1.5M", "9" * 19, "9" * 5000, "9223372037b", "٣"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_amount(text, Unit.TOKENS)
    assert refused.value.param == "cap"


def test_zeros_in_front_count_for_nothing() -> None:
    assert parse_amount("0" * 5000 + "5k", Unit.TOKENS) == 5000


def test_windows() -> None:
    assert parse_window("lifetime", kind=None, tz="UTC", anchor_ms=0) == Window()
    assert parse_window("month", kind=None, tz="Europe/Paris", anchor_ms=5).kind == "calendar"
    five_hours = parse_window("5h", kind=None, tz="UTC", anchor_ms=0)
    assert (five_hours.kind, five_hours.length_ms) == ("rolling", 18_000_000)
    assert describe_window(five_hours) == "rolling 5h"
    for text in ("fortnight", "36526d", "9" * 30 + "h", "9" * 5000 + "s", "0h"):
        with pytest.raises(InvalidRequest) as refused:
            parse_window(text, kind=None, tz="UTC", anchor_ms=0)
        assert refused.value.param == "window", text


def test_forecast() -> None:
    day = 86_400_000
    half = forecast(used=50, cap=100, since_ms=0, until_ms=365 * day, now_ms=10 * day)
    assert half.used_up_at_ms == 20 * day and half.at_end == 50 + 50 * 355 // 10
    slow = forecast(used=1, cap=100, since_ms=0, until_ms=30 * day, now_ms=10 * day)
    assert slow == Forecast(None, 3)
    assert forecast(used=0, cap=100, since_ms=0, until_ms=None, now_ms=day) == Forecast(None, None)
    assert forecast(used=100, cap=100, since_ms=0, until_ms=None, now_ms=day).used_up_at_ms == day


def test_what_lasts_for_ages_has_no_day_on_which_it_is_used_up() -> None:
    """A billion tokens, one of them used on the first day: no calendar has that day."""
    day = 86_400_000
    assert forecast(used=1, cap=10**9, since_ms=0, until_ms=None, now_ms=day) == Forecast(None, None)
    assert forecast(used=1, cap=36_000, since_ms=0, until_ms=None, now_ms=day).used_up_at_ms == 36_000 * day
