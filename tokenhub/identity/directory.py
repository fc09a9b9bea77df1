"""People and groups of an organisation: statements and the rows they give.

Every function takes the organisation that asks; what belongs to another one does not exist for it. A thing is
named by its id or by its name, which is unique in the organisation.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from tokenhub.db import revision
from tokenhub.db.prepared import Prepared
from tokenhub.db.upsert import insert_for
from tokenhub.identity.errors import (
    ProjectNotFound,
    ServiceAccountNotFound,
    TeamNotFound,
    UserNotFound,
)
from tokenhub.identity.scopes import ROLES
from tokenhub.identity.tables import (
    memberships,
    organizations,
    projects,
    service_accounts,
    teams,
    users,
)
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound
from tokenhub.kernel.ids import new_id


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant of the hub."""

    id: str
    name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Team:
    """A group of users that shares limits."""

    id: str
    name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Project:
    """A piece of work that keys count on; belongs to a team or to the organisation."""

    id: str
    name: str
    team_id: str | None
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class User:
    """A person. `team_id` is the team on whose limits the person's own keys count."""

    id: str
    name: str
    email: str | None
    role: str
    team_id: str | None
    created_at_ms: int
    disabled_at_ms: int | None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A program that has keys of its own."""

    id: str
    name: str
    role: str
    team_id: str | None
    project_id: str | None
    created_at_ms: int
    disabled_at_ms: int | None


NAMED_MAX = 40
"""Most people that one text can name."""

T = TypeVar("T", Team, Project, User, ServiceAccount)
_TABLES: Mapping[type[Any], tuple[Table, str, type[NotFound]]] = {
    Team: (teams, "team", TeamNotFound),
    Project: (projects, "project", ProjectNotFound),
    User: (users, "user", UserNotFound),
    ServiceAccount: (service_accounts, "service account", ServiceAccountNotFound),
}


# Built once: what a statement costs here is mostly its making.
_TAKEN: Mapping[type[Any], Prepared] = {
    kind: Prepared(
        select(table.c.id).where(table.c.org_id == bindparam("org"), table.c.name == bindparam("wanted"))
    )
    for kind, (table, _, _) in _TABLES.items()
}
_NAMES = select(users.c.id, users.c.name).where(
    users.c.org_id == bindparam("org"), users.c.id.in_(bindparam("ids", expanding=True))
)
_INSERT: Mapping[type[Any], Any] = {kind: insert(table) for kind, (table, _, _) in _TABLES.items()}


def organization(connection: Connection, org_id: str) -> Organization | None:
    """The organisation, or None."""
    row = connection.execute(select(organizations).where(organizations.c.id == org_id)).one_or_none()
    return None if row is None else Organization(row.id, row.name, row.created_at_ms)


def find(connection: Connection, kind: type[T], org_id: str, named: str, *, param: str = "") -> T:
    """The team, project, user or service account with this id or name. Raises: NotFound."""
    table, word, missing = _TABLES[kind]
    query = select(table).where(table.c.org_id == org_id, or_(table.c.id == named, table.c.name == named))
    rows = connection.execute(query.order_by(table.c.id == named)).all()
    if not rows:
        noun = word.replace(" ", "-")
        hint = f"List them with `hub {noun} list`."
        raise missing(f"No {word} {named!r}.", param=param or noun, hint=hint)
    return _typed(kind, rows[-1])


def listing(connection: Connection, kind: type[T], org_id: str, *, after: str | None, limit: int) -> list[T]:
    """At most `limit + 1` of them, newest first, those before the id `after`."""
    table, _, _ = _TABLES[kind]
    query = select(table).where(table.c.org_id == org_id).order_by(table.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(table.c.id < after)
    return [_typed(kind, row) for row in connection.execute(query)]


def create_team(connection: Connection, org_id: str, *, name: str, at_ms: int) -> Team:
    """A new team. Raises: Conflict if the name is taken."""
    return _create(connection, Team, org_id, {"name": name, "created_at_ms": at_ms})


def create_project(
    connection: Connection, org_id: str, *, name: str, team_id: str | None, at_ms: int
) -> Project:
    """A new project. Raises: Conflict if the name is taken."""
    return _create(connection, Project, org_id, {"name": name, "team_id": team_id, "created_at_ms": at_ms})


def create_user(
    connection: Connection, org_id: str, *, name: str, email: str | None, role: str, at_ms: int
) -> User:
    """A new user. Raises: Conflict if the name is taken, InvalidRequest for no such role."""
    values = {"name": name, "email": email, "role": check_role(role), "created_at_ms": at_ms}
    return _create(connection, User, org_id, values)


def create_service_account(
    connection: Connection,
    org_id: str,
    *,
    name: str,
    role: str,
    team_id: str | None,
    project_id: str | None,
    at_ms: int,
) -> ServiceAccount:
    """A new service account. Raises: Conflict if the name is taken, InvalidRequest for no such role."""
    values = {
        "name": name,
        "role": check_role(role),
        "team_id": team_id,
        "project_id": project_id,
        "created_at_ms": at_ms,
    }
    return _create(connection, ServiceAccount, org_id, values)


def disable_user(connection: Connection, org_id: str, user: User, *, at_ms: int) -> User:
    """End a user's keys and sessions by disabling the user. Raises: Conflict for the last owner."""
    if user.disabled_at_ms is not None:
        return user
    if user.role == "owner":
        owners = select(func.count()).where(
            users.c.org_id == org_id, users.c.role == "owner", users.c.disabled_at_ms.is_(None)
        )
        if connection.execute(owners).scalar_one() == 1:
            raise Conflict("The last owner cannot be disabled; make another owner first.", param="user")
    connection.execute(update(users).where(users.c.id == user.id).values(disabled_at_ms=at_ms))
    revision.bump(connection)
    return find(connection, User, org_id, user.id)


