"""How the supervisor starts a process: as a copy of its role's zygote on Linux, as a new process elsewhere.

Both answer by messages: `born` with the process id, later `ready` and `leaving` from the process itself (which a new
process without a zygote never says).
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tokenhub.cli import lean, zygote
from tokenhub.cli.zygote import Message, Start

BACKOFF_S_MAX = 5.0
STUCK_S = 60.0
"""A zygote that has not copied itself for so long is killed and replaced."""
_PR_SET_CHILD_SUBREAPER = 36


class Order(NamedTuple):
    """A process to be started, and the files it gets: of its output, and perhaps the socket it listens on."""

    start: Start
    log: int
    listener: int | None

    @property
    def files(self) -> list[int]:
        """As `zygote.ask` takes them."""
        return [self.log] if self.listener is None else [self.log, self.listener]


class Launcher(Protocol):
    """Starts processes that become children of this one."""

    def launch(self, order: Order) -> None:
        """Start it; a message tells when it is born."""
        ...

    def messages(self) -> list[Message]:
        """What processes said since the last call."""
        ...

    def ended(self, pid: int) -> bool:
        """A child died: True if it was the launcher's own, which is then replaced."""
        ...

    def tend(self) -> None:
        """Replace what died, ask again for what was not born."""
        ...

    def files(self) -> list[socket.socket]:
        """Readable when there are messages."""
        ...

    def close(self) -> None:
        """Start nothing more."""
        ...


def make_launcher(log_dir: Path) -> Launcher:
    """The fastest launcher of this system."""
    return ZygoteLauncher(log_dir) if sys.platform.startswith("linux") else NewProcessLauncher()


@dataclass
class _Zygote:
    """One zygote and what it was asked for and has not born yet, by name."""

    name: str
    roles: tuple[str, ...]
    control: socket.socket | None = None
    pid: int = 0
    born_any: bool = False
    warm: bool = False
    """It was told to import everything that it may be asked for."""
    failures: int = 0
    start_after_s: float = 0.0
    asked_s: float = 0.0
    pending: dict[str, Order] = field(default_factory=dict[str, Order])


class ZygoteLauncher:
    """Owns the zygotes; they start with the launcher, because importing takes a while."""

    def __init__(self, log_dir: Path) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans' parent: this process
        self._log_path = log_dir / "zygotes.log"
        self._zygotes = [_Zygote(name, roles) for name, roles in zygote.ZYGOTES.items()]
        self._closed = False
        for found in self._zygotes:
            self._hatch(found)

    def launch(self, order: Order) -> None:
        """Start it; a message tells when it is born."""
        found = next(one for one in self._zygotes if order.start.role in one.roles)
        found.pending[order.start.name] = order
        found.asked_s = time.monotonic()
        self._ask(found, order.start, order.files)

    def messages(self) -> list[Message]:
        """What processes said since the last call."""
        return [message for found in self._zygotes for message in self._read(found)]

    def ended(self, pid: int) -> bool:
        """A child died: True if it was a zygote, which is then replaced, at once unless it never worked."""
        for found in self._zygotes:
            if found.pid == pid:
                found.failures = 0 if found.born_any else found.failures + 1
                pause = 0.0 if found.failures <= 1 else min(0.1 * 2**found.failures, BACKOFF_S_MAX)
                found.start_after_s = time.monotonic() + pause
                found.pid = 0
                self._hang_up(found)
                return True
        return False

    def tend(self) -> None:
        """Replace what died, ask again for what was not born."""
        now = time.monotonic()
        for found in self._zygotes:
            if found.pid and found.pending and now - found.asked_s > STUCK_S:
                found.asked_s = now
                with suppress(ProcessLookupError):
                    os.kill(found.pid, signal.SIGKILL)
            if not found.pid and now >= found.start_after_s and not self._closed:
                self._hatch(found)
            if not found.pending and not found.warm:  # what is wanted now comes first
                found.warm = True
                for role in found.roles:
                    self._ask(found, Start(role, ""))

    def files(self) -> list[socket.socket]:
        """Readable when there are messages."""
        return [found.control for found in self._zygotes if found.control is not None]

    def close(self) -> None:
        """End the zygotes; a copy that is just being made ends itself."""
        self._closed = True
        for found in self._zygotes:
            self._hang_up(found)

    def _hang_up(self, found: _Zygote) -> None:
        """What its copies would say is lost: they run, and that is known."""
        if found.control is not None:
            found.control.close()
            found.control = None

    def _hatch(self, found: _Zygote) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        arguments = ["serve", "zygote", found.name, "--control-fd", str(theirs.fileno())]
        with theirs, self._log_path.open("ab") as log:
            found.pid = _popen(arguments, log=log.fileno(), keep=[theirs.fileno()])
        found.control, found.born_any, found.warm = ours, False, False
        found.asked_s = time.monotonic()
        for order in found.pending.values():
            self._ask(found, order.start, order.files)

    def _ask(self, found: _Zygote, start: Start, files: Sequence[int] = ()) -> None:
        if found.control is not None:
            with suppress(OSError):  # it died: the next one is asked again
                zygote.ask(found.control, start, files)

    def _read(self, found: _Zygote) -> list[Message]:
        if found.control is None:
            return []
        said = zygote.read(found.control)
        for message in said:
            if message.word == "born":
                found.born_any = True
                found.pending.pop(message.name, None)
        return said


class NewProcessLauncher:
    """A new interpreter for each process."""

    def __init__(self) -> None:
        self._said: list[Message] = []

    def launch(self, order: Order) -> None:
        """Start it; a message tells its process id."""
        arguments, keep = ["serve", order.start.role, *order.start.arguments], list[int]()
        if order.listener is not None:
            arguments += ["--listen-fd", str(order.listener)]
            keep = [order.listener]
        pid = _popen(arguments, log=order.log, keep=keep)
        self._said.append(Message("born", order.start.name, pid))

    def messages(self) -> list[Message]:
        """Births since the last call."""
        said, self._said = self._said, []
        return said

    def ended(self, pid: int) -> bool:
        """Never its own."""
        return False

    def tend(self) -> None:
        """Nothing to do."""

    def files(self) -> list[socket.socket]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing to do."""


def _popen(arguments: Sequence[str], *, log: int, keep: Sequence[int]) -> int:
    """A new `hub <arguments>` in a session of its own: the terminal's Ctrl-C reaches the supervisor alone."""
    process = subprocess.Popen(
        [*lean.python(lean="gateway" in arguments), "-m", "tokenhub.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=list(keep),
        start_new_session=True,
        env={**os.environ, "TOKENHUB_SUPERVISOR_PID": str(os.getpid())},
    )
    process.returncode = 0  # the supervisor itself waits for its children
    return process.pid
