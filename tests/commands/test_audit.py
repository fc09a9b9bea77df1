"""The audit trail: chained, provable, exportable; and what it takes back."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.commands.conftest import Call
from tokenhub.commands import Envelope
from tokenhub.commands.audit import link
from tokenhub.commands.tables import audit, audit_head
from tokenhub.db.engine import Database
from tokenhub.identity.tables import memberships, teams, users


def _data(envelope: Envelope) -> dict[str, Any]:
    assert envelope.data is not None and envelope.error is None, envelope
    return envelope.data


def _state(database: Database) -> list[Any]:
    with database.read("hub") as connection:
        return [
            sorted(map(str, connection.execute(select(table)).all())) for table in (teams, users, memberships)
        ]


def test_the_chain_holds_under_concurrent_writers(call: Call) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: call("team.create", {"name": f"t{number}"}), range(24)))
    assert all(one.ok for one in made)
    verified = _data(call("audit.verify"))
    assert verified["holds"] and verified["chains"][0]["rows"] == 24


@pytest.mark.parametrize("attack", ["change", "remove", "cut", "insert"])
def test_whatever_is_done_to_the_trail_is_found(call: Call, database: Database, attack: str) -> None:
    ids = [call("team.create", {"name": f"t{number}"}).audit_id for number in range(4)]
    table = audit["hub"]
    with database.write("hub") as connection:
        if attack == "change":
            connection.execute(update(table).where(table.c.id == ids[1]).values(actor="somebody else"))
        elif attack in ("remove", "cut"):
            connection.execute(delete(table).where(table.c.id == ids[1 if attack == "remove" else 3]))
        else:
            row = dict(connection.execute(select(table).where(table.c.id == ids[3])).mappings().one())
            row |= {"id": "audit_new", "seq": 5}
            row["hash"] = link(row["hash"], row)
            connection.execute(table.insert().values(**row))
    verified = call("audit.verify")
    assert verified.status == "partial_failure" and verified.data is not None
    assert not verified.data["holds"] and verified.data["chains"][0]["faults"]


def test_an_export_proves_itself(call: Call, database: Database) -> None:
    for number in range(5):
        _data(call("team.create", {"name": f"t{number}"}))
    first = _data(call("audit.export", {"limit": 3}))
    rest = _data(call("audit.export", {"after": first["next_after"]}))
    before = ""
    for row in json.loads(json.dumps(first["items"] + rest["items"])):
        assert link(before, row) == row["hash"]
        before = row["hash"]
    assert rest["next_after"] is None and rest["head"] == before
    with database.read("hub") as connection:
        assert connection.execute(select(audit_head["hub"].c.hash)).scalar_one() == before


def test_an_undo_restores_and_can_be_undone(call: Call, database: Database) -> None:
    _data(call("team.create", {"name": "crew"}))
    _data(call("user.create", {"name": "ana", "team": "crew"}))
    before = _state(database)
    done = call("team.remove", {"team": "crew", "user": "ana"})
    after = _state(database)
    assert before != after
    undone = call("audit.undo", {"audit": done.audit_id})
    assert _data(undone)["by"] == "rows" and _state(database) == before
    twice = call("audit.undo", {"audit": done.audit_id})
    assert twice.error is not None and twice.error.code == "already_undone"
    assert call("audit.undo", {"audit": undone.audit_id}).ok and _state(database) == after


def test_an_undo_never_overwrites_a_later_change(call: Call) -> None:
    made = call("team.create", {"name": "crew"})
    _data(call("user.create", {"name": "ana"}))
    joined = call("team.add", {"team": "crew", "user": "ana"})
    refused = call("audit.undo", {"audit": made.audit_id})
    assert refused.error is not None and refused.error.status == 409
    assert call("audit.undo", {"audit": joined.audit_id}).ok
    assert call("audit.undo", {"audit": made.audit_id}).ok
    assert _data(call("team.list"))["items"] == []


def test_an_inverse_command_takes_back_what_rows_cannot(call: Call) -> None:
    made = call("key.create", {"name": "k"})
    undone = call("audit.undo", {"audit": made.audit_id})
    assert _data(undone)["by"] == "key.revoke"
    assert _data(call("key.show", {"key": made.data["id"]}))["status"] == "revoked"  # type: ignore[index]


def test_what_is_irreversible_says_so(call: Call) -> None:
    _data(call("key.create", {"name": "k"}))
    done = call("key.revoke", {"key": "k"})
    refused = call("audit.undo", {"audit": done.audit_id})
    assert refused.error is not None and refused.error.code == "irreversible"


def test_a_dry_run_tells_the_rows_of_the_real_run(call: Call) -> None:
    _data(call("user.create", {"name": "ana"}))
    plan = call("user.disable", {"user": "ana"}, dry_run=True)
    done = call("user.disable", {"user": "ana"})
    real = _data(call("audit.show", {"audit": done.audit_id}))["changes"]
    assert plan.changes is not None and len(plan.changes) == 1
    assert [(change["table"], change["op"], change["key"]) for change in plan.changes] == [
        (change["table"], change["op"], change["key"]) for change in real
    ]
    assert plan.changes[0]["before"] == {"disabled_at_ms": None} == real[0]["before"]


def test_secrets_stand_in_no_row_of_the_trail(call: Call, database: Database) -> None:
    made = call("key.create", {"name": "k"})
    secret = _data(made)["key"]
    with database.read("hub") as connection:
        rows = connection.execute(select(audit["hub"])).mappings().all()
    assert secret not in json.dumps([dict(row) for row in rows])
