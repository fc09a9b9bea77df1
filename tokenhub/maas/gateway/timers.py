"""Time-outs of all connections of a process at the price of one assignment.

A connection moves its own `deadline`; twice a second one pass over all connections finds those that are due. Ten
thousand connections cost half a millisecond a pass, and nothing per byte or request.
"""

import asyncio
from typing import Protocol

TICK_S = 0.5


class Timed(Protocol):
    """What has a deadline."""

    deadline: float
    """Loop time in seconds; 0 means none."""

    def on_deadline(self) -> None:
        """The deadline has passed; it has been set to 0."""
        ...


class Timers:
    """Everything timed, between `watch` and `forget`."""

    __slots__ = ("_handle", "_loop", "_timed", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timed: set[Timed] = set()
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()
        """Loop time of the last pass: good enough to compute deadlines from, without a system call."""

    def start(self) -> None:
        """Begin to pass."""
        self._handle = self._loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Pass no more."""
        if self._handle is not None:
            self._handle.cancel()
        self._timed.clear()

    def watch(self, timed: Timed) -> None:
        """From now on `timed.deadline` counts."""
        self._timed.add(timed)

    def forget(self, timed: Timed) -> None:
        """`timed` is gone."""
        self._timed.discard(timed)

    def __len__(self) -> int:
        return len(self._timed)

    def _tick(self) -> None:
        now = self.now = self._loop.time()
        self._handle = self._loop.call_later(TICK_S, self._tick)
        for timed in [timed for timed in self._timed if 0.0 < timed.deadline <= now]:
            timed.deadline = 0.0
            timed.on_deadline()