def add_member(connection: Connection, team: Team, user: User, *, at_ms: int) -> bool:
    """Put a user in a team; True if new there. The first team is the one the user's keys count on."""
    added = connection.execute(
        insert_for(connection, memberships)
        .values(team_id=team.id, user_id=user.id, created_at_ms=at_ms)
        .on_conflict_do_nothing()
        .returning(memberships.c.user_id)
    ).first()
    first = (users.c.id == user.id) & users.c.team_id.is_(None)
    connection.execute(update(users).where(first).values(team_id=team.id))
    revision.bump(connection)
    return added is not None


def remove_member(connection: Connection, team: Team, user: User) -> bool:
    """Take a user out of a team; True if there before. Keys then count on the oldest team left."""
    gone = connection.execute(
        delete(memberships).where(memberships.c.team_id == team.id, memberships.c.user_id == user.id)
    )
    left = (
        select(memberships.c.team_id)
        .where(memberships.c.user_id == user.id)
        .order_by(memberships.c.created_at_ms, memberships.c.team_id)
        .limit(1)
        .scalar_subquery()
    )
    here = (users.c.id == user.id) & (users.c.team_id == team.id)
    connection.execute(update(users).where(here).values(team_id=left))
    revision.bump(connection)
    return bool(gone.rowcount)


def member_names(connection: Connection, team_ids: Sequence[str]) -> dict[str, list[str]]:
    """Names of the members of each of these teams."""
    found: dict[str, list[str]] = {team_id: [] for team_id in team_ids}
    rows = connection.execute(
        select(memberships.c.team_id, users.c.name)
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.team_id.in_(team_ids))
        .order_by(users.c.name)
    )
    for row in rows:
        found[row.team_id].append(row.name)
    return found


def user_names(connection: Connection, org_id: str, user_ids: Collection[str]) -> dict[str, str]:
    """Names of these users, of those that are in the organisation."""
    if not user_ids:
        return {}
    rows = connection.execute(_NAMES, {"org": org_id, "ids": list(user_ids)})
    return {row.id: row.name for row in rows}


def project_names(connection: Connection, org_id: str, project_ids: Collection[str]) -> dict[str, str]:
    """Names of these projects, of those that are in the organisation."""
    if not project_ids:
        return {}
    query = select(projects.c.id, projects.c.name).where(
        projects.c.org_id == org_id, projects.c.id.in_(project_ids)
    )
    return {row.id: row.name for row in connection.execute(query)}


