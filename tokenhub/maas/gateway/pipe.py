"""The usual blocks of a stream under way: counted and passed on, in as few steps as can be.

Most of what a gateway does with streams is this. While a pipe stands before its connection, the socket gives its bytes to
the pipe; what is not the usual block, and everything while it is closed, goes to the connection. Where `gate.c` was
compiled it is the gate (decision 0022).
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenhub import native
from tokenhub.maas.gateway.chunks import plain_events

if TYPE_CHECKING:
    from tokenhub.maas.gateway.upstream import UpstreamConnection


class PlainGate:
    """Passes blocks with nothing to look at to `write`, for as many events as it was opened for; all others to `rest`."""

    __slots__ = ("_left", "_opened", "_passed", "_rest", "_write", "at")

    def __init__(self, rest: Callable[[bytes], object], write: Callable[[bytes], object], /) -> None:
        self._rest = rest
        self._write = write
        self._left = self._opened = self._passed = 0
        self.at = time.monotonic()
        """When the last block passed, in the loop's time."""

    def open(self, events: int, /) -> None:
        """So many may pass: the next byte begins a chunk."""
        self._passed += self._opened - self._left
        self._opened = self._left = events

    def close(self) -> None:
        """Let nothing pass."""
        self.open(0)

    def take(self) -> int:
        """How many passed since the last time; closes."""
        self.open(0)
        passed, self._passed = self._passed, 0
        return passed

    def data_received(self, data: bytes) -> None:
        """A block from the socket."""
        found = plain_events(data)
        if 0 < found <= self._left:
            self._left -= found
            self.at = time.monotonic()
            self._write(data)
        else:
            self._rest(data)


_module = native.load("gate")
compiled = _module is not None
if TYPE_CHECKING:
    Gate = PlainGate
else:
    Gate = _module.Gate if compiled else PlainGate


class Pipe(Gate, asyncio.Protocol):
    """The gate as the protocol of an upstream's socket; everything but data is the connection's."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "UpstreamConnection", write: Callable[[bytes], object]) -> None:
        super().__init__(connection.data_received, write)
        self._connection = connection

    def pause_writing(self) -> None:
        """The upstream does not take more."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed."""
        self._connection.connection_lost(exc)
