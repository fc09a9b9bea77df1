"""How people write and read limits: `20M` tokens, `12.50` of money, windows such as `month` or `5h`. Pure."""

import re
from datetime import UTC, datetime

from tokenhub.budgets.types import Window, WindowKind, WindowLength
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.kernel.money import format_nano, parse_nano
from tokenhub.ledger.types import Unit

UNITS: dict[str, Unit] = {
    "tokens": Unit.TOKENS,
    "requests": Unit.REQUESTS,
    "money": Unit.MONEY,
    "concurrency": Unit.CONCURRENCY,
}
_MULTIPLES = {"": 1, "k": 1000, "m": 10**6, "b": 10**9}
_LENGTHS: dict[str, WindowLength] = {
    "minute": "minute",
    "hour": "hour",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year",
}
_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CAP_MAX = 2**63 - 1
_LENGTH_MS_MAX = 36_525 * 86_400_000
"""A hundred years: the end of a window is a date."""


def parse_amount(text: str, unit: Unit) -> int:
    """`"20M"` -> 20_000_000; money in units of the currency -> nano. Raises: InvalidRequest."""
    if unit == Unit.MONEY:
        try:
            return parse_nano(text)
        except ValueError as error:
            raise InvalidRequest(f"{error}.", param="cap") from error
    found = re.fullmatch(r"0*([0-9]+)([kmb]?)", text.replace("_", "").replace(",", "").lower())
    if found is None:
        raise InvalidRequest(f"{text!r} is not an amount such as 500000, 500k or 20M.", param="cap")
    amount = int(found[1][:20]) * _MULTIPLES[found[2]]  # 20 digits are too many whatever follows
    if amount > _CAP_MAX:
        raise InvalidRequest(f"{text!r} is more than the books can hold.", param="cap")
    return amount


def format_amount(amount: int, unit: Unit, *, currency: str) -> str:
    """20_000_000 tokens -> `20,000,000`; money with its currency."""
    return format_nano(amount, currency=currency) if unit == Unit.MONEY else f"{amount:,}"


def parse_window(length: str, *, kind: WindowKind | None, tz: str, anchor_ms: int) -> Window:
    """`lifetime`, `month`, `5h` and so on. Without a kind, hours and longer names are by the calendar, others rolling.

    Raises: InvalidRequest.
    """
    if length == "lifetime":
        return Window()
    named = _LENGTHS.get(length)
    if named is not None:
        return Window(
            kind or ("rolling" if named == "minute" else "calendar"), named, tz=tz, anchor_ms=anchor_ms
        )
    found = re.fullmatch(r"0*([1-9][0-9]*)([smhd])", length)
    if found is None or kind == "calendar":
        raise InvalidRequest(
            f"{length!r} is not a window: lifetime, minute, hour, day, week, month, year, or a length such as 5h.",
            param="window",
        )
    length_ms = int(found[1][:20]) * _MS[found[2]]
    if length_ms > _LENGTH_MS_MAX:
        raise InvalidRequest(f"{length!r} is longer than a hundred years.", param="window")
    return Window(kind or "rolling", length_ms=length_ms, tz=tz, anchor_ms=anchor_ms)


def describe_window(window: Window) -> str:
    """One phrase: `calendar month (Europe/Paris)`, `rolling 5h`."""
    if window.kind == "lifetime":
        return "lifetime"
    length = window.length or _short(window.length_ms)
    zone = f" ({window.tz})" if window.kind in ("calendar", "anniversary") else ""
    return f"{window.kind} {length}{zone}"


def iso(at_ms: int | None) -> str:
    """ISO 8601, UTC, seconds; empty for None."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _short(ms: int) -> str:
    for letter in ("d", "h", "m", "s"):
        if ms % _MS[letter] == 0:
            return f"{ms // _MS[letter]}{letter}"
    return f"{ms}ms"
