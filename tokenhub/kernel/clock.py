"""Time as integers: wall-clock instants are milliseconds since the Unix epoch, UTC."""

import re
import time
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from; tests pass their own."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000_000


def now_ms() -> int:
    """Milliseconds since the Unix epoch, UTC, by the machine's clock."""
    return time.time_ns() // 1_000_000


_DURATION_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


DURATION_MAX_MS = 1000 * 366 * 24 * 60 * 60 * 1000


def parse_duration_ms(text: str) -> int:
    """`"90d"`, `"12h"`, `"1h30m"`, `"0s"` -> milliseconds. Raises: ValueError."""
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(f"{text!r} is not a duration; write for example 30d, 12h or 45m")
    total = sum(int(number[:16]) * _DURATION_MS[unit] for number, unit in parts)
    if total > DURATION_MAX_MS:
        raise ValueError(f"{text[:40]!r} is longer than 1000 years")
    return total
