"""Start, watch and stop the hub's processes on one machine.

A process that dies is started again: at once the first time, then after 0.2 s, 0.4 s … 5 s while it keeps dying.
Listening sockets are opened here and inherited, so connections that arrive while a gateway is being restarted
wait in the socket's queue instead of being refused. Stopping is in order: gateways drain first, then the app,
then the worker with its engines.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tokenhub.config import Settings
from tokenhub.kernel.errors import HubError

BACKOFF_S_MAX = 5.0
STABLE_S = 10.0
"""A process that lived this long starts again without a pause."""
STOP_GRACE_S = 5.0
"""Time a process gets beyond its drain before it is killed."""
_SMALL = {"MALLOC_ARENA_MAX": "1"}
"""One heap a process: threads here wait for I/O, and a heap for each only keeps freed memory."""


class PortInUse(HubError):
    """The public port belongs to another program."""

    code = "port_in_use"


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    pass_fds: Sequence[int]
    stop_timeout_s: float
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    failures: int = 0
    start_after_s: float = 0.0
    log: IO[bytes] | None = field(default=None, repr=False)


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
    """Owns the child processes of one `hub up`."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        self._children: list[Child] = []
        self._settings = settings
        self._stopping = False
        for index, listener in enumerate(listeners):
            fd = listener.fileno()
            self._add(
                f"gateway-{index}" if len(listeners) > 1 else "gateway",
                ["serve", "gateway", "--index", str(index), "--listen-fd", str(fd)],
                pass_fds=[fd],
                stop_timeout_s=settings.drain_timeout_s,
            )
        self._add("app", ["serve", "app"], stop_timeout_s=5.0)
        self._add("worker", ["serve", "worker"], stop_timeout_s=8.0)

    def _add(
        self, name: str, arguments: Sequence[str], *, stop_timeout_s: float, pass_fds: Sequence[int] = ()
    ) -> None:
        command = [sys.executable, "-m", "tokenhub.cli.main", *arguments]
        log_path = self._settings.log_dir / f"{name}.log"
        self._children.append(Child(name, command, pass_fds, stop_timeout_s, log_path))

    def start(self) -> None:
        """Start every process."""
        self._settings.log_dir.mkdir(parents=True, exist_ok=True)
        for child in self._children:
            self._spawn(child)

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those alive."""
        return {c.name: c.process.pid for c in self._children if c.process and c.process.poll() is None}

    def watch(self, *, on_restart: Callable[[str, int], None]) -> None:
        """One round: start again what died. `on_restart(name, exit_code)` is told of each death."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None:
                code = child.process.poll()
                if code is None:
                    continue
                lived = now - child.started_s
                child.failures = 0 if lived > STABLE_S else child.failures + 1
                pause = 0.0 if child.failures <= 1 else min(0.1 * 2 ** (child.failures - 1), BACKOFF_S_MAX)
                child.start_after_s = now + pause
                child.process = None
                on_restart(child.name, code)
            if now >= child.start_after_s and not self._stopping:
                self._spawn(child)

    def stop(self, *, forced: Callable[[], bool]) -> None:
        """Stop everything in order; `forced()` turning true (a second Ctrl-C) kills what is left."""
        self._stopping = True
        gateways = [c for c in self._children if c.name.startswith("gateway")]
        others = [c for c in self._children if c not in gateways]
        for group in (gateways, others):
            for child in group:
                if child.process is not None and child.process.poll() is None:
                    child.process.terminate()
            for child in group:
                self._wait(child, forced=forced)

    def _wait(self, child: Child, *, forced: Callable[[], bool]) -> None:
        if child.process is None:
            return
        deadline = time.monotonic() + child.stop_timeout_s + STOP_GRACE_S
        while child.process.poll() is None:
            if forced() or time.monotonic() > deadline:
                child.process.kill()
                child.process.wait()
                break
            time.sleep(0.02)
        if child.log is not None:
            child.log.close()
            child.log = None

    def _spawn(self, child: Child) -> None:
        if child.log is None:
            child.log = child.log_path.open("ab")
        child.started_s = time.monotonic()
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=child.log,
            stderr=subprocess.STDOUT,
            pass_fds=list(child.pass_fds),
            start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone, which stops the rest in order
            env={**os.environ, **_SMALL, "TOKENHUB_SUPERVISOR_PID": str(os.getpid())},
        )


def block_until(stop: Callable[[], bool], tick: Callable[[], None], *, interval_s: float = 0.1) -> None:
    """Run `tick` every `interval_s` until `stop()`."""
    while not stop():
        tick()
        time.sleep(interval_s)


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
