"""Start, watch and stop the hub's processes on one machine.

A process that dies is started again at once. Only what dies early, before it was ready or just after, again and again,
waits between its lives: 0.2 s, 0.4 s … 5 s. Deaths are heard of by signal, not by looking.
Listening sockets, of the gateways and of the app, are opened here and inherited, so connections that arrive while a
process is being restarted wait in the socket's queue instead of being refused. A gateway that drains by itself is
replaced while it drains. Stopping is in order: gateways drain first, then the app, then the worker with its engines.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tokenhub.cli.launcher import Launcher, Order, make_launcher
from tokenhub.cli.zygote import Message, Start
from tokenhub.config import Settings
from tokenhub.kernel.errors import HubError

BACKOFF_S_MAX = 5.0
SETTLED_S = 1.0
"""A process that was ready for this long did not die early."""
STABLE_S = 10.0
"""Nor did one that lived this long, where processes do not say that they are ready."""
STOP_GRACE_S = 5.0
"""Time a process gets beyond its drain before it is killed."""


class PortInUse(HubError):
    """The public port belongs to another program."""

    code = "port_in_use"


@dataclass
class Child:
    """One supervised process."""

    start: Start
    stop_timeout_s: float
    log_path: Path
    listener: socket.socket | None = None
    unix_path: Path | None = None
    """Where `listener` is made when it is needed and missing."""
    pid: int = 0
    starting: bool = False
    started_s: float = 0.0
    ready_s: float = 0.0
    """0 until it said that it is ready."""
    failures: int = 0
    start_after_s: float = 0.0
    leaving: list[int] = field(default_factory=list[int])
    """Earlier lives that finish what they have."""
    log: IO[bytes] | None = field(default=None, repr=False)

    def died_early(self, now: float) -> bool:
        """Whether its death says that something is wrong with it."""
        settled = self.ready_s and now - self.ready_s >= SETTLED_S
        return not settled and now - self.started_s < STABLE_S


def listen(host: str, port: int, *, count: int) -> list[socket.socket]:
    """`count` listening sockets on one address, one for each gateway (SO_REUSEPORT spreads connections).

    Port 0 picks a free port, the same for all. Raises: PortInUse.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))  # without SO_REUSEPORT: fails if anyone else listens
            chosen = int(probe.getsockname()[1])
        for _ in range(count):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, chosen))
            listener.listen(4096)
            listener.setblocking(False)
            listener.set_inheritable(True)
            sockets.append(listener)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise PortInUse(
            f"Cannot listen on {host}:{port} ({error.strerror}). Stop the program that uses it or set TOKENHUB_PORT."
        ) from error
    return sockets


