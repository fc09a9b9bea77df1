"""What one transaction did to rows: recorded as it runs, shown by a dry run, kept by audit, put back by undo.

A `Changes` that is passed to `Database.write` looks at every INSERT, UPDATE and DELETE built with SQLAlchemy while it
is `active`: it reads the rows before they change, and `collect` reads them again at the end, so what it tells is what
the database holds. What it cannot follow (text SQL, INSERT … SELECT) it names in `opaque`; a command that does such
things declares itself irreversible.
"""

import base64
import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Insert,
    MetaData,
    Select,
    Table,
    Update,
    and_,
    event,
    or_,
    select,
    true,
)
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into
from sqlalchemy import update as update_of
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ClauseElement, visitors

from tokenhub.kernel.errors import Conflict

OPTION = "tokenhub_changes"
SHOWN_MAX = 1024
"""Characters of a new value that are kept; longer ones are kept as a digest, which suffices to compare."""

_UNTOLD = frozenset({"revision", "audit", "audit_head", "idempotency"})
Key = tuple[Table, tuple[Any, ...]]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One row before and after; None = it did not exist."""

    table: Table
    key: tuple[Any, ...]
    before: Row | None
    after: Row | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: `table`, `op`, `key`, `before`, `after`; of an update only the columns that changed.

        A column marked secret is a digest on both sides; long new values are digests (`SHOWN_MAX`).
        """
        names = [column.key for column in self.table.primary_key.columns]
        before, after = self.before, self.after
        op = "update"
        if before is None:
            op = "insert"
        elif after is None:
            op = "delete"
        else:
            changed = [name for name in before if before[name] != after[name]]
            before = {name: before[name] for name in changed}
            after = {name: after[name] for name in changed}
        return {
            "table": self.table.name,
            "op": op,
            "key": {name: _whole(value) for name, value in zip(names, self.key, strict=True)},
            "before": None if before is None else _encoded(self.table, before, short=False),
            "after": None if after is None else _encoded(self.table, after, short=True),
        }


class Changes:
    """The changes of one transaction, in the order in which rows were first touched."""

    def __init__(self) -> None:
        self.active = False
        self.opaque: list[str] = []
        """Statements whose effect it cannot tell."""
        self._expected: int | None = None
        """Rows that the statement just noted must change."""
        self._asked: Key | None = None
        """The row that it inserts unless somebody else did in this moment."""
        self._before: dict[Key, Row | None] = {}
        self._known: dict[Key, Row] = {}

    def collect(self, connection: Connection) -> list[Change]:
        """Every row that is not as it was; reads the touched rows once more."""
        self.active = False
        unknown: dict[Table, list[tuple[Any, ...]]] = {}
        for table, key in self._before:
            if (table, key) not in self._known:
                unknown.setdefault(table, []).append(key)
        found: dict[Key, Row] = dict(self._known)
        for table, keys in unknown.items():
            found.update(_rows(connection, table, keys))
        changes = [
            Change(table, key, before, found.get((table, key)))
            for (table, key), before in self._before.items()
        ]
        return [change for change in changes if change.before != change.after]

    def note(
        self,
        connection: Connection,
        statement: Insert | Update | Delete,
        parameters: Sequence[Mapping[str, Any]],
    ) -> None:
        """Look at a statement that is about to run."""
        self.active = False
        self._expected = self._asked = None
        try:
            if isinstance(statement, Insert):
                self._note_insert(connection, statement, parameters)
            else:
                self._note_change(connection, statement, parameters)
        finally:
            self.active = True

    def noted(self, rows: int) -> None:
        """Look at how many rows the statement just noted changed. Raises: Conflict if others came in between."""
        expected, asked, self._expected, self._asked = self._expected, self._asked, None, None
        if expected is not None and expected != rows:
            raise Conflict(
                "Somebody changed the same in this very moment; try again.", code="changed_meanwhile"
            )
        if asked is not None and rows == 0:
            self._before.pop(asked, None)

    def note_text(self, words: str) -> None:
        """Look at a statement that is only text; a change in it cannot be followed."""
        first, _, rest = words.lstrip().partition(" ")
        if first.upper() in ("INSERT", "UPDATE", "DELETE") and not any(
            name in rest.split("(")[0].split() for name in _UNTOLD
        ):
            self.opaque.append(" ".join(words.split()[:3]).lower())

    def _note_insert(
        self, connection: Connection, statement: Insert, parameters: Sequence[Mapping[str, Any]]
    ) -> None:
        table = cast(Table, statement.table)
        inner = vars(statement)
        if table.name in _UNTOLD:
            return
        names = [column.key for column in table.primary_key.columns]
        if inner.get("_multi_values") or statement.select is not None or not _have(parameters, names):
            self.opaque.append(f"insert into {table.name}")
            return
        keys = [tuple(row[name] for name in names) for row in parameters]
        if inner.get("_post_values_clause") is not None:  # on conflict: what is there may stay or change
            there = _rows(connection, table, keys, lock=True)
            self._touch(table, keys, there)
            self._asked = (table, keys[0]) if len(keys) == 1 and not there else None
            return
        values: list[Any] = list(inner.get("_values") or ())
        plain = all((column if isinstance(column, str) else column.key) in parameters[0] for column in values)
        defaults = any(column.server_default is not None for column in table.columns)
        for key, row in zip(keys, parameters, strict=True):
            self._before.setdefault((table, key), None)
            self._known.pop((table, key), None)
            if plain and not defaults:
                self._known[table, key] = {column.key: row.get(column.key) for column in table.columns}

    def _note_change(
        self, connection: Connection, statement: Update | Delete, parameters: Sequence[Mapping[str, Any]]
    ) -> None:
        table = cast(Table, statement.table)
        if table.name in _UNTOLD:
            return
        if len(parameters) > 1:
            self.opaque.append(f"change of {table.name}")
            return
        query = select(table).with_for_update(of=table)  # nobody changes them between this look and the deed
        if statement.whereclause is not None:
            query = query.where(statement.whereclause)
        names = [column.key for column in table.primary_key.columns]
        there = {
            (table, tuple(row[name] for name in names)): row
            for row in (
                dict(found)
                for found in connection.execute(query, _given(statement, parameters[0])).mappings()
            )
        }
        self._touch(table, [key for _, key in there], there)
        self._expected = len(there)

    def _touch(self, table: Table, keys: Iterable[tuple[Any, ...]], there: Mapping[Key, Row]) -> None:
        for key in keys:
            self._before.setdefault((table, key), there.get((table, key)))
            self._known.pop((table, key), None)


