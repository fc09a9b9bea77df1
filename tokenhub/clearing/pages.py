"""The end of a file as memory: what is put there outlives a killed process as a write does, without a system call.

Room is allocated before it is mapped, so a full disk is an error there and never a signal at a store. That holds on the
file systems named here; on others (those that copy on write or may share what two files have in common, networks)
nothing is mapped, nor anywhere where the disk is nearly full: that room is for the books.
"""

import mmap
import os
from pathlib import Path

WINDOW_BYTES = 2**16
"""Mapped at a time: what it adds to the resident memory."""
ROOM_BYTES = 2**20
"""Allocated at a time."""
FREE_BYTES_MIN = 64 * 2**20
"""With less left on the disk no more is allocated."""
KEEPS_ROOM = frozenset({b"ext3", b"ext4", b"tmpfs"})
_MOUNTS = Path("/proc/self/mountinfo")


def keeps_room(folder: Path) -> bool:
    """Whether room that was allocated in a file there can be stored to, whatever else fills the disk."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}".encode()
    try:
        mounts = [line.split() for line in _MOUNTS.read_bytes().splitlines()]
    except OSError:
        return False
    kinds = {words[words.index(b"-") + 1] for words in mounts if words[2] == wanted and b"-" in words}
    return bool(kinds) and kinds <= KEEPS_ROOM


class Pages:
    """A window on a file, that moves on as it fills. The file is as long as the room, zeros behind what was put."""

    __slots__ = ("_fd", "_from", "_room_to", "_window")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._from = self._room_to = 0
        self._window: mmap.mmap | None = None

    def put(self, data: bytes, at: int) -> bool:
        """Put `data` at this place of the file; False: there is no room, or it is too much. Nothing was put then."""
        window = self._window
        if window is None or at - self._from + len(data) > WINDOW_BYTES:
            window = self._move(at, len(data))
            if window is None:
                return False
        start = at - self._from
        window[start : start + len(data)] = data
        return True

    def close(self) -> None:
        """Map nothing; what was put stays."""
        self._unmap()
        self._room_to = 0

    def _unmap(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _move(self, at: int, size: int) -> mmap.mmap | None:
        start = at - at % mmap.ALLOCATIONGRANULARITY
        if at - start + size > WINDOW_BYTES:
            return None
        self._unmap()
        try:
            if start + WINDOW_BYTES > self._room_to and not self._allocate(at, start + ROOM_BYTES):
                return None
            self._window = mmap.mmap(
                self._fd, WINDOW_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=start
            )
        except (OSError, ValueError):
            return None
        self._from = start
        return self._window

    def _allocate(self, at: int, to: int) -> bool:
        """Room from the end of the lines to there. What a failure has taken goes back."""
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail * disk.f_frsize < FREE_BYTES_MIN:
            return False
        try:
            os.posix_fallocate(self._fd, at, to - at)
        except OSError:
            os.ftruncate(self._fd, at)
            self._room_to = 0
            return False
        self._room_to = to
        return True
