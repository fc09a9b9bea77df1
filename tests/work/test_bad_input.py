"""Bad input on every face: a clear refusal in the caller's form, and nothing half-written."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from tests.work.bad_input import Case, Faces, changed, faces_of, faults, rows, run_cli, sweep
from tests.work.foreign import compare, settle
from tests.work.world import World
from tokenhub.config import Settings
from tokenhub.http.state import HttpState
from tokenhub.identity.tables import api_keys, grants

RPC = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@pytest.fixture
def faces(world: World) -> Iterator[Faces]:
    with faces_of(world) as made:
        yield made


def test_each_argument_as_everything_that_it_is_not(faces: Faces) -> None:
    """One case in fifty, the same each time; `./hub test --accept work bad-input` runs them all (on SQLite)."""
    found = sweep(faces, seed=1, share=0.02, other_share=0.02)
    assert found.problems == [], f"{len(found.problems)}: " + "\n".join(found.problems[:40])
    assert found.refused["door"] > 150 and found.refused["cli"] > 3, found


def test_what_another_organisation_has_is_told_apart_from_nothing_by_nothing(faces: Faces) -> None:
    """One pair in a hundred, the same each time; `./hub test --accept work bad-input` takes 25 times as many."""
    things = settle(faces.world)
    before = rows(faces.world)
    for by in ("admin", "ana"):
        told = compare(faces, things, seed=2, share=0.01, by=by)
        assert told.differences == [] and told.words == []
        assert told.pairs > 100
    assert changed(before, rows(faces.world)) == []


def everywhere(faces: Faces, key: str) -> list[tuple[str, int, str]]:
    """Face, status and code of a read, a write and a list by this key."""
    answers: list[tuple[str, int, str]] = []
    headers = {"authorization": f"Bearer {key}"}
    for name, raw in (("task.list", {}), ("task.create", {"title": "half-written"}), ("skill.list", {})):
        told = faces.client.post(f"/api/commands/{name}", json=raw, headers=headers)
        answers.append(("http", told.status_code, told.json()["error"]["code"]))
        call = {"name": "call", "arguments": {"command": name, "arguments": raw}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = faces.client.post("/mcp", json=body, headers={**headers, **RPC})
        shown = answer.json()
        error = shown["error"] if "error" in shown else shown["result"]["structuredContent"]["error"]
        answers.append(("mcp", answer.status_code, str(error["code"])))
    return answers


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown", "malformed"])
def test_a_key_that_does_not_count_opens_nothing(faces: Faces, how: str) -> None:
    world = faces.world
    key = world.keys["ana"]
    with world.database.write("hub") as connection:
        values = {"revoked": {"revoked_at_ms": 1}, "expired": {"expires_at_ms": 1}}.get(how)
        if values is not None:
            connection.execute(update(api_keys).where(api_keys.c.name == "ana").values(**values))
    key = {"unknown": "sk-th-" + "x" * 43, "malformed": "sk-th-\x01 x"}.get(how, key)
    before = rows(world)
    for face, status, code in everywhere(faces, key):
        assert status == 401, (face, status, code)
    assert changed(before, rows(world)) == []


@pytest.mark.parametrize("how", ["expired", "revoked", "stopped", "used up"])
def test_a_grant_that_has_ended_lets_an_agent_do_nothing(faces: Faces, how: str) -> None:
    world = faces.world
    key, grant = world.keys["agent"], world.ids["grant"]
    if how == "stopped":
        world.do("admin", "agent.stop", agent="helper")
    values = {
        "expired": {"expires_at_ms": 1},
        "revoked": {"revoked_at_ms": 1},
        "used up": {"cost_max": 0},
    }.get(how)
    if values is not None:
        with world.database.write("hub") as connection:
            connection.execute(update(grants).where(grants.c.id == grant).values(**values))
    before = rows(world)
    codes = {
        "expired": "grant_ended",
        "revoked": "grant_ended",
        "stopped": "agent_stopped",
        "used up": "grant_used_up",
    }
    for face, status, code in everywhere(faces, key):
        assert code == codes[how] and (face == "mcp" or status in (402, 403)), (face, status, code)
    for name, raw in (("task.list", {}), ("task.create", {"title": "half-written"})):
        told = faces.door(Case(name, how, raw), by="agent")
        assert told["error"]["code"] == codes[how] and faults(told, Case(name, how, raw)) == []
    assert changed(before, rows(world)) == []


LARGE: list[tuple[str, dict[str, Any]]] = [
    ("file.put", {"name": "big.bin", "content_base64": base64.b64encode(bytes(8 * 2**20 + 1)).decode()}),
    ("skill.add", {"folder": base64.b64encode(bytes(8 * 2**20 + 1)).decode()}),
    ("doc.create", {"title": "big", "content": "x" * 9_000_000}),
    ("message.send", {"text": "x" * 9_000_000, "to": "bob"}),
    ("task.create", {"title": "x" * 100_000}),
    ("policy.apply", {"text": "x" * 9_000_000}),
]


@pytest.mark.parametrize(("name", "raw"), LARGE, ids=[name for name, _ in LARGE])
def test_what_is_too_large_is_refused_on_every_face(unchanged: Faces, name: str, raw: dict[str, Any]) -> None:
    case = Case(name, "too large", raw)
    for told in (unchanged.door(case), unchanged.http(case), unchanged.mcp(case)):
        error = told["error"]
        assert error["code"] in ("invalid_argument", "payload_too_large", "invalid_policy", "bad_skill"), (
            error
        )
        assert len(error["message"]) <= 1000 and error["status"] in (400, 413)
    assert unchanged.problems == []


def test_a_body_over_the_bound_of_the_hub_is_413(faces: Faces) -> None:
    world = faces.world
    faces.app.state.hub = HttpState(world.database, Settings(home=world.settings.home, body_bytes_max=2048))
    headers = {"authorization": f"Bearer {world.keys['admin']}", **RPC}
    for path in ("/mcp",):
        assert faces.client.post(path, content=b"x" * 4096, headers=headers).status_code == 413


BODIES: list[bytes] = [
    b"{", b"[]", b"7", b"null", b'"words"', b"\xff\xfe{}", b"[" * 200_000, b'{"a":' * 100_000, b'{"title": NaN}',
    b'{"title": 1e999}', b'{"title": ' + b"9" * 5000 + b"}", b'{"title": "\\ud800"}', b'{"title": "a\x00b"}',
    b"title=x", b"<xml/>", b'{"title": "x", "title": 7}', b"\xef\xbb\xbf{}", b"{} {}",
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_json_object_is_400(unchanged: Faces, body: bytes) -> None:
    headers = {"authorization": f"Bearer {unchanged.world.keys['admin']}", "content-type": "application/json"}
    answer = unchanged.client.post("/api/commands/task.create", content=body, headers=headers)
    assert answer.status_code == 400, (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    assert error["code"] in ("invalid_json", "invalid_argument") and error["message"].endswith(".")


def test_odd_routes_queries_and_headers_are_refused_in_form(unchanged: Faces) -> None:
    key = {"authorization": f"Bearer {unchanged.world.keys['admin']}"}
    path = "/api/commands/task.create"
    for method, where, headers, status in (
        ("POST", path + "?dry_run=maybe", key, 400),
        ("POST", path, {**key, "idempotency-key": "k" * 300}, 400),
        ("POST", "/api/commands/no.such", key, 404),
        ("POST", "/api/commands/task.create/x", key, 404),
        ("POST", "/api/commands/%2e%2e", key, 404),
        ("POST", "/api/commands/task.create%00", key, 404),
        ("DELETE", path, key, 405),
        ("POST", path, {}, 401),
        ("POST", path, {"authorization": "Basic eDp5"}, 401),
        ("POST", path, {"authorization": "Bearer " + "x" * 10_000}, 401),
    ):
        answer = unchanged.client.request(method, where, json={"title": "x"}, headers=headers)
        assert answer.status_code == status, (method, where, answer.status_code, answer.text[:200])
        assert "error" in answer.json(), answer.text[:200]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["task", "creat"], 2), (["nonsense"], 2), (["task", "create"], 2),
        (["task", "create", "x", "--no-such", "1"], 2), (["task", "show", "task_none"], 3),
        (["task", "create", "x", "--priority", "high"], 2), (["task", "create", "x", "--priority", "99"], 2),
        (["task", "create", "x", "--due", "someday"], 2), (["file", "put", "x", "@/no/such/file"], 2),
        (["file", "put", "x", "@/"], 2), (["skill", "add", "/no/such/folder"], 2), (["skill", "add", "/dev/null"], 2),
        (["skill", "add", "/etc/hostname"], 2), (["skill", "show", "none"], 3), (["skill", "allow", "sums"], 2),
        (["skill", "allow", "sums", "--digest", "000000000000"], 5), (["skill", "use", "proposal"], 4),
        (["skill", "result", "run_none"], 3), (["skill", "run", "sums", "none.py"], 3), (["user", "list", "--limit", "0"], 2),
        (["user", "list", "--limit", "9" * 400], 2), (["audit", "undo", "x" * 5000], 3),
        (["task", "create", "x", "--idempotency-key", "k" * 5000], 2),
    ],
)  # fmt: skip
def test_the_command_line_says_one_sentence_and_an_exit_code(
    unchanged: Faces, line: list[str], code: int
) -> None:
    got, out, err = run_cli(unchanged.world, line)
    assert (got, out) == (code, ""), (got, out, err)
    assert err.count("\n") <= 6 and "Traceback" not in err and len(err) < 2500, err
    assert err.startswith("hub: ") or "Usage:" in err or err.startswith("Tasks"), err
    got, out, err = run_cli(unchanged.world, [*line, "--json"])
    assert got == code and (not out or json.loads(out)["ok"] is False), (got, out, err)


def test_a_folder_with_a_link_is_refused_before_it_is_sent(world: World, tmp_path: Any) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "SKILL.md").write_text("---\nname: linked\ndescription: x\n---\n")
    (folder / "passwords").symlink_to("/etc/passwd")
    code, _, err = run_cli(world, ["skill", "add", str(folder)])
    assert code == 2 and "is a link" in err
    (folder / "passwords").unlink()
    code, out, err = run_cli(world, ["skill", "add", str(folder), "--json"])
    assert code == 0 and "hub skill allow linked --digest" in json.loads(out)["next"], err
    code, _, err = run_cli(world, ["skill", "add", str(folder / "SKILL.md")])
    assert code == 2 and "name the folder" in err