def _given(statement: Update | Delete, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a statement's condition takes by name. Its literal values are in it, and their numbered
    names may mean others here."""
    if statement.whereclause is None:
        return {}
    named = {
        str(cast(BindParameter[Any], part).key)
        for part in visitors.iterate(statement.whereclause)
        if part.__visit_name__ == "bindparam" and not cast(BindParameter[Any], part).unique
    }
    return {name: parameters[name] for name in named if name in parameters}


def listen(engine: Engine) -> None:
    """Let transactions of this engine be recorded."""

    def before(
        connection: Connection, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        changes: Changes | None = connection.get_execution_options().get(OPTION)
        if changes is None or not changes.active:
            return
        # The statement of this execution: the compiled one is kept, with the values of whoever ran it first.
        statement = getattr(context, "invoked_statement", None)
        if not isinstance(statement, ClauseElement):
            statement = getattr(context.compiled, "statement", None)
        if isinstance(statement, Insert | Update | Delete):
            changes.note(connection, statement, context.compiled_parameters)
        elif not isinstance(statement, Select):
            changes.note_text(sql)

    def after(
        connection: Connection, cursor: Any, _sql: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        changes: Changes | None = connection.get_execution_options().get(OPTION)
        if changes is not None and changes.active:
            changes.noted(cursor.rowcount)

    event.listen(engine, "before_cursor_execute", before)
    if engine.dialect.name != "sqlite":  # there a writer is alone
        event.listen(engine, "after_cursor_execute", after)


@contextmanager
def unrecorded(connection: Connection) -> Generator[None, None, None]:
    """Leave out what happens inside: something that is tried and rolled back."""
    changes: Changes | None = connection.get_execution_options().get(OPTION)
    active = changes is not None and changes.active
    if changes is not None:
        changes.active = False
    try:
        yield
    finally:
        if changes is not None:
            changes.active = active


def restore(connection: Connection, metadata: MetaData, changes: Sequence[Mapping[str, Any]]) -> None:
    """Put rows back as they were before `changes` (as `to_dict` gave them), the last one first.

    What came later and says nothing against it stays: a mark (`Column(info={"mark": True})`: read, touched) that
    changed again, a row that is gone already. A table's `info={"undo": …}` tells what becomes of a row that moved on by
    itself since: `drop` = one that was added goes all the same, `keep` = it stays as it is (what has left the hub).
    Raises: Conflict if a row says something else since, if later rows hang on it, or if it held a secret that was not
    kept.
    """
    for change in reversed(changes):
        table = metadata.tables[change["table"]]
        key = {name: _decoded(value) for name, value in change["key"].items()}
        here = and_(true(), *(table.c[str(name)] == value for name, value in key.items()))
        row = connection.execute(select(table).where(here).with_for_update()).mappings().one_or_none()
        current = None if row is None else _encoded(table, dict(row), short=True)
        before, after = change["before"], change["after"]
        if current is None and (before is None or _marks_only(table, after)):
            continue  # what was made or marked is gone
        if not _still(table, after, current):
            moved_on = table.info.get("undo")
            if moved_on == "drop" and before is None:
                _delete(connection, table, here)
            if moved_on is not None:
                continue
            raise Conflict(
                f"A row of {table.name!r} was changed again since; undo the later change first.",
                code="changed_since",
                hint="List what was done with `hub audit list`.",
            )
        if before is None:
            if not _used(connection, metadata, table, key):
                _delete(connection, table, here)
            continue
        values = {
            name: _decoded(value)
            for name, value in before.items()
            if after is None or current is None or current[name] == after[name]
        }
        if _has_secret(table, values):
            raise Conflict(
                "It held a secret that was not kept, so it cannot be put back.", code="irreversible"
            )
        if after is None:
            connection.execute(insert_into(table).values(**values))
        elif values:
            connection.execute(update_of(table).where(here).values(**values))


def _marks_only(table: Table, after: Mapping[str, Any] | None) -> bool:
    return after is not None and all(table.c[name].info.get("mark") for name in after)


def _still(table: Table, after: Mapping[str, Any] | None, current: Mapping[str, Any] | None) -> bool:
    """True if the row says what the change made it say, marks aside."""
    if after is None or current is None:
        return after is None and current is None
    return all(current[name] == value for name, value in after.items() if not table.c[name].info.get("mark"))


def _delete(connection: Connection, table: Table, here: ColumnElement[bool]) -> None:
    try:
        connection.execute(delete_from(table).where(here))
    except IntegrityError as error:
        raise Conflict(
            f"Something that came later hangs on a row of {table.name!r}; take that back first.",
            code="changed_since",
            hint="List what was done with `hub audit list`.",
        ) from error


def _rows(
    connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]], *, lock: bool = False
) -> dict[Key, Row]:
    """The rows with these keys that exist; `lock` keeps others from changing them."""
    columns = list(table.primary_key.columns)
    found: dict[Key, Row] = {}
    for start in range(0, len(keys), 200):
        some = keys[start : start + 200]
        if len(columns) == 1:
            where = columns[0].in_([key[0] for key in some])
        else:
            where = or_(*(and_(*(c == v for c, v in zip(columns, key, strict=True))) for key in some))
        query = select(table).where(where)
        for row in connection.execute(query.with_for_update() if lock else query).mappings():
            found[table, tuple(row[column.key] for column in columns)] = dict(row)
    return found


def _have(parameters: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    return bool(parameters) and all(name in row for row in parameters for name in names)


def _encoded(table: Table, row: Row, *, short: bool) -> dict[str, Any]:
    return {
        name: _digest(value)
        if value and table.c[name].info.get("secret")
        else (_shown if short else _whole)(value)
        for name, value in row.items()
    }


def _whole(value: Any) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _shown(value: Any) -> Any:
    if isinstance(value, bytes) or (isinstance(value, str) and len(value) > SHOWN_MAX):
        return _digest(value)
    return value


def _digest(value: Any) -> dict[str, Any]:
    data = value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and "b64" in value:
        return base64.b64decode(cast(dict[str, str], value)["b64"])
    return cast(Any, value)


def _used(connection: Connection, metadata: MetaData, table: Table, key: Mapping[Any, Any]) -> bool:
    """True if the row is shared and somebody else's row came to need it: `info={"used_by": (table, column)}`."""
    if "used_by" not in table.info:
        return False
    user, column = cast(tuple[str, str], table.info["used_by"])
    there = metadata.tables[user].c[column]
    return connection.execute(select(there).where(there == key[column]).limit(1)).first() is not None


def _has_secret(table: Table, values: Mapping[str, Any]) -> bool:
    return any(bool(table.c[name].info.get("secret")) and bool(value) for name, value in values.items())