def named_in(connection: Connection, org_id: str, names: Collection[str]) -> dict[str, str]:
    """Name -> id of the enabled users who are called so."""
    rows = connection.execute(
        select(users.c.id, users.c.name).where(
            users.c.org_id == org_id, users.c.name.in_(names), users.c.disabled_at_ms.is_(None)
        )
    )
    return {row.name: row.id for row in rows}


def people_named_in(connection: Connection, org_id: str, text: str) -> list[str]:
    """Names of the enabled users whom a text names as whole words, in full or by the first word of the name.

    In the order in which the text names them; at most `NAMED_MAX`.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", text)))[:NAMED_MAX]
    in_full = literal(text).icontains(users.c.name)
    by_first = [users.c.name.istartswith(f"{word} ", autoescape=True) for word in words]
    query = select(users.c.name).where(
        users.c.org_id == org_id, users.c.disabled_at_ms.is_(None), or_(in_full, *by_first)
    )
    found: list[tuple[int, str]] = []
    for name in connection.execute(query.limit(20 * NAMED_MAX)).scalars():
        place = min((at for part in (name, name.split()[0]) if (at := _place(part, text)) >= 0), default=-1)
        if place >= 0:
            found.append((place, name))
    return [name for _, name in sorted(found)[:NAMED_MAX]]


def _place(name: str, text: str) -> int:
    """Where a text has this name as whole words; -1 if nowhere. Scripts without spaces have no word ends."""
    spaced = name.isascii() or name[0] < "\u2e80"
    pattern = rf"(?<!\w){re.escape(name)}(?![^\W_])" if spaced else re.escape(name)
    match = re.search(pattern, text, re.IGNORECASE)
    return -1 if match is None else match.start()


def of_role(connection: Connection, org_id: str, role: str) -> list[str]:
    """Ids of the enabled users of this role, the oldest first."""
    query = select(users.c.id).where(
        users.c.org_id == org_id, users.c.role == role, users.c.disabled_at_ms.is_(None)
    )
    return list(connection.execute(query.order_by(users.c.id)).scalars())


def open_projects(org_id: str | BindParameter[str], user_id: str | BindParameter[str]) -> Select[tuple[str]]:
    """Ids of the projects whose work this user (empty = no person) sees: those of no team, and of their teams."""
    mine = select(memberships.c.team_id).where(memberships.c.user_id == user_id)
    return select(projects.c.id).where(
        projects.c.org_id == org_id, or_(projects.c.team_id.is_(None), projects.c.team_id.in_(mine))
    )


def actor_name(connection: Connection, principal: Principal) -> str:
    """Name of the user or service account behind a principal; empty for a key of neither."""
    for table, id in ((users, principal.user_id), (service_accounts, principal.service_account_id)):
        if id is not None:
            return connection.execute(select(table.c.name).where(table.c.id == id)).scalar() or ""
    return ""


def check_role(role: str) -> str:
    """The role itself. Raises: InvalidRequest."""
    if role not in ROLES:
        raise InvalidRequest(f"No role {role!r}; choose one of {', '.join(ROLES)}.", param="role")
    return role


def _create(connection: Connection, kind: type[T], org_id: str, values: Mapping[str, Any]) -> T:
    _, word, _ = _TABLES[kind]
    if _TAKEN[kind].rows(connection, {"org": org_id, "wanted": values["name"]}):
        raise Conflict(
            f"There is a {word} named {values['name']!r} already.", param="name", code="name_taken"
        )
    new = new_id({"service account": "svc", "project": "proj"}.get(word, word))
    connection.execute(_INSERT[kind], {"id": new, "org_id": org_id, **values})
    made: dict[str, Any] = {name: new if name == "id" else values.get(name) for name in kind.__slots__}
    return kind(**made)


def _typed(kind: type[T], row: Row[Any]) -> T:
    fields = row._mapping  # pyright: ignore[reportPrivateUsage]  (SQLAlchemy's public name)
    return kind(**{name: fields[name] for name in kind.__slots__})
