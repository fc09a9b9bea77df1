"""Scripts in bubblewrap (`bwrap`): own namespaces of every kind, a read-only system, a filter on system calls.

What a script sees: `/usr` and its links, `/skill` (its files, read-only), `/work` (its own, empty but for its inputs),
`/tmp`, and a `/proc` of its own processes. Folders that can be written are tmpfs of a fixed size, so nothing outside is
ever written and nothing of it stays, except `/.out`, a file of bounded size into which the work folder is packed at the
end. bwrap itself is started without environment: the sandbox could read it in `/proc/1/environ`.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

from tokenhub.adapters.sandbox import seccomp
from tokenhub.adapters.sandbox.pipes import Pipes
from tokenhub.adapters.sandbox.processes import below, memory_bytes, wait_gone
from tokenhub.adapters.sandbox.unpack import unpack
from tokenhub.agents.sandbox import Limits, Outcome, Script
from tokenhub.kernel.errors import InvalidRequest, Unavailable

NOBODY = 65534
POLL_S = 0.05
_PROBE_S = 10.0
_GONE_S = 5.0
_STALE_S = 3600.0
_PREFIX = "th-run-"
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/work",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_INTERPRETERS = {
    ".py": "python3",
    ".sh": "sh",
    ".bash": "bash",
    ".js": "node",
    ".mjs": "node",
    ".pl": "perl",
    ".rb": "ruby",
}
_RUN = 'cp -r /.in/. /work/; "$@"; code=$?; tar -cf /.out -C /work . 2>/dev/null || : >/.out; exit $code'
"""The script, then its work folder as one file."""


class Bubblewrap:
    """The sandbox of this machine."""

    def __init__(self, program: str = "bwrap") -> None:
        self._program = program

    def missing(self) -> str:
        """Why no script can run here and what mends it; empty if one can."""
        found = shutil.which(self._program)
        if found is None:
            return (
                "Scripts run only in bubblewrap, which this machine lacks; install it: "
                "`apt-get install bubblewrap` (or your system's package)."
            )
        if not seccomp.known():
            return "Scripts run only where system calls can be filtered, and this processor is not known."
        lines = [found, *_namespaces(), *_system(), "--proc", "/proc", "--dev", "/dev", "prlimit", "true"]
        try:
            done = subprocess.run(
                lines, capture_output=True, timeout=_PROBE_S, env=_ENVIRONMENT, check=False, **_identity()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bubblewrap does not start here: {error}."
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return (
                f"bubblewrap may make no sandbox here ({said[-1][:160] if said else 'no reason given'});"
                " allow user namespaces to the user of the hub."
            )
        return ""

    def run(self, script: Script, limits: Limits, *, tick: Callable[[], None]) -> Outcome:
        """Run to the end or to a limit. Raises: Unavailable, InvalidRequest, and what `tick` raises."""
        command = _command(script)
        reason = self.missing()
        if reason:
            raise Unavailable(reason, code="no_sandbox", hint="`hub doctor` looks again.")
        with _folder(script) as folder, _filter() as number:
            lines = [
                shutil.which(self._program) or self._program,
                *_namespaces(),
                *_system(),
                *_places(folder, limits),
                *("--seccomp", str(number)),
                *("--chdir", "/work"),
                *("prlimit", f"--cpu={limits.seconds}", f"--data={limits.memory_bytes}", "--core=0"),
                *(f"--fsize={limits.work_bytes}", "--nofile=256", f"--nproc={limits.processes + 3}", "--"),
                *("sh", "-c", _RUN, "sh", *command),
            ]
            return _watched(lines, folder, script, limits, number, tick)


def _watched(
    lines: list[str], folder: Path, script: Script, limits: Limits, filter_: int, tick: Callable[[], None]
) -> Outcome:
    """Start bwrap and stay with it: output, memory and time are looked at every `POLL_S`."""
    began = time.monotonic()
    stopped = ""
    with (folder / "stdin").open("rb") as stdin:
        process = subprocess.Popen(
            lines,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=(filter_,),
            start_new_session=True,
            **_identity(),
        )
    assert process.stdout is not None and process.stderr is not None
    with process, Pipes(process.stdout, process.stderr, most=limits.output_bytes) as pipes:
        try:
            while not stopped and not (pipes.closed and process.poll() is not None):
                tick()
                pipes.read(POLL_S)
                if process.poll() is not None and not pipes.closed:
                    pipes.read(POLL_S)
                stopped = _over(process.pid, pipes, limits, time.monotonic() - began)
        finally:
            left = below(process.pid)[:1]  # the first process of its namespace: the last one to end
            process.kill()  # all of it dies with its parent
            wait_gone(left, seconds=_GONE_S)
    stdout, stderr = pipes.taken
    files, notes = ({}, ()) if stopped else unpack(folder / "out", script.inputs, most=limits.work_bytes)
    return Outcome(
        exit_code=process.returncode if not stopped else -1,
        stopped=stopped,
        stdout=stdout,
        stderr=stderr,
        files=files,
        notes=notes,
        took_ms=int((time.monotonic() - began) * 1000),
    )


def _over(pid: int, pipes: Pipes, limits: Limits, seconds: float) -> str:
    """Which limit it passed, in a sentence; empty if none."""
    if pipes.full:
        return f"It wrote more than {limits.output_bytes} bytes of output."
    if seconds > limits.seconds:
        return f"It ran longer than {limits.seconds} s."
    if memory_bytes(pid) > limits.memory_bytes:
        return f"It took more than {limits.memory_bytes >> 20} MiB of memory."
    return ""


def _command(script: Script) -> list[str]:
    """What runs inside. Raises: InvalidRequest for a script of no kind that is known."""
    content = script.skill.get(script.path)
    if content is None:
        raise InvalidRequest(f"The skill has no file {script.path!r}.", param="script")
    path = f"/skill/{script.path}"
    interpreter = _INTERPRETERS.get(Path(script.path).suffix.lower())
    if interpreter is not None:
        return [interpreter, path, *script.arguments]
    if content.startswith(b"#!"):
        return [path, *script.arguments]
    kinds = ", ".join(sorted(_INTERPRETERS))
    raise InvalidRequest(
        f"{script.path!r} is no script: it ends in none of {kinds}, and does not begin with `#!`.",
        param="script",
    )


def _namespaces() -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--hostname", "skill"),
        *("--uid", str(NOBODY), "--gid", str(NOBODY)),
    ]


def _system() -> list[str]:
    """Programs and libraries, read-only, and nothing else of the machine."""
    lines = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        there = Path("/") / name
        if there.is_symlink():
            lines += ["--symlink", os.readlink(there).lstrip("/"), f"/{name}"]
        elif there.is_dir():
            lines += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in ("/etc/alternatives", "/etc/ld.so.cache"):
        lines += ["--ro-bind-try", name, name]
    return lines


def _places(folder: Path, limits: Limits) -> list[str]:
    size = str(limits.work_bytes)
    return [
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", size, "--tmpfs", "/dev/shm"),
        *("--size", size, "--tmpfs", "/tmp"),
        *("--size", size, "--tmpfs", "/work"),
        *("--ro-bind", str(folder / "skill"), "/skill"),
        *("--ro-bind", str(folder / "in"), "/.in"),
        *("--bind", str(folder / "out"), "/.out"),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
    ]


class _Identity(TypedDict, total=False):
    """Arguments of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]


def _identity() -> _Identity:
    """A hub of root's starts it as nobody: root would be above the limit on processes."""
    if os.geteuid() != 0:
        return _Identity()
    return _Identity(user=NOBODY, group=NOBODY, extra_groups=[])


@contextmanager
def _folder(script: Script) -> Generator[Path]:
    """What the sandbox is shown, readable for it alone; gone afterwards."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        for name in ("skill", "in"):
            (folder / name).mkdir()
        for path, content in script.skill.items():
            _put(folder / "skill" / path, content, mode=0o755)
        for path, content in script.inputs.items():
            _put(folder / "in" / path, content, mode=0o644)
        _put(folder / "stdin", script.stdin, mode=0o600)
        _put(folder / "out", b"", mode=0o600)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Take away what a worker that was killed left; no run takes as long as that."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if left.lstat().st_mtime < time.time() - _STALE_S:
                shutil.rmtree(left)


def _put(path: Path, content: bytes, *, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


@contextmanager
def _filter() -> Generator[int]:
    """The filter on system calls as an open file."""
    with tempfile.TemporaryFile() as handle:
        handle.write(seccomp.program())
        handle.seek(0)
        yield handle.fileno()
