"""Bad input for every command, made from its own declaration, and the ways (faces) to send it.

A case is a sample's arguments with one thing wrong. What it must meet on every face is a refusal in that face's own
form, the same words on each, and rows that are as they were.
"""

import contextlib
import io
import json
import os
import random
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from tests.work.world import SAMPLES, World
from tokenhub.bootstrap.commands import registry
from tokenhub.cli.main import main
from tokenhub.cli.manifest import load
from tokenhub.commands.api import router_of
from tokenhub.commands.declare import Command
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.mcp.route import mcp_router
from tokenhub.db.metadata import hub_metadata, ledger_metadata
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState
from tokenhub.identity.types import Principal

Json = dict[str, Any]
NOT_STATE = {"audit", "audit_head", "idempotency", "revision"}
LEAKS = re.compile(
    r"Traceback|sqlite3|psycopg|sqlalchemy|pydantic|\bSELECT\b|\bINSERT\b|<class |object at 0x|/tokenhub/|\.py\b(?!')",
)
MESSAGE_MAX = 1500


def _deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


TYPES: tuple[Any, ...] = (
    None,
    True,
    7,
    -1,
    0,
    1.5,
    "",
    "x",
    [],
    {},
    [None],
    [7],
    [{}],
    {"a": 1},
    {"a": {"b": []}},
)
VALUES: tuple[Any, ...] = (
    *("\x00", "\ud800", "a\x00b", "\u202e", "\x1b[2J", " ", "\n", "x" * 300_000, "é" * 5000, "%", "_", "*", "../../etc/passwd"),
    *("'; DROP TABLE tasks; --", "$(id)", "{0.__class__}", "9999-99-99", "2026-02-30T25:61", "0000-00-00", "1e999"),
    *("-1", "99999999999999999999", "NaN", "null", "true", "@/etc/passwd", "-", "=", "role:nobody", "user:", ":"),
    *("9" * 5000, "9223372036k", "1e400000000", "99999999999999999999d", "9999-12-31", "9999-12-31T23:59", "0001-01-01"),
    *("9999-W52", "FREQ=YEARLY;UNTIL=99991231T235959Z", "FREQ=DAILY;COUNT=99999999999999999999", "/etc/localtime"),
    *(2**63, -(2**63) - 1, 10**400, 2**63 - 1, -(2**63), 1e308, float("nan"), float("inf")),
    *(["x"] * 10_001, ["\x00"], ["\ud800"], ["x", "x"], ["x" * 300_000], {"\x00": 1}, {"x": "\x00"}, {"": ""}),
    *(_deep(80), _deep(400), {"a": _deep(70)}, {str(n): n for n in range(2000)}),
)  # fmt: skip
WORDS = [ascii(value)[:60] for value in (*TYPES, *VALUES)]
"""For a failure's message."""


class Case(NamedTuple):
    """Arguments with one thing wrong (or odd)."""

    command: str
    what: str
    raw: Json


def cases(world: World, declared: Command) -> Iterator[Case]:
    """Every case of a command: nothing, too much, and each argument as everything that it is not."""
    sample = cast(Json, world.filled(SAMPLES[declared.name]))
    name = declared.name
    yield Case(name, "an argument that is not there", {**sample, "nonsense": 1})
    yield Case(name, "nothing", {})
    yield Case(name, "a name with NUL", {**sample, "a\x00b": 1})
    for argument in declared.arguments.model_fields:
        if argument in sample:
            yield Case(name, f"no {argument}", {key: sample[key] for key in sample if key != argument})
        for value, words in zip((*TYPES, *VALUES), WORDS, strict=True):
            yield Case(name, f"{argument} = {words}", {**sample, argument: value})


def rows(world: World, *only: str) -> Json:
    """Every row of both databases (or `only` of these tables) except what is written about a call itself."""
    found: Json = {}
    for name, metadata in (("hub", hub_metadata), ("ledger", ledger_metadata)):
        with world.database.read(name) as connection:  # pyright: ignore[reportArgumentType]
            for table in metadata.sorted_tables:
                if table.name not in NOT_STATE and (not only or table.name in only):
                    for row in connection.execute(select(table)).mappings():
                        key = "/".join(str(row[column.key]) for column in table.primary_key.columns)
                        found[f"{table.name} {key}"] = dict(row)
    return found


