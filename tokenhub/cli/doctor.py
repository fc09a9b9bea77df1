"""`hub doctor`: is this machine fit to run the hub, and is the state folder sound? Says what to mend.

Changes nothing. Exit code 0 if nothing must be mended, 1 otherwise.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from tokenhub import native
from tokenhub.adapters.sandbox.bubblewrap import Bubblewrap
from tokenhub.clearing import tally
from tokenhub.cli import exits
from tokenhub.cli.call import configure_logging, load_settings
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import pending
from tokenhub.http.address import running_hub
from tokenhub.kernel.errors import HubError
from tokenhub.maas.gateway import leaves, pipe
from tokenhub.metering import uses

DISK_FREE_MIN_BYTES = 1 * 2**30
MEMORY_MIN_BYTES = 1 * 2**30
_MARKS = {"ok": "ok  ", "mend": "MEND", "note": "note"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` must be done before the hub runs well; `note` is for information."""

    name: str
    state: Literal["ok", "mend", "note"]
    found: str
    mend: str = ""


@click.command(
    help="Check this machine and the state folder, and say what to mend. Changes nothing.\n\n"
    "Examples:\n\n\b\n  hub doctor\n  hub doctor --full      also hashes every model file"
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.option("--full", is_flag=True, help="Hash every model file (slow).")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, full: bool) -> None:
    """Run every check; a check that fails is a finding, never a crash."""
    configure_logging()
    settings = load_settings()
    findings = [_run(check, settings) for check in _checks(full=full)]
    sound = all(finding.state != "mend" for finding in findings)
    if as_json:
        data = {"items": [asdict(finding) for finding in findings]}
        answer = {"ok": sound, "status": "success" if sound else "failure", "data": data}
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            click.echo(f"{_MARKS[finding.state]}  {finding.name:<{width}}  {finding.found}")
            if finding.mend:
                click.echo(f"      {'':<{width}}  → {finding.mend}")
    ctx.exit(exits.SUCCESS if sound else exits.FAILURE)


Check = Callable[[Settings], Finding]


def _checks(*, full: bool) -> Iterator[Check]:
    yield from (_python, _state_folder, _disk, _memory, _port, _database, _engine, _compiled)
    yield lambda settings: _models(settings, full=full)
    yield from (_sandbox, _node, _browser)


def _run(check: Check, settings: Settings) -> Finding:
    try:
        return check(settings)
    except (OSError, ValueError, LookupError, StopIteration, HubError) as error:
        name = getattr(check, "__name__", "check").strip("_<>").replace("_", " ")
        return Finding(name, "mend", f"The check itself failed: {type(error).__name__}: {error}")


def _python(_settings: Settings) -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _state_folder(settings: Settings) -> Finding:
    home = settings.home
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if os.access(parent, os.W_OK):
            return Finding("state folder", "note", f"{home} is not there yet", "`hub up` makes it.")
        return Finding("state folder", "mend", f"{parent} is not writable", "Set TOKENHUB_HOME.")
    if not os.access(home, os.W_OK):
        return Finding(
            "state folder", "mend", f"{home} is not writable", "Give it to this user, or set TOKENHUB_HOME."
        )
    credentials = home / "credentials"
    if credentials.exists() and credentials.stat().st_mode & 0o077:
        return Finding(
            "state folder", "mend", f"{credentials} is readable by others", f"chmod 600 {credentials}"
        )
    return Finding("state folder", "ok", str(home))


def _disk(settings: Settings) -> Finding:
    folder = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    found = f"{_size(free)} free"
    if free < DISK_FREE_MIN_BYTES:
        return Finding(
            "disk", "mend", found, f"Free at least {_size(DISK_FREE_MIN_BYTES)}, or set TOKENHUB_HOME."
        )
    return Finding("disk", "ok", found)


