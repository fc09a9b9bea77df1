"""What came in during one turn of the loop, worked on together.

Under load many sockets are readable at once. Reading them all first and running our code over what came in one go
keeps that code in the processor's caches, and lets all of it share one journal write (`after`).
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turn:
    """Calls to make once everything that is readable now has been read."""

    __slots__ = ("_calls", "_loop", "after", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self.running = False
        self.after: Callable[[], None] | None = None
        """Called after all of them."""

    def soon(self, call: Callable[[], None]) -> None:
        """Make this call with the others of this turn, in order."""
        if not self._calls and not self.running:
            self._loop.call_soon(self._run)
        self._calls.append(call)

    def _run(self) -> None:
        calls, self.running = self._calls, True
        try:
            for _ in range(len(calls)):
                calls.popleft()()
        finally:
            self.running = False
            if calls:  # more came meanwhile, or one failed: the loop reports that one, the others go on
                self._loop.call_soon(self._run)
            if self.after is not None:
                self.after()
