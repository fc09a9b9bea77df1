"""Every command by every face (in process, HTTP, MCP, command line): same envelope, audit row, rows and decision.

Each face runs on its own copy of one world. What must differ is masked: fresh ids, instants, secrets, the key.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.work.world import SAMPLES, World, build
from tokenhub.bootstrap.commands import registry
from tokenhub.cli.main import main
from tokenhub.cli.manifest import load
from tokenhub.commands import audit
from tokenhub.commands.api import router_of
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.mcp.route import mcp_router
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState, set_state

_FRESH = re.compile(r"\b[a-z-]+_[0-9A-HJKMNP-TV-Z]{26}\b")
_SECRET = re.compile(r"\b[0-9a-f]{64}\b|sk-th-[\w-]*|token=[\w-]*")
_INSTANT = re.compile(r"\b1[789]\d{11}\b|\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z?\b")
FACES = ("door", "http", "mcp", "cli")
COMPARED = ("actor", "command", "effect", "outcome", "arguments", "decision", "changes", "undo", "undoes")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = Settings(home=tmp_path_factory.mktemp("world") / "var", database_url="")
    database = Database(settings)
    migrate(database, settings)
    world = build(database, settings)
    database.close()
    for name in ("hub", "ledger"):  # what the copies need stands in one file
        assert not (settings.home / f"{name}.db-wal").exists()
    return world


@pytest.fixture(scope="module")
def client(template: World) -> Iterator[TestClient]:
    app = FastAPI()
    install(app, HttpState(template.database, template.settings))
    app.include_router(router_of(registry()))
    app.include_router(mcp_router(registry()))
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def faces(
    template: World,
    client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[dict[str, Any]]:
    made: dict[str, Any] = {}
    databases: list[Database] = []
    for face in FACES:
        home = tmp_path / "var"  # the same path for each, one after the other: it shows in some answers
        settings = Settings(home=home, database_url="")

        def start(settings: Settings = settings) -> Database:
            shutil.rmtree(settings.home, ignore_errors=True)
            shutil.copytree(template.settings.home, settings.home)
            databases.append(Database(settings))
            return databases[-1]

        made[face] = start
    made |= {"client": client, "template": template, "settings": settings, "capsys": capsys}
    monkeypatch.setenv("TOKENHUB_HOME", str(settings.home))
    monkeypatch.setenv("TOKENHUB_DATABASE_URL", "")
    yield made
    for database in databases:
        database.close()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_face_gives_the_same(faces: dict[str, Any], name: str) -> None:
    found = {face: _run(faces, face, name) for face in FACES}
    for face in FACES[1:]:
        assert found["door"] == found[face], face
    assert '"error": null' in found["door"], "the sample works"


def _run(faces: dict[str, Any], face: str, name: str) -> str:
    database, world, settings = faces[face](), faces["template"], faces["settings"]
    raw = world.filled(SAMPLES[name])
    before = {books: _last(database, books) for books in ("hub", "ledger")}
    if face == "door":
        answer = execute(registry(), Runtime(database, settings), world.people["admin"], name, raw).to_dict()
    elif face in ("http", "mcp"):
        client: TestClient = faces["client"]
        set_state(cast(FastAPI, client.app), HttpState(database, settings))
        headers = {"authorization": f"Bearer {world.keys['admin']}"}
        if face == "http":
            answer = client.post(f"/api/commands/{name}", json=raw, headers=headers).json()
        else:
            answer = _mcp(client, headers, name, raw)
    else:
        answer = _cli(faces, name, raw)
    rows: list[dict[str, Any]] = []
    for books in ("hub", "ledger"):
        with database.read(books) as connection:
            rows += audit.export(
                connection, books, world.people["admin"].org_id, after_seq=before[books], limit=9
            )
    told = [{column: row[column] for column in COMPARED} for row in rows]
    return _masked(json.dumps([answer, told], sort_keys=True, default=str))


def _mcp(client: TestClient, headers: dict[str, str], name: str, raw: dict[str, Any]) -> dict[str, Any]:
    call = {"name": "call", "arguments": {"command": name, "arguments": raw}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    accepted = {**headers, "accept": "application/json, text/event-stream"}
    result = client.post("/mcp", json=body, headers=accepted).json()["result"]
    assert result["isError"] == (result["structuredContent"]["error"] is not None)
    return result["structuredContent"]


def _cli(faces: dict[str, Any], name: str, raw: dict[str, Any]) -> dict[str, Any]:
    noun, verb = name.split(".")
    params = {param.name: param for param in load()[noun][verb].params}
    line: list[str] = [noun, verb, "--json"]
    for field, value in raw.items():
        flag = params[field].flag
        values = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(one, bool):
                line.append(flag if one else f"--no-{flag[2:]}")
            else:
                line.append(f"{flag}={json.dumps(one) if isinstance(one, dict) else one}")
    faces["capsys"].readouterr()
    with pytest.raises(SystemExit) as ended:
        main(line)
    structlog.reset_defaults()
    answer = json.loads(faces["capsys"].readouterr().out)
    codes = {"success": 0, "pending": 8, "partial_failure": 7}
    assert answer["status"] == "failure" or ended.value.code == codes[answer["status"]]
    return answer


def _last(database: Database, books: Any) -> int:
    with database.read(books) as connection:
        return connection.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM audit_head").scalar_one()


def _masked(text: str) -> str:
    """Fresh ids by the order in which they appear, so that what names the same thing still does."""
    seen: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return seen.setdefault(found[0], f"#{found[0].split('_')[0][:9]}{len(seen)}")

    masked = _INSTANT.sub("#instant", _FRESH.sub(name, _SECRET.sub("#secret", text)))
    masked = re.sub(r'\\?"(app|key|prefix)\\?": ?\\?"[^"\\]*\\?"', "#caller", masked)
    # The command line acts as the owner of the state folder, who has no key and so no team and no parent key.
    return re.sub(r'\\?"(parent_key_id|team_id)\\?":(null|\\?"#\w+\\?")', "#caller", masked)
