"""What the clerk counts for each plain request where `tally.c` was compiled; elsewhere these say nothing and their twins do it.

Each does the usual case alone and whole, with the result of its twin in Python, or nothing (tests/clearing/test_tally.py).
"""

from collections.abc import Callable, Sequence

from tokenhub import native
from tokenhub.clearing.cells import Cell, Hold, Path
from tokenhub.ledger.types import Amounts
from tokenhub.metering.plain import PlainUse

Charge = tuple[Hold, PlainUse, int]
"""A hold, what it paid for, and the total tokens of that."""


def _no_hold(_path: Path, _need: Amounts, _request_id: str, _now_ms: int) -> Hold | int:
    return -1


def _no_lines(_charges: Sequence[Charge], _told: set[int]) -> bytes | None:
    return None


def _no_close(_charges: Sequence[Charge]) -> int:
    return -1


_module = native.load("tally")
compiled: bool = _module is not None and _module.bind(Cell, Hold, Path)
_parts = _module if compiled else None
hold: Callable[[Path, Amounts, str, int], Hold | int] = getattr(_parts, "hold", _no_hold)
"""A hold of what was taken. Else a number: 0 or 2 as `cells.take_now` says it, -1 where it did nothing. Twin: that, then `Hold`."""
lines: Callable[[Sequence[Charge], set[int]], bytes | None] = getattr(_parts, "lines", _no_lines)
"""The journal's lines of uses that are within their holds and of kinds that it was told. Twin: `Clerk.journal_plain` without them."""
close: Callable[[Sequence[Charge]], int] = getattr(_parts, "close", _no_close)
"""-1 where it did nothing. Twin: `cells.close`, which says True where this says 1."""