def changed(before: Json, after: Json) -> list[str]:
    """Tables and keys of the rows that are not as they were."""
    return sorted(key[:120] for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def faults(envelope: Json, case: Case) -> list[str]:
    """What is wrong with a refusal: no sentence, a failure of the hub's own, or words of its inside."""
    error = envelope.get("error")
    if error is None:
        return []
    where = f"{case.command} ({case.what}): "
    found: list[str] = []
    message = str(error.get("message") or "")
    if (
        error["code"] in ("internal_error", "service_unavailable", "outcome_unknown")
        or error["status"] >= 500
    ):
        found.append(f"{where}{error['status']} {error['code']} {message[:200]}")
    if message.startswith("A value is too large"):  # the door's last resort, which cannot tell which one
        found.append(f"{where}does not name the argument: {message}")
    if not message or message != message.strip() or message[-1] not in ".!?)…":
        found.append(f"{where}no sentence: {message[-120:]!r}")
    if len(message) > MESSAGE_MAX:
        found.append(f"{where}a message of {len(message)} characters")
    leak = LEAKS.search(message + str(error.get("hint") or ""))
    if leak is not None and leak[0] not in json.dumps(case.raw, ensure_ascii=False, default=str):
        found.append(f"{where}tells of its inside ({leak[0]}): {message[:200]!r}")
    return found


@dataclass
class Faces:
    """The ways in, on one world."""

    world: World
    client: TestClient
    app: FastAPI
    problems: list[str] = field(default_factory=list)

    def door(self, case: Case, *, by: str | Principal = "admin", dry_run: bool = False) -> Json:
        """In this process."""
        runtime = Runtime(self.world.database, self.world.settings)
        principal = self.world.people[by] if isinstance(by, str) else by
        return execute(registry(), runtime, principal, case.command, case.raw, dry_run=dry_run).to_dict()

    def http(self, case: Case, *, key: str = "", dry_run: bool = False) -> Json:
        """Its route; the status must be the error's."""
        path = f"/api/commands/{case.command}" + ("?dry_run=true" if dry_run else "")
        answer = self.client.post(path, content=json.dumps(case.raw), headers=self._key(key))
        body = self._json(case, "http", answer)
        if body.get("error") and body["error"].get("status", answer.status_code) != answer.status_code:
            self.problems.append(f"http {case.command} ({case.what}): {answer.status_code} {body['error']}")
        return body

    def mcp(self, case: Case, *, key: str = "", dry_run: bool = False) -> Json:
        """The tool `call`; an error must be a tool's error."""
        call = {
            "name": "call",
            "arguments": {"command": case.command, "arguments": case.raw, "dry_run": dry_run},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {**self._key(key), "accept": "application/json, text/event-stream"}
        answer = self._json(case, "mcp", self.client.post("/mcp", content=json.dumps(body), headers=headers))
        result = cast(Json, answer.get("result") or {})
        told = cast(Json, result.get("structuredContent") or answer)
        if "result" in answer and result["isError"] != (told["error"] is not None):
            self.problems.append(f"mcp {case.command} ({case.what}): isError {result['isError']}")
        return told

    def cli(self, case: Case, *, dry_run: bool = False) -> Json:
        """The command line in this process: a code that is not 0, one sentence on standard error, nothing else."""
        line = _line(case)
        if dry_run and registry().get(case.command).effect != "read":
            line.append("--dry-run")
        code, out, err = run_cli(self.world, [*line, "--json"])
        where = f"cli {case.command} ({case.what})"
        try:
            answer = cast(Json, json.loads(out))
        except ValueError:
            self.problems.append(f"{where}: no JSON on standard output: {out[-200:]!r} {err[-300:]!r}")
            return {"error": {"code": "no_json"}}
        if (answer["error"] is None) != (code in (0, 7, 8)):
            self.problems.append(f"{where}: exit code {code} with {answer['status']}")
        if answer["error"] is not None and (not err.startswith("hub: ") or "Traceback" in err):
            self.problems.append(f"{where}: standard error {err[-300:]!r}")
        return answer

    def _key(self, key: str) -> dict[str, str]:
        used = key or self.world.keys["admin"]
        return {"authorization": f"Bearer {used}", "content-type": "application/json"}

    def _json(self, case: Case, face: str, answer: Any) -> Json:
        if answer.status_code >= 500:
            self.problems.append(
                f"{face} {case.command} ({case.what}): {answer.status_code} {answer.text[:200]}"
            )
        try:
            return cast(Json, answer.json())
        except ValueError:
            self.problems.append(f"{face} {case.command} ({case.what}): no JSON: {answer.text[:200]!r}")
            return {"error": {"code": "no_json"}}


@contextlib.contextmanager
def faces_of(world: World) -> Iterator[Faces]:
    """The faces of a world."""
    app = FastAPI()
    install(app, HttpState(world.database, world.settings))
    app.include_router(router_of(registry()))
    app.include_router(mcp_router(registry()))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Faces(world, client, app)


def run_cli(world: World, line: list[str]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ["TOKENHUB_HOME"] = str(world.settings.home)
    os.environ["TOKENHUB_DATABASE_URL"] = world.settings.database_url
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(line)
                code: Any = 0
            except SystemExit as ended:
                code = ended.code
            except Exception:  # as the interpreter does it for a process of its own
                traceback.print_exc()
                code = 1
    finally:
        os.environ.clear()
        os.environ.update(before)
        structlog.reset_defaults()
    return int(code or 0), out.getvalue(), err.getvalue()


def _line(case: Case) -> list[str]:
    """The case as words; what no words can say is said as JSON text."""
    noun, verb = case.command.split(".", 1)
    params = {param.name: param for param in load()[noun][verb].params}
    line = [noun, verb]
    for name, value in case.raw.items():
        flag = params[name].flag if name in params else f"--{name}"
        values = cast(list[Any], value) if isinstance(value, list) else [value]
        for one in values[:50]:
            if isinstance(one, bool) and name in params and params[name].kind == "boolean":
                line.append(flag if one else f"--no-{flag[2:]}")
            else:
                line.append(f"{flag}={one if isinstance(one, str) else json.dumps(one)}")
    return line


def sayable(case: Case) -> bool:
    """True if a shell could pass it: no NUL, no half characters, no endless nesting."""
    text = ascii(case.raw)
    return "\\x00" not in text and "\\ud800" not in text and text.count("[") < 50 and len(text) < 100_000


@dataclass
class Found:
    """What a sweep found."""

    calls: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, face: str, envelope: Json) -> None:
        """One call more."""
        self.calls[face] = self.calls.get(face, 0) + 1
        error = envelope.get("error")
        if error:
            self.refused[face] = self.refused.get(face, 0) + 1
            self.codes[error["code"]] = self.codes.get(error["code"], 0) + 1


BATCH = 200


def sweep(faces: Faces, *, seed: int, share: float = 1.0, other_share: float = 0.05) -> Found:
    """Cases of every command (`share` of them) through the door; of those, `other_share` through HTTP, MCP and CLI too.

    What the door's dry run takes is no bad input and is not run. What it refuses is run, and must change nothing.
    """
    rng = random.Random(seed)
    found = Found()
    world = faces.world
    todo = [case for declared in registry() if declared.name in SAMPLES for case in cases(world, declared)]
    rng.shuffle(todo)
    todo = todo[: round(len(todo) * share)]
    before = rows(world)
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        for case in batch:
            _try(faces, found, case, other=rng.random() < other_share)
        after = rows(world)
        if before != after:
            ran = ", ".join(f"{case.command} ({case.what})" for case in batch[:400])
            found.problems.append(f"rows changed {changed(before, after)[:20]} by one of: {ran[:2000]}")
        before = after
    found.problems += faces.problems
    return found


def _try(faces: Faces, found: Found, case: Case, *, other: bool) -> None:
    writes = registry().get(case.command).effect != "read"
    first = faces.door(case, dry_run=writes)
    found.count("door", first)
    found.problems += faults(first, case)
    taken = first.get("error") is None
    if writes and not taken:
        again = faces.door(case)
        if (again.get("error") or {}).get("code") != first["error"]["code"]:
            found.problems.append(
                f"{case.command} ({case.what}): {first['error']} in a dry run, then {again}"
            )
    if not other:
        return
    dry = writes and taken
    for face, call in (("http", faces.http), ("mcp", faces.mcp)):
        told = call(case, dry_run=dry)
        found.count(face, told)
        unread = (
            face == "mcp" and (told.get("error") or {}).get("code") == -32700
        )  # its JSON is read more strictly
        if not unread and _said(told) != _said(first):
            found.problems.append(
                f"{face} {case.command} ({case.what}): {told.get('error')}, door {first.get('error')}"
            )
    if sayable(case):
        told = faces.cli(case, dry_run=dry or writes)  # words may say less than JSON, so it may be fine there
        found.count("cli", told)
        found.problems += faults(told, case) if (told.get("error") or {}).get("code") != "no_json" else []


def _said(envelope: Json) -> tuple[Any, ...] | None:
    """What a refusal says on every face alike; None for an answer."""
    error = cast(Json | None, envelope.get("error"))
    return None if error is None else tuple(error.get(part) for part in ("code", "message", "hint", "param"))
