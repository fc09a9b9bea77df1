"""Two pipes of a process, read as they fill, never more than so much of each."""

import os
import selectors
from typing import IO, Self

_PIECE = 65536


class Pipes:
    """Standard output and standard error."""

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes], *, most: int) -> None:
        self._most = most
        self._kept = (bytearray(), bytearray())
        self._selector = selectors.DefaultSelector()
        for place, pipe in enumerate((stdout, stderr)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe.fileno(), selectors.EVENT_READ, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    @property
    def closed(self) -> bool:
        """True once both have ended."""
        return not self._selector.get_map()

    @property
    def full(self) -> bool:
        """True once one gave more than may be kept."""
        return any(len(kept) > self._most for kept in self._kept)

    @property
    def taken(self) -> tuple[bytes, bytes]:
        """What came, each cut at the most."""
        return bytes(self._kept[0][: self._most]), bytes(self._kept[1][: self._most])

    def read(self, seconds: float) -> None:
        """Take what comes within `seconds`, one piece of each at most."""
        if self.closed:
            selectors.DefaultSelector().select(seconds)
            return
        for key, _ in self._selector.select(seconds):
            piece = os.read(key.fd, _PIECE)
            if piece:
                self._kept[int(key.data)].extend(piece)
            else:
                self._selector.unregister(key.fd)
