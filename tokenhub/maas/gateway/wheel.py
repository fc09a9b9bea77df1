"""One timer for all connections of a process: time-outs to a quarter of a second, at no cost per byte.

A connection owns a `deadline` (loop time, in seconds; 0 = none) and moves it by assignment. The wheel keeps one
entry a connection; when that comes up too early, because the deadline moved on, it is put back.
"""

import asyncio
from typing import Protocol

TICK_S = 0.25


class Timed(Protocol):
    """What has a deadline."""

    deadline: float
    """Loop time in seconds; 0 means none."""
    wheel_slot: int
    """The tick at which the wheel looks again; 0 when it has no entry. For the wheel alone."""

    def on_deadline(self) -> None:
        """The deadline has passed."""
        ...


class TimerWheel:
    """Slots by tick. Start once; `watch` after a deadline was set or moved nearer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Timed]] = {}
        self._tick = int(loop.time() / TICK_S)
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()
        """Loop time of the last tick: good enough to compute deadlines from, without a system call."""

    def start(self) -> None:
        """Begin to tick."""
        self._handle = self._loop.call_later(TICK_S, self._advance)

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()
        self._slots.clear()

    def watch(self, timed: Timed) -> None:
        """Look at `timed.deadline` when it passes. Cheap when already watched early enough."""
        slot = int(timed.deadline / TICK_S) + 1
        if timed.wheel_slot:
            if timed.wheel_slot <= slot:
                return
            self._discard(timed)
        slot = max(slot, self._tick + 1)
        timed.wheel_slot = slot
        self._slots.setdefault(slot, set()).add(timed)

    def forget(self, timed: Timed) -> None:
        """`timed` is gone."""
        timed.deadline = 0
        if timed.wheel_slot:
            self._discard(timed)
            timed.wheel_slot = 0

    def _discard(self, timed: Timed) -> None:
        slot = self._slots.get(timed.wheel_slot)
        if slot is not None:
            slot.discard(timed)

    def _advance(self) -> None:
        now = self.now = self._loop.time()
        self._handle = self._loop.call_later(TICK_S, self._advance)
        last = int(now / TICK_S)
        first, self._tick = self._tick + 1, last
        for slot in range(first, last + 1):
            for timed in self._slots.pop(slot, ()):
                self._visit(timed, now)

    def _visit(self, timed: Timed, now: float) -> None:
        timed.wheel_slot = 0
        if timed.deadline == 0:
            return
        if timed.deadline <= now:
            timed.deadline = 0
            timed.on_deadline()
        else:
            self.watch(timed)
