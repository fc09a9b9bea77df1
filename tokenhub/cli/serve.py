"""`hub serve ROLE`: run one process of the hub in the foreground.

`hub up` starts these by itself; on several machines each runs the roles it should, with one PostgreSQL URL.
A process started by a supervisor ends with it, however the supervisor ends.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from tokenhub.cli import lean
from tokenhub.cli.zygote import Message, Word, run_zygote, say
from tokenhub.config import Settings, load_settings
from tokenhub.kernel.errors import HubError

_PR_SET_PDEATHSIG = 1
_M_ARENA_MAX = -8


class Supervised:
    """What the supervisor gave this process: a socket to listen on, and one to say how it goes."""

    def __init__(self, listen_fd: int | None, control_fd: int | None, name: str) -> None:
        self.listener = None if listen_fd is None else socket.socket(fileno=listen_fd)
        self._control = None if control_fd is None else socket.socket(fileno=control_fd)
        self._name = name

    @property
    def present(self) -> bool:
        """There is one."""
        return self.listener is not None or self._control is not None

    def ready(self) -> None:
        """It serves."""
        self._say("ready")

    def leaving(self) -> None:
        """It accepts nothing more and finishes what it has."""
        self._say("leaving")

    def _say(self, word: Word) -> None:
        if self._control is not None:
            with suppress(OSError):  # the supervisor stops, or has replaced the zygote of this process
                say(self._control, Message(word, self._name, os.getpid()))


def _supervised(command: Callable[..., None]) -> Callable[..., None]:
    """Options that only the supervisor gives, as one argument `supervised`."""

    def with_supervisor(listen_fd: int | None, control_fd: int | None, name: str, **options: Any) -> None:
        command(supervised=Supervised(listen_fd, control_fd, name), **options)

    with_supervisor.__doc__ = command.__doc__
    found: Any = with_supervisor
    for option in (
        click.option(
            "--listen-fd", type=int, default=None, help="A listening socket inherited from the supervisor."
        ),
        click.option("--control-fd", type=int, default=None, hidden=True),
        click.option("--name", default="", hidden=True),
    ):
        found = option(found)
    return found


@click.group(help="Run one process of the hub in the foreground: gateway, app or worker.")
def serve() -> None:
    """The roles below."""


@serve.command("gateway", help="Run a gateway: the token paths, and the way to the app for every other path.")
@click.option("--index", default=0, show_default=True, help="Number of this gateway on this machine.")
@_supervised
def gateway(supervised: Supervised, index: int) -> None:
    """Runs until SIGTERM, then drains."""
    if not supervised.present and not lean.is_lean():
        command = lean.python(lean=True)
        if len(command) > 1:
            os.execv(command[0], [*command, "-m", "tokenhub.cli.main", *sys.argv[1:]])
    _lighten(gateway=True)
    from tokenhub.bootstrap.gateway import run_gateway

    _run(
        lambda settings: run_gateway(
            settings,
            index=index,
            listener=supervised.listener,
            on_ready=supervised.ready,
            on_leaving=supervised.leaving,
        )
    )


@serve.command(
    "app", help="Run the app: admin API, assistant and console files, on a Unix socket behind the gateway."
)
@_supervised
def app(supervised: Supervised) -> None:
    """Runs until SIGTERM."""
    _lighten()
    from tokenhub.app import run_app

    _run(lambda settings: run_app(settings, listener=supervised.listener, on_ready=supervised.ready))


@serve.command("worker", help="Run the worker: engines, jobs and periodic sweeps.")
@_supervised
def worker(supervised: Supervised) -> None:
    """Runs until SIGTERM, then stops the engines it started."""
    _lighten()
    from tokenhub.worker import main

    _run(lambda settings: main(settings, on_ready=supervised.ready))


@serve.command("zygote", hidden=True, help="Import roles and wait to be copied; started by `hub up`.")
@click.argument("name")
@click.option("--control-fd", type=int, required=True)
def zygote(name: str, control_fd: int) -> None:
    """Runs until its supervisor ends or lets go of it."""
    _lighten(gateway=name == "gateway")
    from tokenhub.cli.main import main

    _die_with_supervisor()
    run_zygote(socket.socket(fileno=control_fd), main)


def _lighten(*, gateway: bool = False) -> None:
    """Before a role is imported: what it would never use, and what costs memory without giving speed."""
    sys.modules["rich"] = None  # pyright: ignore[reportArgumentType]  # structlog loads it for a terminal, if it is there
    if gateway:  # SQLAlchemy loads it, for asynchronous engines, with a C++ library of 1 MB
        sys.modules["greenlet"] = None  # pyright: ignore[reportArgumentType]
    with suppress(OSError, AttributeError):  # glibc: one heap, because threads here wait for input and output
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _run(role: Callable[[Settings], None]) -> None:
    _die_with_supervisor()
    os.umask(0o077)  # books, logs and conversations are for the hub's own user alone
    gc.set_threshold(50_000, 20, 100)
    try:
        role(load_settings())
    except HubError as error:
        click.echo(f"hub: {error.message}", err=True)
        sys.exit(1)


def _die_with_supervisor() -> None:
    """SIGTERM when the supervisor dies, whatever killed it (Linux; elsewhere it relies on the supervisor's own stop)."""
    supervisor = os.environ.get("TOKENHUB_SUPERVISOR_PID", "")
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != supervisor:  # it died before the call above
        sys.exit(1)
