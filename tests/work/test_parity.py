"""Every command by every face (in process, HTTP, MCP, command line, agent runtime): same envelope, audit row, rows and decision.

Each face runs on its own copy of one world. What must differ is masked: fresh ids, instants, secrets, the key.
On PostgreSQL a copy takes longer, so that half is marked slow.
"""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.databases import migrated
from tests.work.copies import copy_database
from tests.work.world import SAMPLES, World, build
from tokenhub.agents.invoke import invoke
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
_INSTANT = re.compile(r"\b20\d{6}T\d{6}Z|\b1[789]\d{11}\b|\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z?\b")
PERSON = ("door", "http", "mcp", "cli", "agent")
"""How a person's commands come in; `agent` is the runtime's own way to the door (`agents/invoke.py`)."""
AGENT = ("door", "http", "mcp", "agent")
"""How an agent's do, within its grant. The command line in this process is for the owner of the state folder alone."""
COMPARED = ("actor", "command", "effect", "outcome", "arguments", "decision", "changes", "undo", "undoes")


SLOW = (pytest.mark.slow, pytest.mark.postgres)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=SLOW)])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_uri").replace("/postgres?", "/th_parity?")
        with psycopg.connect(request.getfixturevalue("postgres_uri"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE th_parity")
    settings = Settings(home=tmp_path_factory.mktemp("world") / "var", database_url=url)
    database = migrated(settings)
    if url:
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


@dataclass
class Faces:
    """Copies of the world, one at a time, and everything that a face needs to speak to one."""

    template: World
    client: TestClient
    settings: Settings
    capsys: pytest.CaptureFixture[str]
    opened: list[Database] = field(default_factory=list)
    changed: bool = True

    def copy(self, *, changed: bool) -> Database:
        """The world as it was; always in the same folder, because that shows in some answers.

        `changed`: whether what runs on it changes it; the next face gets the same copy if not.
        """
        if self.opened and not self.changed:
            self.changed = changed
            return self.opened[-1]
        self.changed = changed
        shutil.rmtree(self.settings.home, ignore_errors=True)
        shutil.copytree(self.template.settings.home, self.settings.home, copy_function=os.link)
        if self.settings.database_url:
            if self.opened:
                self.opened[-1].close()
            copy_database(self.settings.database_url, "th_parity", "th_face")
        for name in () if self.settings.database_url else ("hub.db", "ledger.db"):
            (self.settings.home / name).unlink()
            shutil.copyfile(self.template.settings.home / name, self.settings.home / name)
        self.opened.append(Database(self.settings))
        return self.opened[-1]


@pytest.fixture
def faces(
    template: World,
    client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Faces]:
    url = template.settings.database_url.replace("/th_parity?", "/th_face?")
    settings = Settings(home=tmp_path / "var", database_url=url)
    made = Faces(template, client, settings, capsys)
    monkeypatch.setenv("TOKENHUB_HOME", str(settings.home))
    monkeypatch.setenv("TOKENHUB_DATABASE_URL", url)
    yield made
    for database in made.opened:
        database.close()


def test_every_command_has_an_example() -> None:
    """Whoever declares a command gives it arguments that work in `world.py`; everything here follows from them."""
    missing = sorted({declared.name for declared in registry()} - set(SAMPLES))
    gone = sorted(set(SAMPLES) - {declared.name for declared in registry()})
    assert not missing, f"no example in tests/work/world.py:SAMPLES for {missing}"
    assert not gone, f"examples of commands that are gone: {gone}"


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_face_gives_the_same(faces: Faces, name: str) -> None:
    found = {face: _run(faces, face, name, "admin") for face in PERSON}
    assert '"error": null' in found["door"], f"the example works: {found['door'][:500]}"
    for face in PERSON[1:]:
        assert found["door"] == found[face], face


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_face_gives_an_agent_the_same(faces: Faces, name: str) -> None:
    found = {face: _run(faces, face, name, "agent") for face in AGENT}
    for face in AGENT[1:]:
        assert found["door"] == found[face], face
    effect = registry().get(name).effect
    if effect == "irreversible":
        told = json.loads(found["door"])[0]
        assert told["status"] == "pending" or told["error"]["code"] == "policy_denied", "a person decides"


def _run(faces: Faces, face: str, name: str, who: str) -> str:
    database = faces.copy(changed=who == "agent" or registry().get(name).effect != "read")
    world, settings = faces.template, faces.settings
    raw = world.filled(SAMPLES[name])
    before = {books: _last(database, books) for books in ("hub", "ledger")}
    runtime = Runtime(database, settings)
    set_state(cast(FastAPI, faces.client.app), HttpState(database, settings))
    headers = {"authorization": f"Bearer {world.keys[who]}"}
    match face:
        case "door":
            answer = execute(registry(), runtime, world.people[who], name, raw).to_dict()
        case "agent":
            answer = invoke(registry(), runtime, world.people[who], name, json.dumps(raw)).to_dict()
        case "http":
            answer = faces.client.post(f"/api/commands/{name}", json=raw, headers=headers).json()
        case "mcp":
            answer = _mcp(faces.client, headers, name, raw)
        case _:
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


def _cli(faces: Faces, name: str, raw: dict[str, Any]) -> dict[str, Any]:
    noun, verb = name.split(".")
    params = {param.name: param for param in load()[noun][verb].params}
    line: list[str] = [noun, verb, "--json"]
    for one, value in raw.items():
        flag = params[one].flag
        if params[one].folder:  # the flag takes the path of what the command takes as bytes
            given = faces.settings.home.parent / "given.zip"
            given.write_bytes(base64.b64decode(value))
            value = str(given)
        values = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(one, bool):
                line.append(flag if one else f"--no-{flag[2:]}")
            else:
                line.append(f"{flag}={json.dumps(one) if isinstance(one, dict) else one}")
    faces.capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(line)
    structlog.reset_defaults()
    answer = json.loads(faces.capsys.readouterr().out)
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

    text = re.sub(r'(\\?"secret\\?": ?\\?")[\w-]{20,}', r"\1#secret", text)
    masked = _INSTANT.sub("#instant", _FRESH.sub(name, _SECRET.sub("#secret", text)))
    masked = re.sub(r'\\?"(app|key|prefix)\\?": ?\\?"[^"\\]*\\?"', "#caller", masked)
    # The command line acts as the owner of the state folder, who has no key and so no team and no parent key.
    return re.sub(r'\\?"(parent_key_id|team_id)\\?":(null|\\?"#\w+\\?")', "#caller", masked)
