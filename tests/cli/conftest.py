"""The command line on a started state folder, in process or over HTTP."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
import uvicorn
from fastapi import FastAPI

from tokenhub.bootstrap.commands import registry
from tokenhub.cli.main import main
from tokenhub.commands.api import router_of
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http import sessions
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState
from tokenhub.identity.first_run import FirstRun, ensure_first_run


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Hub = Callable[..., Ran]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Settings:
    for name in [name for name in os.environ if name.startswith("TOKENHUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENHUB_HOME", str(settings.home))
    monkeypatch.setenv("TOKENHUB_DATABASE_URL", settings.database_url)
    return settings


@pytest.fixture
def hub(environment: Settings, capsys: pytest.CaptureFixture[str]) -> Hub:
    """Run `hub …` and give exit code, standard output and standard error."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        structlog.reset_defaults()
        shown = capsys.readouterr()
        return Ran(int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture
def started(environment: Settings, database: Database) -> FirstRun:
    """A hub that was started once and does not run now."""
    with database.write("hub") as connection:
        made = ensure_first_run(connection, environment)
    assert made is not None
    return made


def serve(app: FastAPI, settings: Settings) -> Iterator[str]:
    """Serve an app on a free port and note it in `hub.json`, as a supervisor does."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    settings.run_dir.mkdir(exist_ok=True)
    note = {"url": url, "pid": os.getpid(), "started_at_ms": 0}
    (settings.run_dir / "hub.json").write_text(json.dumps(note))
    yield url
    server.should_exit = True
    thread.join()
    (settings.run_dir / "hub.json").unlink()


@pytest.fixture
def running(started: FirstRun, environment: Settings, database: Database) -> Iterator[str]:
    """The same hub, running; gives its URL."""
    app = FastAPI()
    install(app, HttpState(database, environment))
    app.include_router(sessions.router)
    app.include_router(router_of(registry()))
    yield from serve(app, environment)
