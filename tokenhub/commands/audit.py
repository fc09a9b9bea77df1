"""The audit trail: one row a command, in the transaction of its effect, hash-chained within the organisation.

A row's hash covers the row and the hash before it, and the head (number and hash of the last row) stands apart, so a
row that is changed, taken out or cut off at the end is found by `verify`. Keep the head of an export elsewhere, and
even somebody who can write the database cannot rewrite what was exported.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, text, update

from tokenhub.commands.tables import audit, audit_head
from tokenhub.db.engine import Name
from tokenhub.db.prepared import Prepared
from tokenhub.db.upsert import insert_for
from tokenhub.identity.types import Principal
from tokenhub.kernel.ids import new_id

GENESIS = ""
"""The hash before the first row."""

_HASHED = (
    "seq",
    "id",
    "at_ms",
    "org_id",
    "actor",
    "key_id",
    "app",
    "grant_id",
    "command",
    "effect",
    "outcome",
    "arguments",
    "request_id",
    "decision",
    "changes",
    "undo",
    "undoes",
)
_PREFIX: dict[Name, str] = {"hub": "audit", "ledger": "bookaudit"}
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """What an audit row says."""

    command: str
    effect: str
    outcome: str
    arguments: Mapping[str, Any]
    """JSON values, secrets left out."""
    request_id: str
    at_ms: int
    decision: str = ""
    changes: Sequence[Mapping[str, Any]] | None = None
    undo: Mapping[str, Any] | None = None
    undoes: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found."""

    rows: int
    head: str
    """Hash of the last row."""
    faults: tuple[str, ...]
    """Sentences, the first ones; empty = the chain holds."""


def database_of(audit_id: str) -> Name:
    """The database in which the row of this id stands."""
    return "ledger" if audit_id.startswith(_PREFIX["ledger"] + "_") else "hub"


def take_turn(connection: Connection, name: Name, org_id: str) -> None:
    """Wait until no other writer of this organisation is under way, and keep the others waiting to the end of this one.

    Taken before anything is asked or locked, so that what a command was admitted by still holds when its row is
    appended, and rows stand in the chain in the order in which they took effect. On SQLite a writer is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        _take_head(connection, name, org_id)


def write(connection: Connection, name: Name, principal: Principal, entry: Entry) -> str:
    """Append one row to the organisation's chain; returns its id. The head's row stays locked (`take_turn`)."""
    seq, before = _take_head(connection, name, principal.org_id)
    row: dict[str, Any] = {
        "id": new_id(_PREFIX[name]),
        "at_ms": entry.at_ms,
        "org_id": principal.org_id,
        "actor": principal.actor,
        "key_id": principal.key_id,
        "app": principal.app,
        "command": entry.command,
        "effect": entry.effect,
        "outcome": entry.outcome,
        "arguments": json.dumps(entry.arguments, ensure_ascii=False, sort_keys=True),
        "request_id": entry.request_id,
        "seq": seq + 1,
        "grant_id": principal.grant_id,
        "decision": entry.decision or None,
        "changes": None if entry.changes is None else _json(entry.changes),
        "undo": None if entry.undo is None else _json(entry.undo),
        "undoes": entry.undoes,
    }
    row["hash"] = link(before, row)
    moved = {"org": principal.org_id, "next_seq": seq + 1, "next_hash": row["hash"]}
    if connection.dialect.name == "postgresql":
        _APPEND_AND_MOVE[name].rows(connection, {**row, **moved})
    else:
        _APPEND[name].rows(connection, row)
        _MOVE[name].rows(connection, moved)
    return str(row["id"])


def link(before: str, row: Mapping[str, Any]) -> str:
    """The hash of a row: sha256 over the hash before it and its columns as a JSON list."""
    body = json.dumps([before, *(row[name] for name in _HASHED)], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()


def verify(connection: Connection, name: Name, org_id: str) -> Verified:
    """Walk the organisation's chain from the first row to the head, as it stood when this began.

    Others may write meanwhile: the highest number is read before the head, which never lies behind it.
    """
    table, head = audit[name], audit_head[name]
    highest = select(func.coalesce(func.max(table.c.seq), 0)).where(table.c.org_id == org_id)
    top = int(connection.execute(highest).scalar_one())
    kept = connection.execute(select(head.c.seq, head.c.hash).where(head.c.org_id == org_id)).one_or_none()
    ends = (0, GENESIS) if kept is None else (int(kept.seq), str(kept.hash))
    before, count = GENESIS, 0
    faults: list[str] = []
    for row in _walk(connection, name, org_id, until=max(top, ends[0])):
        count += 1
        if row["seq"] != count:
            faults.append(f"row {count} is missing: {row['id']} has the number {row['seq']}")
            count = row["seq"]
        elif link(before, row) != row["hash"]:
            faults.append(
                f"{row['id']} (number {row['seq']}) is not as it was written, or the row before it is not"
            )
        before = row["hash"]
        if len(faults) >= 20:
            break
    faults += _beside(connection, name, org_id)
    if not faults and ends != (count, before):
        faults.append("the chain does not end where its head says: rows at the end are missing or were added")
    return Verified(count, before, tuple(faults))


def export(
    connection: Connection, name: Name, org_id: str, *, after_seq: int, limit: int
) -> list[dict[str, Any]]:
    """Rows of the chain in order, whole, with their hashes."""
    table = audit[name]
    query = select(table).where(table.c.org_id == org_id, table.c.seq > after_seq).order_by(table.c.seq)
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


def heads(connection: Connection) -> dict[str, int]:
    """Number of the last row of each organisation's chain of the hub's objects."""
    return {row[0]: row[1] for row in connection.execute(_HEADS)}


def done_since(connection: Connection, org_id: str, *, after_seq: int, limit: int) -> list[RowMapping]:
    """What was done to the hub's objects, in order, with what decided it and what it changed."""
    table = audit["hub"]
    names = ("seq", "id", "at_ms", "actor", "grant_id", "command", "effect", "outcome", "arguments")
    names += ("decision", "changes")
    query = select(*(table.c[name] for name in names)).where(
        table.c.org_id == org_id, table.c.seq > after_seq
    )
    return list(connection.execute(query.order_by(table.c.seq).limit(limit)).mappings())


