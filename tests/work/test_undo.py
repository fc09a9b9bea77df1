"""For every write: the dry run tells exactly the rows of the real run, and its undo restores the state."""

import json
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from tests.work.world import SAMPLES, World
from tokenhub.bootstrap.commands import registry
from tokenhub.commands import audit
from tokenhub.commands.door import Runtime, execute
from tokenhub.db.engine import Name
from tokenhub.db.metadata import hub_metadata, ledger_metadata

NOT_STATE = {"audit", "audit_head", "idempotency", "revision"}
_ID = re.compile(r"\b[a-z-]+_[0-9A-HJKMNP-TV-Z]{26}\b|\b[0-9a-f]{64}\b|sk-th-[\w-]{4}")


def rows(world: World, name: Name) -> dict[str, dict[str, Any]]:
    """Every row of the database: table and key -> columns."""
    metadata = hub_metadata if name == "hub" else ledger_metadata
    found: dict[str, dict[str, Any]] = {}
    with world.database.read(name) as connection:
        for table in metadata.sorted_tables:
            if table.name in NOT_STATE:
                continue
            for row in connection.execute(select(table)).mappings():
                key = "/".join(str(row[column.key]) for column in table.primary_key.columns)
                found[f"{table.name} {key}"] = dict(row)
    return found


def difference(before: dict[str, Any], after: dict[str, Any]) -> set[tuple[str, str, str]]:
    """What changed, counted from the tables themselves: (table, op, columns)."""
    found: set[tuple[str, str, str]] = set()
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        op = "insert" if old is None else "delete" if new is None else "update"
        columns = sorted(name for name in (new or old) if op == "update" and old[name] != new[name])
        found.add((key.split()[0], op, ",".join(columns) or _mask(key.split()[1])))
    return found


def told(changes: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """The same of the changes that the door tells."""
    return {
        (
            one["table"],
            one["op"],
            ",".join(sorted(one["after"]))
            if one["op"] == "update"
            else _mask("/".join(map(str, one["key"].values()))),
        )
        for one in changes
    }


def _stopped(row: dict[str, Any], after: dict[str, Any]) -> bool:
    """A run, or the grant that it has: its stop counts before its next command."""
    return f"stops {row['org_id']}/{row['id']}" in after


ENDED: dict[str, Callable[[dict[str, Any], dict[str, Any]], bool]] = {
    "agent_runs": _stopped,
    "api_keys": lambda row, after: row["revoked_at_ms"] is not None or _secretless(row, after),
    "budget_limit": lambda row, _: row["removed_at_ms"] is not None,
    "grants": lambda row, after: row["revoked_at_ms"] is not None or _stopped(row, after),
    "jobs": lambda row, _: row["state"] == "cancelled",
    "key_secrets": lambda _, __: True,  # of a revoked key
    "skill_run_files": lambda _, __: True,  # of a cancelled run
    "skill_runs": lambda row, _: row["state"] == "cancelled",
    "stops": lambda _, __: True,  # what ended it
}
"""What an inverse leaves on record, and how it says that it is in force no more."""
STAMPS = {"changed_at_ms"}
"""Columns that tell when somebody last asked, and decide nothing."""


def _still_in_force(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Rows that an inverse did not put back and that did not end either."""
    left: list[str] = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None:
            if any(old[name] != new[name] for name in old.keys() - STAMPS):
                left.append(key)
        elif old != new and (new is None or not ENDED.get(key.split()[0], lambda _, __: False)(new, after)):
            left.append(key)
    return left


def _secretless(row: dict[str, Any], after: dict[str, Any]) -> bool:
    """A key that nobody can show: it only says for whom something acts."""
    return not any(
        key.startswith("key_secrets ") and one["key_id"] == row["id"] for key, one in after.items()
    )


def _other(name: Name) -> Name:
    return "ledger" if name == "hub" else "hub"


def _mask(text: str) -> str:
    return _ID.sub("#", text)


def _comparable(changes: list[dict[str, Any]]) -> str:
    text = json.dumps(changes, sort_keys=True)
    return re.sub(r"\b1[789]\d{11}\b", "#ms", _mask(text))


def test_every_command_has_a_sample() -> None:
    assert {declared.name for declared in registry()} == set(SAMPLES)


def test_every_write_can_be_seen_before_and_taken_back_after(world: World) -> None:
    runtime, by = Runtime(world.database, world.settings), world.people["admin"]
    restored, inverted, irreversible = 0, 0, 0
    for declared in registry():
        if declared.effect == "read" or declared.name == "audit.undo":
            continue
        raw = world.filled(SAMPLES[declared.name])
        name: Name = (
            declared.writes_by(declared.arguments(**raw)) if declared.writes_by else declared.writes or "hub"
        )
        before, other = rows(world, name), rows(world, _other(name))
        plan = execute(registry(), runtime, by, declared.name, raw, dry_run=True)
        assert plan.error is None and plan.changes is not None, (declared.name, plan)
        assert rows(world, name) == before, f"{declared.name}: a dry run changes nothing"
        if declared.effect == "irreversible":
            irreversible += 1
            continue  # run by the next test, in a world of its own
        done = execute(registry(), runtime, by, declared.name, raw)
        assert done.error is None and done.audit_id, (declared.name, done)
        after = rows(world, name)
        with world.database.read(name) as connection:
            row = audit.find(connection, name, by.org_id, done.audit_id)
        assert row is not None
        real = json.loads(row["changes"])
        assert _comparable(plan.changes) == _comparable(real), declared.name
        if declared.undo == "rows":
            assert told(real) == difference(before, after), declared.name
        undone = execute(registry(), runtime, by, "audit.undo", {"audit": done.audit_id})
        assert undone.ok and undone.data is not None, (declared.name, undone)
        assert undone.data["by"] == declared.undo
        if declared.undo == "rows":
            assert rows(world, name) == before, f"{declared.name}: its undo restores the state"
            restored += 1
        else:
            assert _still_in_force(before, rows(world, name)) == [], (
                f"{declared.name}: its inverse restores the state"
            )
            inverted += 1
        assert rows(world, _other(name)) == other, declared.name
    assert (restored, inverted, irreversible) >= (43, 10, 9), (restored, inverted, irreversible)


def test_what_is_irreversible_tells_its_rows_too(world: World) -> None:
    by = world.people["admin"]
    runtime = Runtime(world.database, world.settings)
    for declared in registry():
        if declared.effect != "irreversible":
            continue
        raw = world.filled(SAMPLES[declared.name])
        plan = execute(registry(), runtime, by, declared.name, raw, dry_run=True)
        done = execute(registry(), runtime, by, declared.name, raw)
        if declared.name in ("gate.approve", "request.reject"):  # decided just before
            continue
        assert plan.error is None and done.error is None and done.audit_id, (declared.name, done)
        name: Name = declared.writes or "hub"
        with world.database.read(name) as connection:
            row = audit.find(connection, name, by.org_id, done.audit_id)
        assert row is not None and plan.changes is not None
        assert _comparable(plan.changes) == _comparable(json.loads(row["changes"])), declared.name
        refused = execute(registry(), runtime, by, "audit.undo", {"audit": done.audit_id})
        assert refused.error is not None and refused.error.code == "irreversible", declared.name


def test_what_moved_on_by_itself_does_not_hinder_an_undo(world: World) -> None:
    world.do("admin", "task.create", title="Wrong", assignee="bob")
    made = world.ids["last"]
    world.do("bob", "notice.read")
    assert world.call("admin", "audit.undo", audit=made).ok
    assert not [item for item in world.do("bob", "notice.list", all=True)["items"] if item["text"] == "Wrong"]
