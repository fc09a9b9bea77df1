"""A zygote: a process that has imported what a role needs and is copied whenever the role has to start.

Importing a role costs one or two seconds of CPU, and more time when the machine is busy; a copy (`fork`) costs
milliseconds, so what was killed serves again at once. A zygote does nothing but import and wait: it opens no database
and runs no thread, so a copy starts as clean as a new process. Copies become children of the supervisor, which sees
their deaths itself; a zygote that dies takes nothing with it.

Messages on the control socket: the supervisor sends a `Start` with the files that the process needs; back come `born`,
then from the process itself `ready` and perhaps `leaving`. Linux only.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

ROLES = {
    "gateway": "tokenhub.bootstrap.gateway",
    "worker": "tokenhub.worker",
    "app": "tokenhub.app",
}
"""What each role imports."""
ZYGOTES = {"gateway": ("gateway",), "inner": ("worker", "app")}
"""Which roles are copied from one zygote. Gateways have their own, because they are kept small."""
MESSAGE_BYTES_MAX = 64 * 1024
FILES_MAX = 2
ADOPTION_S_MAX = 5.0
_PR_SET_NAME = 15
Word = Literal["born", "ready", "leaving"]


@dataclass(frozen=True, slots=True)
class Start:
    """What the supervisor asks for: a process of this name that runs `hub serve <role> <arguments>`."""

    role: str
    name: str
    """"" only imports the role, for later."""
    arguments: tuple[str, ...] = ()


class Message(NamedTuple):
    """What comes back. Leaving: the process accepts no more connections and finishes what it has."""

    word: Word
    name: str
    pid: int


def ask(control: socket.socket, start: Start, files: Sequence[int] = ()) -> None:
    """Ask for a process. files: of its output, and perhaps the socket it listens on.

    Raises: OSError if the zygote is gone.
    """
    socket.send_fds(control, [json.dumps(asdict(start)).encode()], files)


def read(control: socket.socket) -> list[Message]:
    """Everything that was said and not read yet; `control` does not block."""
    found: list[Message] = []
    with suppress(OSError):  # nothing more, or a zygote that was killed
        while data := control.recv(MESSAGE_BYTES_MAX):
            found.append(Message(*json.loads(data)))
    return found


def say(control: socket.socket, message: Message) -> None:
    """One message to the supervisor. Raises: OSError if it listens no more."""
    control.send(json.dumps(message).encode())


def run_zygote(control: socket.socket, run: Callable[[Sequence[str]], None]) -> None:
    """Import roles as they are asked for and copy this process, until the supervisor closes `control`.

    run: `hub <arguments>` in the copy; it may raise SystemExit.
    """
    known: set[str] = set()
    while True:
        data, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, FILES_MAX)
        if not data:
            return
        asked: dict[str, Any] = json.loads(data)
        start = Start(asked["role"], asked["name"], tuple(asked["arguments"]))
        if start.role not in known:
            known.add(start.role)
            importlib.import_module(ROLES[start.role])
            gc.collect()
            gc.freeze()  # the copies' collectors leave these pages alone, so they stay shared
        if start.name:
            middle = os.fork()
            if middle == 0:
                _copy(start, control, files, run)
            os.waitpid(middle, 0)
        for file in files:
            os.close(file)


def _copy(
    start: Start, control: socket.socket, files: Sequence[int], run: Callable[[Sequence[str]], None]
) -> None:
    """In the first copy: make the second, which the supervisor adopts when this one ends. Never returns."""
    middle, pid = os.getpid(), os.fork()
    if pid:
        try:
            say(control, Message("born", start.name, pid))
        except OSError:  # the supervisor gave this zygote up and asked another one
            os.kill(pid, signal.SIGKILL)
        os._exit(0)
    code = 1
    try:
        _await_adoption(middle)
        os.setsid()
        run(["serve", *_arguments(start, control, files)])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:  # the edge of a process: what went wrong is in its log
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _await_adoption(middle: int) -> None:
    deadline = time.monotonic() + ADOPTION_S_MAX
    while os.getppid() == middle and time.monotonic() < deadline:
        time.sleep(0.0005)


def _arguments(start: Start, control: socket.socket, files: Sequence[int]) -> list[str]:
    """Send output to the log, show the process under its own name; the arguments of `hub serve`."""
    log, *listeners = files
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    _rename(start)
    given = [start.role, *start.arguments, "--control-fd", str(control.fileno()), "--name", start.name]
    return given + [word for fd in listeners for word in ("--listen-fd", str(fd))]


def _rename(start: Start) -> None:
    """Let `ps` and `top` tell copies from their zygote: name and command line of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"hub-{start.name}".encode()[:15], 0, 0, 0)
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    first, last = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    if 0 < first < last:
        words = "\0".join(["hub", "serve", start.role, *start.arguments]).encode()[: last - first - 1]
        ctypes.memmove(first, words.ljust(last - first, b"\0"), last - first)
