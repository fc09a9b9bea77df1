"""`hub serve ROLE`: run one process of the hub in the foreground.

`hub up` starts these by itself; on several machines each runs the roles it should, with one PostgreSQL URL.
A process started by a supervisor ends with it, however the supervisor ends.
"""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable

import click

from tokenhub.config import Settings, load_settings
from tokenhub.kernel.errors import HubError

_PR_SET_PDEATHSIG = 1


@click.group(help="Run one process of the hub in the foreground: gateway, app or worker.")
def serve() -> None:
    """The roles below."""


@serve.command(help="Run a gateway: the token paths, and the way to the app for every other path.")
@click.option("--index", default=0, show_default=True, help="Number of this gateway on this machine.")
@click.option("--listen-fd", type=int, default=None, help="A listening socket inherited from the supervisor.")
def gateway(index: int, listen_fd: int | None) -> None:
    """Runs until SIGTERM, then drains."""
    from tokenhub.bootstrap.gateway import run_gateway

    _run(lambda settings: run_gateway(settings, index=index, listen_fd=listen_fd))


@serve.command(
    help="Run the app: admin API, assistant and console files, on a Unix socket behind the gateway."
)
def app() -> None:
    """Runs until SIGTERM."""
    from tokenhub.app import run_app

    _run(run_app)


@serve.command(help="Run the worker: engines, jobs and periodic sweeps.")
def worker() -> None:
    """Runs until SIGTERM, then stops the engines it started."""
    from tokenhub.worker import main

    _run(main)


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
