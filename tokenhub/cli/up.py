"""`hub up`: everything on one machine, from an empty folder to a served model.

Order: check the machine → databases → first organisation, user and key → model file → processes → ready → banner.
Whatever fails before the banner ends in one sentence and leaves nothing running.
"""

import fcntl
import http.client
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import click

from tokenhub.bootstrap.logs import configure_logs
from tokenhub.bootstrap.state import ensure_model, failed_start, login_link, prepare_state, ready_model
from tokenhub.cli.banner import print_banner
from tokenhub.cli.progress import Progress
from tokenhub.cli.supervisor import StopFlag, Supervisor, listen
from tokenhub.config import Settings, load_settings
from tokenhub.db.failures import in_one_sentence
from tokenhub.identity.first_run import FirstRun
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError

DISK_FREE_MIN_BYTES = 256 * 2**20
SOCKET_PATH_BYTES_MAX = 107
"""What Linux allows for the name of a Unix socket."""
ENGINE_TRIES = 2
"""So often the first model's engine may fail before the start is given up."""
READY_TIMEOUT_S = 180.0
TIDY_S = 0.5
"""How often the running hub looks after its files and processes when nothing calls for it."""


class CannotStart(HubError):
    """The machine or its state does not let the hub start."""

    code = "cannot_start"


