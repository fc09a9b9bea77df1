"""The door: what every command gets, whatever it does."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field
from sqlalchemy import Connection, event, func, insert, select

from tests.commands.conftest import Call
from tokenhub.commands import Command, Context, Model, Secret, command
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.commands.tables import audit, idempotency
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity.tables import teams
from tokenhub.identity.types import Principal

VERBS: list[Command] = []


class Thing(Model):
    name: str = Field(min_length=1)
    token: Secret | None = None


class Made(Model):
    name: str
    token: Secret
    dry: bool


@command("thing.make", effect="write", resource="", permission="admin", summary="Make a thing.")
def thing_make(ctx: Context, args: Thing) -> Made:
    _team(ctx, args.name)
    return Made(name=args.name, token="shown-once", dry=ctx.dry_run)


@command("thing.break", effect="write", resource="", permission="admin", summary="Make a thing, then crash.")
def thing_break(ctx: Context, args: Thing) -> Made:
    _team(ctx, args.name)
    raise RuntimeError("a bug")


@command(
    "thing.book",
    effect="write",
    resource="",
    writes="ledger",
    permission="admin",
    summary="Write the ledger.",
)
def thing_book(ctx: Context, args: Thing) -> Made:
    found = ctx.hub.execute(select(func.count()).select_from(teams)).scalar_one()
    revision.bump(ctx.ledger)
    return Made(name=f"{args.name} {found}", token="", dry=False)


@command("thing.later", effect="write", resource="", permission="", summary="Start something long.")
def thing_later(ctx: Context, args: Thing) -> Made:
    ctx.pending(next="hub thing show")
    return Made(name=args.name, token="", dry=False)


def _team(ctx: Context, name: str) -> None:
    ctx.hub.execute(
        insert(teams).values(
            id=f"team_{name}", org_id=ctx.principal.org_id, name=name, created_at_ms=ctx.now_ms
        )
    )


@pytest.fixture
def do(runtime: Runtime, admin: Principal) -> Call:
    registry = Registry()
    for declared in VERBS:
        registry.add(declared)

    def run(name: str, raw: dict[str, Any], *, by: Principal = admin, **options: Any) -> Any:
        return execute(registry, runtime, by, name, raw, **options)

    return run


def _count(database: Database, table: Any, name: Any = "hub") -> int:
    with database.read(name) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_effect_and_audit_row_are_one_transaction(do: Call, database: Database, admin: Principal) -> None:
    done = do("thing.make", {"name": "a", "token": "hidden"}, request_id="req_1")
    assert done.ok and done.data == {"name": "a", "token": "shown-once", "dry": False}
    with database.read("hub") as connection:
        row = connection.execute(select(audit["hub"]).where(audit["hub"].c.id == done.audit_id)).one()
    assert (row.command, row.outcome, row.actor, row.request_id) == (
        "thing.make",
        "success",
        admin.actor,
        "req_1",
    )
    assert json.loads(row.arguments) == {"name": "a", "token": ""}

    failed = do("thing.break", {"name": "b"})
    assert not failed.ok and failed.error is not None and failed.error.code == "internal_error"
    assert _count(database, teams) == 1 and _count(database, audit["hub"]) == 1


def test_dry_run_is_the_real_run_rolled_back(do: Call, database: Database) -> None:
    done = do("thing.make", {"name": "a"}, dry_run=True, idempotency_key="k")
    assert done.ok and done.dry_run and done.audit_id is None
    assert done.data == {"name": "a", "token": "", "dry": True}
    assert _count(database, teams) == _count(database, idempotency["hub"]) == 0
    with database.read("hub") as connection:
        row = connection.execute(select(audit["hub"])).one()
    assert (row.outcome, row.changes) == ("dry_run", None), "that it was looked at is on the record"


def test_an_idempotency_key_makes_a_retry_safe(do: Call, database: Database) -> None:
    first = do("thing.make", {"name": "a"}, idempotency_key="k")
    again = do("thing.make", {"name": "a"}, idempotency_key="k")
    assert again.ok and again.replayed and again.audit_id == first.audit_id
    assert again.data is not None and again.data["token"] == ""
    assert _count(database, teams) == 1
    other = do("thing.make", {"name": "b"}, idempotency_key="k")
    assert other.error is not None and other.error.code == "idempotency_key_conflict"
    assert other.error.headers["x-should-retry"] == "false"


def test_one_key_at_the_same_time_is_done_once(do: Call, database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: do("thing.make", {"name": "a"}, idempotency_key="k"), range(8)))
    assert all(answer.ok for answer in answers) and len({answer.audit_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert _count(database, teams) == _count(database, audit["hub"]) == 1


def test_a_failed_command_leaves_its_key_free(do: Call) -> None:
    assert not do("thing.break", {"name": "a"}, idempotency_key="k").ok
    assert do("thing.make", {"name": "a"}, idempotency_key="k").ok


def test_a_clash_is_a_conflict(do: Call) -> None:
    assert do("thing.make", {"name": "a"}).ok
    clash = do("thing.make", {"name": "a"})
    assert clash.error is not None and (clash.error.status, clash.error.code) == (409, "conflict")


def test_a_refusal_is_audited_and_changes_nothing(do: Call, database: Database, admin: Principal) -> None:
    weak = replace(admin, scopes=frozenset({"inference"}))
    refused = do("thing.make", {"name": "a"}, by=weak)
    assert refused.error is not None and refused.error.status == 403 and "`admin`" in refused.error.message
    with database.read("hub") as connection:
        assert connection.execute(select(audit["hub"].c.outcome)).scalars().all() == ["denied"]
    assert _count(database, teams) == 0


def test_bad_arguments_name_the_field(do: Call) -> None:
    for raw, param in (({}, "name"), ({"name": ""}, "name"), ({"name": "a", "x": 1}, "x")):
        refused = do("thing.make", raw)
        assert refused.error is not None and refused.error.status == 400 and refused.error.param == param
        assert refused.error.hint == "See `hub thing make --help`."


def test_an_unknown_command_names_the_nearest(do: Call) -> None:
    refused = do("thing.mak", {})
    assert refused.error is not None and refused.error.status == 404 and "thing.make" in refused.error.hint


def test_the_written_database_holds_the_audit_row(do: Call, database: Database) -> None:
    assert do("thing.make", {"name": "a"}).ok
    done = do("thing.book", {"name": "n"})
    assert done.ok and done.data is not None and done.data["name"] == "n 1"
    assert _count(database, audit["ledger"], "ledger") == 1
    with database.read("ledger") as connection:
        assert revision.current(connection) == 1


def test_pending_is_not_ok(do: Call) -> None:
    done = do("thing.later", {"name": "a"})
    assert done.status == "pending" and not done.ok and done.next == "hub thing show" and done.audit_id


def test_a_commit_that_fails_is_an_outcome_that_nobody_knows(do: Call, database: Database) -> None:
    """The server ends the connection while the transaction commits, as a crash or a network would."""
    if database.dialect != "postgresql":
        pytest.skip("SQLite commits in this process")
    engine, armed = database.engine("hub"), [True]

    def cut(connection: Connection) -> None:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        if armed and armed.pop():
            with engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
                other.rollback()

    event.listen(engine, "commit", cut)
    try:
        lost = do("thing.make", {"name": "a"}, idempotency_key="k")
    finally:
        event.remove(engine, "commit", cut)
    assert lost.status == "failure" and lost.error is not None and lost.error.code == "outcome_unknown"
    assert lost.error.headers["x-should-retry"] == "false" and "--idempotency-key k" in lost.error.hint
    again = do("thing.make", {"name": "a"}, idempotency_key="k")
    assert again.ok and _count(database, teams) == 1


def test_a_full_disk_is_said_and_nothing_is_half_written(
    do: Call, runtime: Runtime, database: Database
) -> None:
    if database.dialect != "sqlite":
        pytest.skip("PostgreSQL's disk cannot be filled from here")
    assert do("thing.make", {"name": "before"}).ok

    def no_more_pages(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # SQLite then says what it says of a full disk

    writer = database._writers["hub"]
    event.listen(writer, "begin", no_more_pages)
    failed = None
    for number in range(2000):
        failed = do("thing.make", {"name": f"t{number}", "token": "x" * 200})
        if not failed.ok:
            break
    assert failed is not None and failed.error is not None
    assert (failed.error.status, failed.error.message) == (503, "The disk is full: nothing was written.")
    event.remove(writer, "begin", no_more_pages)
    with database.write("hub") as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
        made = connection.execute(select(func.count()).select_from(teams)).scalar_one()
        audited = connection.execute(
            select(func.count()).select_from(audit["hub"]).where(audit["hub"].c.command == "thing.make")
        ).scalar_one()
    assert made == audited
    assert do("thing.make", {"name": "after"}).ok
