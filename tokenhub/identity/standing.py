"""Where a person stands, and the policies over them: what a decision rests on, read in one statement."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    union_all,
)

from tokenhub.db.prepared import Prepared
from tokenhub.identity.tables import department_members, departments, memberships, policies, users


@dataclass(frozen=True, slots=True)
class Standing:
    """What policies know of a person besides the key."""

    role: str
    teams: tuple[str, ...]
    departments: tuple[tuple[str, ...], ...]
    """Each department that they are in, then those above it."""


class Grounds(NamedTuple):
    """What a decision about a person rests on, besides the key and the grant."""

    version: int
    """Of the organisation's own policies; 0 = it has none and uses the default set."""
    text: str
    standing: Standing


def standing(connection: Connection, org_id: str, user_id: str) -> Standing:
    """Role, teams and departments of a user; all empty for one who is not there."""
    return _read(_STANDS, connection, org_id, user_id).standing


def grounds(connection: Connection, org_id: str, user_id: str) -> Grounds:
    """The organisation's newest policies and where a user stands; an empty `user_id` stands nowhere."""
    return _read(_GROUNDS, connection, org_id, user_id)


def _read(statement: Prepared, connection: Connection, org_id: str, user_id: str) -> Grounds:
    version, text = 0, ""
    found: dict[str, list[str]] = defaultdict(list)
    above: dict[str, str | None] = {}
    for which, one, other in statement.rows(connection, {"org_": org_id, "user_": user_id}):
        if which == "policies":
            version, text = int(other), one
        elif which == "above":
            above[one] = other
        else:
            found[which].append(one)
    paths = tuple(_upwards(above, one) for one in sorted(found["department"]))
    return Grounds(version, text, Standing("".join(found["role"]), tuple(sorted(found["team"])), paths))


def _upwards(above: dict[str, str | None], department_id: str) -> tuple[str, ...]:
    path: list[str] = []
    here: str | None = department_id
    while here is not None and here not in path:
        path.append(here)
        here = above.get(here)
    return tuple(path)


def _stands() -> Iterable[Select[Any, Any, Any]]:
    """What a user is and is in: (which, its id or role, the department above it)."""
    user: BindParameter[str] = bindparam("user_")
    nothing = literal_column("NULL", String)
    mine = department_members.c.user_id == user
    start = select(departments.c.id, departments.c.parent_id).join(
        department_members, department_members.c.department_id == departments.c.id
    )
    upwards = start.where(mine).cte("upwards", recursive=True)
    upwards = upwards.union(
        select(departments.c.id, departments.c.parent_id).join(
            upwards, departments.c.id == upwards.c.parent_id
        )
    )
    return (
        select(_word("role"), users.c.role, nothing).where(
            users.c.id == user, users.c.org_id == bindparam("org_")
        ),
        select(_word("team"), memberships.c.team_id, nothing).where(memberships.c.user_id == user),
        select(_word("department"), department_members.c.department_id, nothing).where(mine),
        select(_word("above"), upwards.c.id, upwards.c.parent_id),
    )


def _newest() -> Select[Any, Any, Any]:
    """The organisation's policies in force: (which, text, version)."""
    org: BindParameter[str] = bindparam("org_")
    last = select(func.max(policies.c.version)).where(policies.c.org_id == org).scalar_subquery()
    version = cast(policies.c.version, String)
    return select(_word("policies"), policies.c.text, version).where(
        policies.c.org_id == org, policies.c.version == last
    )


def _word(which: str) -> Any:
    return literal_column(f"'{which}'", String)


_STANDS = Prepared(union_all(*_stands()))
_GROUNDS = Prepared(union_all(*_stands(), _newest()))