@click.command(help="Start the hub on this machine; Ctrl-C stops it. Safe to run again: state is kept.")
@click.option("--no-model", is_flag=True, help="Start without deploying a model.")
def up(no_model: bool) -> None:
    """Start, watch, stop."""
    flag = StopFlag()
    os.umask(0o077)  # books, logs and conversations are for the hub's own user alone
    try:
        settings = load_settings()
        with in_one_sentence(), _only_one(settings) as lock:
            _start(settings, flag, lock, deploy=not no_model and settings.model != "none")
    except HubError as error:
        click.echo(f"hub: {error.message}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        raise
    except OSError as error:
        click.echo(f"hub: {error.strerror or error}: {error.filename or 'the state folder'}.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _start(settings: Settings, flag: StopFlag, lock: IO[str], *, deploy: bool) -> None:
    _check_disk(settings)
    listeners = listen(settings.host, settings.port, count=settings.gateways)
    url = _url(settings, listeners[0])
    first = prepare_state(settings)
    configure_logs(settings, to=(settings.log_dir / "up.log").open("a"))
    _note(lock, url)
    with _first_key(first) as banner_stands:
        _run(settings, flag, listeners, url, first=first, deploy=deploy, banner_stands=banner_stands)


def _run(
    settings: Settings,
    flag: StopFlag,
    listeners: Sequence[socket.socket],
    url: str,
    *,
    first: FirstRun | None,
    deploy: bool,
    banner_stands: Callable[[], None],
) -> None:
    if deploy:
        with Progress() as progress:
            ensure_model(settings, progress=progress.bytes, cancelled=flag.asked)
    if flag.asked():
        return
    supervisor = Supervisor(settings, listeners)
    _write_hub_json(settings, url)
    supervisor.start()
    try:
        model = _wait_ready(settings, listeners[0], supervisor, flag, deploy=deploy)
        if not flag.asked():
            print_banner(settings, url, first=first, model=model, link=login_link(settings, url))
            banner_stands()
        while not flag.asked():
            _watch(settings, url, supervisor)
            supervisor.wait(TIDY_S)
    finally:
        click.echo(
            "Stopping: answers in flight finish, then the books are settled (Ctrl-C again ends it at once) …",
            err=True,
        )
        for listener in listeners:
            listener.close()
        supervisor.stop(forced=flag.insisted)
        (settings.run_dir / "hub.json").unlink(missing_ok=True)
    click.echo("Stopped.", err=True)


@contextmanager
def _first_key(first: FirstRun | None) -> Generator[Callable[[], None], None, None]:
    """A first start that ends before the banner shows the new admin key all the same: no later start can."""
    shown: list[bool] = []
    try:
        yield lambda: shown.append(True)
    finally:
        if first is not None and first.generated and not shown:
            click.echo(f"The admin key of this hub is {first.admin_key} (shown once; keep it).", err=True)


def _watch(settings: Settings, url: str, supervisor: Supervisor) -> None:
    supervisor.watch(on_restart=_on_restart)
    if not (
        settings.run_dir / "hub.json"
    ).exists():  # somebody tidied up; without it no command finds the hub
        with suppress(OSError):
            _write_hub_json(settings, url)


def _on_restart(name: str, code: int) -> None:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    click.echo(f"{time.strftime('%H:%M:%S')} {name} ended ({how}); started again", err=True)


def _check_disk(settings: Settings) -> None:
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.home).free
    except OSError as error:
        raise CannotStart(
            f"Cannot write to {settings.home} ({error.strerror}); set TOKENHUB_HOME to a folder that you own."
        ) from error
    if len(os.fsencode(settings.app_socket)) > SOCKET_PATH_BYTES_MAX:
        raise CannotStart(
            f"The path {settings.home} is too long for a socket in it; set TOKENHUB_HOME to a shorter one."
        )
    if free < DISK_FREE_MIN_BYTES:
        raise CannotStart(
            f"The disk of {settings.home} has {free >> 20} MiB free; the hub needs at least {DISK_FREE_MIN_BYTES >> 20} MiB. "
            "Free some space or set TOKENHUB_HOME to another disk."
        )


def _only_one(settings: Settings) -> IO[str]:
    """The lock file of this state, locked. Raises: CannotStart naming the hub that runs on it."""
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        handle = (settings.run_dir / "hub.lock").open("a+")
    except OSError as error:
        raise CannotStart(
            f"Cannot write to {settings.home} ({error.strerror}); set TOKENHUB_HOME to a folder that you own."
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.seek(0)
        who = handle.read().strip() or "another process"
        handle.close()
        raise CannotStart(
            f"A hub already runs on {settings.home}: {who}. Stop it first, or set TOKENHUB_HOME to another folder."
        ) from error
    return handle


def _note(lock: IO[str], url: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(f"{url} (process {os.getpid()})")
    lock.flush()


def _url(settings: Settings, listener: socket.socket) -> str:
    port = int(listener.getsockname()[1])
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _write_hub_json(settings: Settings, url: str) -> None:
    path = settings.run_dir / "hub.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"url": url, "pid": os.getpid(), "started_at_ms": now_ms()}))
    temporary.replace(path)


def _wait_ready(
    settings: Settings, listener: socket.socket, supervisor: Supervisor, flag: StopFlag, *, deploy: bool
) -> str | None:
    """Wait for gateway, app and engine. Returns the model that answers, None without one."""
    host, port = listener.getsockname()[:2]
    started = time.monotonic()
    failed_before = failed_start(settings)[0] if deploy else 0
    with Progress() as progress:
        while not flag.asked():
            supervisor.watch(on_restart=_on_restart)
            health = _answer(host, port, "/healthz")
            up = health is not None and _answer(host, port, "/api/health") is not None
            model = ready_model(settings) if up and deploy else None
            if model is not None and not (health or {}).get("models", {}).get(model):
                model = None  # it serves, and the gateway has yet to hear of it
            if up and (model or not deploy):
                return model
            if up and deploy:
                _refuse_failing(settings, failed_before)
            waited = time.monotonic() - started
            if waited > READY_TIMEOUT_S:
                log = _last_line(settings.log_dir / ("worker.log" if up else "app.log"))
                raise CannotStart(
                    f"The hub was not ready after {READY_TIMEOUT_S:.0f} s. Last words: {log} (logs: {settings.log_dir})"
                )
            progress.waiting("loading the model" if up else "starting", waited)
            supervisor.wait(0.05)
    return None


def _refuse_failing(settings: Settings, failed_before: int) -> None:
    """Waiting is in vain once the engine has failed again at the same file. Raises: CannotStart."""
    failures, reason = failed_start(settings)
    if reason and failures >= failed_before + ENGINE_TRIES:
        raise CannotStart(
            f"The model {settings.model} does not start: {reason.rstrip('.')}. `./hub doctor` says what to mend; "
            "`./hub up --no-model` starts without waiting for it."
        )


def _answer(host: str, port: int, path: str) -> dict[str, Any] | None:
    """The JSON object at `path`; None unless it answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=2)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        return dict(json.loads(body)) if reply.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "none"
    return lines[-1][:300] if lines else "none"
