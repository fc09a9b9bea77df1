"""Departments: a tree of groups that people belong to, for the workspace and for policies."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from tokenhub.db import revision
from tokenhub.db.upsert import insert_for
from tokenhub.identity.directory import User
from tokenhub.identity.tables import department_members, departments, users
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id


class DepartmentNotFound(NotFound):
    """No department of this id or name in the caller's organisation."""

    code = "department_not_found"


@dataclass(frozen=True, slots=True)
class Department:
    """A part of an organisation."""

    id: str
    name: str
    parent_id: str | None
    lead_id: str | None
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a department."""

    user_id: str
    name: str
    title: str


def create(
    connection: Connection, org_id: str, *, name: str, parent_id: str | None, lead_id: str | None, at_ms: int
) -> Department:
    """A new department. Raises: Conflict if the name is taken."""
    _free(connection, org_id, name)
    new = new_id("dept")
    values = {"name": name, "parent_id": parent_id, "lead_id": lead_id, "created_at_ms": at_ms}
    connection.execute(insert(departments).values(id=new, org_id=org_id, **values))
    revision.bump_authority(connection)
    return find(connection, org_id, new)


def find(connection: Connection, org_id: str, named: str, *, param: str = "department") -> Department:
    """By id or name. Raises: DepartmentNotFound."""
    query = select(departments).where(
        departments.c.org_id == org_id, or_(departments.c.id == named, departments.c.name == named)
    )
    rows = connection.execute(query.order_by(departments.c.id == named)).all()
    if not rows:
        hint = "List them with `hub department list`."
        raise DepartmentNotFound(f"No department {named!r}.", param=param, hint=hint)
    return _department(rows[-1])


def listing(connection: Connection, org_id: str, *, after: str | None, limit: int) -> list[Department]:
    """At most `limit + 1`, newest first."""
    query = select(departments).where(departments.c.org_id == org_id)
    if after is not None:
        query = query.where(departments.c.id < after)
    query = query.order_by(departments.c.id.desc()).limit(limit + 1)
    return [_department(row) for row in connection.execute(query)]


def change(connection: Connection, org_id: str, department: Department, **values: Any) -> Department:
    """Rename, move or give a lead. Raises: Conflict for a taken name or a circle."""
    if values.get("name", department.name) != department.name:
        _free(connection, org_id, values["name"])
    above = values.get("parent_id")
    while above is not None:
        if above == department.id:
            raise Conflict("A department cannot lie within itself.", code="department_circle", param="parent")
        above = find(connection, org_id, above).parent_id
    connection.execute(update(departments).where(departments.c.id == department.id).values(**values))
    revision.bump_authority(connection)
    return find(connection, org_id, department.id)


def remove(connection: Connection, department: Department) -> None:
    """Delete an empty department. Raises: Conflict if one lies below it or people are in it."""
    below = select(departments.c.id).where(departments.c.parent_id == department.id)
    if connection.execute(below).first() is not None or members(connection, department.id):
        raise Conflict(
            f"{department.name!r} is not empty; move its people and departments first.",
            code="department_not_empty",
            param="department",
        )
    connection.execute(delete(departments).where(departments.c.id == department.id))
    revision.bump_authority(connection)


def members(connection: Connection, department_id: str) -> list[Member]:
    """Who is in it, by name."""
    rows = connection.execute(
        select(department_members.c.user_id, users.c.name, department_members.c.title)
        .join(users, users.c.id == department_members.c.user_id)
        .where(department_members.c.department_id == department_id)
        .order_by(users.c.name)
    )
    return [Member(row.user_id, row.name, row.title) for row in rows]


def join(connection: Connection, department: Department, user: User, *, title: str, at_ms: int) -> None:
    """Put a person in; a second time changes the title."""
    values = {"department_id": department.id, "user_id": user.id, "title": title, "created_at_ms": at_ms}
    statement = insert_for(connection, department_members).values(values)
    keys = [department_members.c.department_id, department_members.c.user_id]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"title": title}))
    revision.bump_authority(connection)


def leave(connection: Connection, department: Department, user: User) -> bool:
    """Take a person out; True if they were in it."""
    gone = connection.execute(
        delete(department_members).where(
            department_members.c.department_id == department.id, department_members.c.user_id == user.id
        )
    )
    revision.bump_authority(connection)
    return bool(gone.rowcount)


def _free(connection: Connection, org_id: str, name: str) -> None:
    taken = select(departments.c.id).where(departments.c.org_id == org_id, departments.c.name == name)
    if connection.execute(taken).first() is not None:
        raise Conflict(f"There is a department named {name!r} already.", code="name_taken", param="name")


def _department(row: Row[Any]) -> Department:
    return Department(row.id, row.name, row.parent_id, row.lead_id, row.created_at_ms)
