"""Where scripts of skills run: what they are given, what bounds them, what comes back.

A script gets a read-only folder with its skill, a work folder of its own, its arguments and standard input; no network,
no home, no environment. What it leaves are bytes that nobody vouches for. An adapter does it (`adapters/sandbox`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use."""

    seconds: int = 30
    """Wall time, and processor time of each process."""
    memory_bytes: int = 512 * MIB
    """Of all its processes together."""
    processes: int = 32
    work_bytes: int = 32 * MIB
    """Of the work folder, of the folder for temporary files, and of any one file."""
    output_bytes: int = 1 * MIB
    """Of standard output, and of standard error."""


@dataclass(frozen=True, slots=True)
class Script:
    """What to run."""

    skill: Mapping[str, bytes]
    """Path -> content of every file of the skill."""
    path: str
    """The script among them."""
    arguments: tuple[str, ...] = ()
    stdin: bytes = b""
    inputs: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Name -> content of what lies in the work folder when it starts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it; all of it is the script's word."""

    exit_code: int
    stopped: str
    """Why it was ended before it ended itself; empty if it was not."""
    stdout: bytes
    stderr: bytes
    files: Mapping[str, bytes]
    """Path in the work folder -> content, of what is new or changed."""
    notes: tuple[str, ...]
    """What of its files could not be taken, and why."""
    took_ms: int


class Sandbox(Protocol):
    """A place for scripts."""

    def missing(self) -> str:
        """Why no script can run here and what mends it; empty if one can."""
        ...

    def run(self, script: Script, limits: Limits, *, tick: Callable[[], None]) -> Outcome:
        """Run to the end or to a limit. `tick` is called many times a second; what it raises ends the script.

        Raises: Unavailable if none can run here, InvalidRequest if the script is of no kind that is known.
        """
        ...
