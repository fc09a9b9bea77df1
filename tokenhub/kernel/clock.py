"""Time as integers: wall-clock instants are milliseconds since the Unix epoch, UTC."""

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
