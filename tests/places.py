"""Where tests run when several processes share them: a file stays in one process, and what needs a whole hub stays in one too.

Each process has its own PostgreSQL server, templates and temporary folders, and every port is one that the system
chose, so that nothing of one process is seen by another. The engine, the hub of the contract tests and the browser are
dear: the files that use them follow each other in one process.
"""

import shutil
import time
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

WHOLE_HUB = ("tests/contract/", "tests/engines/", "tests/browser/")
LONG = ("tests/work/", "tests/gateway/", "tests/agents/", "tests/clearing/")
"""Folders whose files take longest; they come early, so that no process is left with one of them at the end."""


MEMORY = "/dev/shm"
ROOM_BYTES = 4 * 2**30
LEFT_S = 6 * 3600


def in_memory() -> str | None:
    """A folder in memory, where there is one with room enough; None stands for the ordinary temporary folder."""
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free > ROOM_BYTES else None
    except OSError:
        return None


def clear_memory() -> None:
    """Take away what runs that were killed left in memory."""
    for left in Path(MEMORY).glob("th-*"):
        if time.time() - left.stat().st_mtime > LEFT_S:
            shutil.rmtree(left, ignore_errors=True)


class Places(LoadFileScheduling):
    """Gives a process one file after the other, and all that needs a whole hub to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return "whole hub" if nodeid.startswith(WHOLE_HUB) else super()._split_scope(nodeid)


def longest_first(items: list[pytest.Item]) -> None:
    """Put the long folders before the others; within a folder the order stays."""
    order = (*WHOLE_HUB, *LONG)
    items.sort(
        key=lambda item: next(
            (at for at, folder in enumerate(order) if item.nodeid.startswith(folder)), len(order)
        )
    )