class Supervisor:
    """Owns the child processes of one `hub up`. Its process has no other children."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        self._children: list[Child] = []
        self._settings = settings
        self._stopping = False
        self._launcher: Launcher | None = None
        self._codes: dict[int, int] = {}
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for index, listener in enumerate(listeners):
            name = f"gateway-{index}" if len(listeners) > 1 else "gateway"
            child = self._add(Start("gateway", name, ("--index", str(index))), settings.drain_timeout_s)
            child.listener = listener
        self._add(Start("worker", "worker"), stop_timeout_s=8.0)
        self._add(Start("app", "app"), stop_timeout_s=5.0).unix_path = settings.app_socket

    def _add(self, start: Start, stop_timeout_s: float) -> Child:
        child = Child(start, stop_timeout_s, self._settings.log_dir / f"{start.name}.log")
        self._children.append(child)
        return child

    def start(self) -> None:
        """Start every process."""
        self._settings.log_dir.mkdir(parents=True, exist_ok=True)
        self._launcher = make_launcher(self._settings.log_dir)
        for child in self._children:
            self._start(child)

    def wait(self, timeout_s: float) -> None:
        """Until something happened to a process, a signal came, or the time is over."""
        files = [] if self._launcher is None else self._launcher.files()
        select.select([self._woken, *files], [], [], timeout_s)
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def watch(self, *, on_restart: Callable[[str, int], None]) -> None:
        """One round: start again what died. `on_restart(name, exit_code)` is told of each death."""
        assert self._launcher is not None
        self._reap()  # before reading: what a dead process said is there by now
        for message in self._launcher.messages():
            self._hear(message)
        codes, self._codes = self._codes, {}
        for pid, code in codes.items():
            if not self._launcher.ended(pid):
                self._bury(pid, code, on_restart)
        self._launcher.tend()
        now = time.monotonic()
        for child in self._children:
            if not child.pid and not child.starting and now >= child.start_after_s:
                self._start(child)

    def _reap(self) -> None:
        """Take the exit codes of every child that ended, orphans of our children included."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._codes[found[0]] = os.waitstatus_to_exitcode(found[1])

    def _hear(self, message: Message) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.start.name != message.name:
                continue
            if message.word == "born":
                child.pid, child.starting, child.started_s, child.ready_s = message.pid, False, now, 0.0
            elif message.pid == child.pid and message.word == "ready":
                child.ready_s = now
            elif message.pid == child.pid and not self._stopping:  # it drains: the next one takes over
                child.leaving.append(child.pid)
                child.pid, child.failures, child.start_after_s = 0, 0, now

    def _bury(self, pid: int, code: int, on_restart: Callable[[str, int], None]) -> None:
        now = time.monotonic()
        for child in self._children:
            if pid in child.leaving:
                child.leaving.remove(pid)
                on_restart(child.start.name, code)
            elif pid == child.pid:
                child.failures = child.failures + 1 if child.died_early(now) else 0
                pause = 0.0 if child.failures <= 1 else min(0.1 * 2 ** (child.failures - 1), BACKOFF_S_MAX)
                child.start_after_s, child.pid = now + pause, 0
                if pause and child.unix_path is not None and child.listener is not None:
                    child.listener.close()  # who asks meanwhile hears "not now" instead of waiting
                    child.listener = None
                on_restart(child.start.name, code)

    def _start(self, child: Child) -> None:
        assert self._launcher is not None
        if child.log is None:
            child.log = child.log_path.open("ab")
        if child.unix_path is not None and (child.listener is None or not child.unix_path.exists()):
            child.listener = _listen_unix(child.unix_path)
        child.starting = True
        listener = None if child.listener is None else child.listener.fileno()
        self._launcher.launch(Order(child.start, child.log.fileno(), listener))

    def stop(self, *, forced: Callable[[], bool]) -> None:
        """Stop everything in order; `forced()` turning true (a second Ctrl-C) kills what is left."""
        self._stopping = True
        if self._launcher is not None:
            for message in self._launcher.messages():
                self._hear(message)
            self._launcher.close()
        gateways = [child for child in self._children if child.start.role == "gateway"]
        others = [child for child in self._children if child.start.role != "gateway"]
        for group in (gateways, others):
            pids = {pid: child for child in group for pid in (child.pid, *child.leaving) if pid}
            for pid in pids:
                _send(pid, signal.SIGTERM)
            for pid, child in pids.items():
                self._wait_end(pid, timeout_s=child.stop_timeout_s + STOP_GRACE_S, forced=forced)
        for child in self._children:
            if child.log is not None:
                child.log.close()
            if child.unix_path is not None:
                child.unix_path.unlink(missing_ok=True)

    def _wait_end(self, pid: int, *, timeout_s: float, forced: Callable[[], bool]) -> None:
        deadline = time.monotonic() + timeout_s
        self._reap()
        while pid not in self._codes:
            if forced() or time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
            self.wait(0.05)
            self._reap()


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _listen_unix(path: Path) -> socket.socket:
    """A listening socket for this user alone (the caller's umask); one that was left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(4096)
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


class StopFlag:
    """Counts SIGINT and SIGTERM: one asks to stop, two insist."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.count += 1

    def asked(self) -> bool:
        """True after the first signal."""
        return self.count > 0

    def insisted(self) -> bool:
        """True after the second signal."""
        return self.count > 1