def _memory(_settings: Settings) -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Finding("memory", "note", "unknown on this system")
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{_size(available)} available, {cores} cores"
    if available < MEMORY_MIN_BYTES:
        return Finding(
            "memory", "mend", found, f"A small model needs {_size(MEMORY_MIN_BYTES)}; end something."
        )
    return Finding("memory", "ok", found)


def _port(settings: Settings) -> Finding:
    running = running_hub(settings)
    if running is not None and _alive(running.pid):
        return Finding("port", "ok", f"the hub runs at {running.url} (process {running.pid})")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            return Finding(
                "port", "mend", f"{where}: {error.strerror}", "Set TOKENHUB_PORT to a free one, or 0."
            )
    return Finding("port", "ok", f"{settings.host}:{settings.port} is free; no hub runs")


def _database(settings: Settings) -> Finding:
    if not settings.database_url and not (settings.home / "hub.db").exists():
        return Finding("database", "note", "SQLite, not there yet", "`hub up` makes it.")
    database = Database(settings)
    try:
        behind = pending(database)
    except (HubError, OSError) as error:
        hint = (
            "Check TOKENHUB_DATABASE_URL."
            if settings.database_url
            else "Put a copy of the file in its place."
        )
        return Finding("database", "mend", str(error)[:200], hint)
    finally:
        database.close()
    if behind:
        found = ", ".join(
            f"{name} at {old or 'nothing'}, newest {new}" for name, (old, new) in behind.items()
        )
        return Finding("database", "mend", found, "`hub up` brings it up to date, after a copy.")
    return Finding("database", "ok", f"{database.dialect}, up to date")


def _models(settings: Settings, *, full: bool) -> Finding:
    files = sorted(settings.models_dir.glob("*.gguf")) if settings.models_dir.is_dir() else []
    if not files:
        return Finding("models", "note", "no model file yet", "`hub up` or `hub model pull` fetches one.")
    for path in files:
        problem = _model_problem(path, full=full)
        if problem:
            return Finding(
                "models", "mend", f"{path.name}: {problem}", f"Delete {path}; `hub up` fetches it anew."
            )
    size = sum(path.stat().st_size for path in files)
    count = f"{len(files)} file" + ("s" if len(files) > 1 else "")
    checked = "hashes right" if full else "headers right; --full also hashes them"
    return Finding("models", "ok", f"{count}, {_size(size)} ({checked})")


def _model_problem(path: Path, *, full: bool) -> str:
    with path.open("rb") as handle:
        if handle.read(4) != b"GGUF":
            return "not a GGUF file"
        handle.seek(0)
        if full and len(path.stem) == 64 and hashlib.file_digest(handle, "sha256").hexdigest() != path.stem:
            return "its content does not have the hash that it is named by"
    return ""


def _engine(_settings: Settings) -> Finding:
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding(
            "engine", "mend", "llama.cpp (xllamacpp) is missing", "Run `./hub up` once; it installs it."
        )
    return Finding("engine", "ok", f"llama.cpp, xllamacpp {importlib.metadata.version('xllamacpp')}")


def _compiled(settings: Settings) -> Finding:
    if settings.compiled == "no":
        return Finding("gateway core", "note", "Python, because TOKENHUB_COMPILED says no")
    if all(part.compiled for part in (leaves, tally, pipe, uses)):
        return Finding("gateway core", "ok", "compiled")
    return Finding(
        "gateway core", "note", "Python: right, but a request costs about a third more", native.ADVICE
    )


def _sandbox(_settings: Settings) -> Finding:
    reason = Bubblewrap().missing()
    if reason:
        return Finding("sandbox", "note", "no scripts of skills here", reason)
    return Finding("sandbox", "ok", "bubblewrap, for scripts of skills")


def _node(_settings: Settings) -> Finding:
    found = shutil.which("node")
    return Finding("node", "note", found or "none (needed only to build the console from source)")


def _browser(_settings: Settings) -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Finding("browser", "note", found or "none on this machine (any browser elsewhere will do)")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
