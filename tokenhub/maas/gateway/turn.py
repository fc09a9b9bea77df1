"""What came in during one turn of the loop, worked on together.

Under load many sockets are readable at once. Reading them all first and running our code over what came in one go
keeps that code in the processor's caches, and lets all of it share one journal write (`after`). What comes alone, when
what came before it came alone too, need not wait for its turn.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

APART_S = 40e-6
"""What comes so long after the end of a turn did not come in one go with it: the loop hands out what it has faster."""


class Turn:
    """Calls to make once everything that is readable now has been read."""

    __slots__ = ("_alone", "_calls", "_ended_s", "_loop", "after", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._alone = True  # the last turn had one call
        self._ended_s = 0.0  # when the last turn ended
        self.running = False
        self.after: Callable[[], None] | None = None
        """Called after all of them."""

    def soon(self, call: Callable[[], None]) -> None:
        """Make this call with the others of this turn, in order; at once if it seems to be the only one."""
        if not self._calls and not self.running:
            if self._alone and time.monotonic() - self._ended_s > APART_S:
                self._calls.append(call)
                self._run()
                return
            self._loop.call_soon(self._run)
        self._calls.append(call)

    def _run(self) -> None:
        calls, self.running = self._calls, True
        count = len(calls)
        self._alone = count == 1
        try:
            for _ in range(count):
                calls.popleft()()
        finally:
            self.running = False
            if calls:  # more came meanwhile, or one failed: the loop reports that one, the others go on
                self._loop.call_soon(self._run)
            if self.after is not None:
                self.after()
            self._ended_s = time.monotonic()