def find(connection: Connection, name: Name, org_id: str, audit_id: str) -> RowMapping | None:
    """One row of the organisation."""
    table = audit[name]
    query = select(table).where(table.c.id == audit_id, table.c.org_id == org_id)
    return connection.execute(query).mappings().one_or_none()


def undone_by(connection: Connection, name: Name, audit_id: str) -> str | None:
    """The row that took this one back, if any."""
    table = audit[name]
    return connection.execute(select(table.c.id).where(table.c.undoes == audit_id)).scalar_one_or_none()


def listing(
    connection: Connection,
    name: Name,
    org_id: str,
    *,
    actor: str | None = None,
    command: str = "",
    outcome: str = "",
    after: str | None = None,
    limit: int = 50,
) -> list[RowMapping]:
    """At most `limit + 1` rows, newest first; of one actor if given."""
    table = audit[name]
    query = select(table).where(table.c.org_id == org_id).order_by(table.c.id.desc()).limit(limit + 1)
    if actor is not None:
        query = query.where(table.c.actor == actor)
    if command:
        query = query.where(table.c.command == command)
    if outcome:
        query = query.where(table.c.outcome == outcome)
    if after is not None:
        query = query.where(table.c.id < after)
    return list(connection.execute(query).mappings())


def _take_head(connection: Connection, name: Name, org_id: str) -> tuple[int, str]:
    head = audit_head[name]
    rows = _HEAD[name].rows(connection, {"org": org_id})
    if not rows:
        first = (
            insert_for(connection, head).values(org_id=org_id, seq=0, hash=GENESIS).on_conflict_do_nothing()
        )
        connection.execute(first)
        rows = _HEAD[name].rows(connection, {"org": org_id})
    seq, hash_ = rows[0]
    return int(seq), str(hash_)


def _beside(connection: Connection, name: Name, org_id: str) -> list[str]:
    """Rows without a number that claim to be younger than the chain: nothing writes such rows."""
    table = audit[name]
    mine = table.c.org_id == org_id
    first = select(table.c.at_ms).where(mine, table.c.seq == 1).scalar_subquery()
    late = select(table.c.id).where(mine, table.c.seq.is_(None), table.c.at_ms >= first)
    return [f"{one} stands outside the chain" for one in connection.execute(late.limit(20)).scalars()]


def _walk(connection: Connection, name: Name, org_id: str, *, until: int) -> Iterator[dict[str, Any]]:
    after = 0
    while rows := export(connection, name, org_id, after_seq=after, limit=min(_BATCH, until - after)):
        yield from rows
        after = int(rows[-1]["seq"])
        if after >= until:
            return


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_HEAD: dict[Name, Prepared] = {
    name: Prepared(select(head.c.seq, head.c.hash).where(head.c.org_id == bindparam("org")).with_for_update())
    for name, head in audit_head.items()
}
_MOVE: dict[Name, Prepared] = {
    name: Prepared(
        update(head)
        .where(head.c.org_id == bindparam("org"))
        .values(seq=bindparam("next_seq"), hash=bindparam("next_hash"))
    )
    for name, head in audit_head.items()
}


def _in_one(name: Name) -> str:
    """Both in one statement, and so in one way to the server."""
    columns = [column.key for column in audit[name].columns]
    return (
        f"WITH moved AS (UPDATE {audit_head[name].name} SET seq = :next_seq, hash = :next_hash WHERE org_id = :org)"
        f" INSERT INTO {audit[name].name} ({', '.join(columns)}) VALUES ({', '.join(f':{one}' for one in columns)})"
    )


_APPEND_AND_MOVE: dict[Name, Prepared] = {name: Prepared(text(_in_one(name))) for name in audit}
_APPEND: dict[Name, Prepared] = {name: Prepared(insert(table)) for name, table in audit.items()}
_HEADS = select(audit_head["hub"].c.org_id, audit_head["hub"].c.seq)
