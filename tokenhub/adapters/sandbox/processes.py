"""A process and all below it, as the kernel tells: how much memory they take, and when they are gone."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PAGE = 4096
_MOST = 4096
"""Processes looked at; more than any limit lets be."""


def memory_bytes(pid: int) -> int:
    """Resident memory of the tree below `pid`, in bytes; pages that two share count twice."""
    total = 0
    for one in _tree(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
    return total


def below(pid: int) -> list[int]:
    """The processes of the tree, without `pid` itself."""
    return [one for one in _tree(pid) if one != pid]


def wait_gone(pids: Sequence[int], *, seconds: float) -> None:
    """Wait until these have ended; they were killed, and the kernel takes its time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(map(_lives, pids)):
        time.sleep(0.01)


def _tree(pid: int) -> Iterator[int]:
    waiting, seen = [pid], 0
    while waiting and seen < _MOST:
        one = waiting.pop()
        seen += 1
        yield one
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False
