"""From what a caller calls a thing to its one id, so that a policy on an id cannot be passed by a name.

A package that owns a kind of thing registers how it is found:

    @resolver("task")
    def _task(connection: Connection, principal: Principal, named: str) -> Found | None: ...
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection

from tokenhub.identity import departments, directory
from tokenhub.identity.directory import Project, ServiceAccount, Team, User
from tokenhub.identity.key_listing import find_entry
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import NotFound


class Found(NamedTuple):
    """A thing as policies see it."""

    id: str
    owner: str = ""
    """The user whose it is; empty if it is nobody's."""
    name: str = ""


Resolver = Callable[[Connection, Principal, str], Found | None]
_RESOLVERS: dict[str, Resolver] = {}


def resolver(kind: str) -> Callable[[Resolver], Resolver]:
    """Register how things of this kind are found among those of the caller's organisation."""

    def register(find: Resolver) -> Resolver:
        _RESOLVERS[kind] = find
        return find

    return register


def resolve(connection: Connection, principal: Principal, kind: str, named: str) -> Found:
    """The thing; one that cannot be found is called as it was written (the verb will then say 404)."""
    find = _RESOLVERS.get(kind)
    if find is None:
        return Found(named)
    try:
        return find(connection, principal, named) or Found(named)
    except NotFound:
        return Found(named)


def resolvable(kind: str) -> bool:
    """True if things of this kind can be found by name or id."""
    return kind in _RESOLVERS


def sees(connection: Connection, principal: Principal, kind: str, id: str) -> bool:
    """True if the thing of this id is one that the caller sees, or its kind has no resolver."""
    find = _RESOLVERS.get(kind)
    try:
        return find is None or find(connection, principal, id) is not None
    except NotFound:
        return False


@resolver("user")
def _user(connection: Connection, principal: Principal, named: str) -> Found:
    user = directory.find(connection, User, principal.org_id, named)
    return Found(user.id, user.id, user.name)


@resolver("team")
def _team(connection: Connection, principal: Principal, named: str) -> Found:
    team = directory.find(connection, Team, principal.org_id, named)
    return Found(team.id, name=team.name)


@resolver("project")
def _project(connection: Connection, principal: Principal, named: str) -> Found:
    project = directory.find(connection, Project, principal.org_id, named)
    return Found(project.id, name=project.name)


@resolver("service-account")
def _service_account(connection: Connection, principal: Principal, named: str) -> Found:
    account = directory.find(connection, ServiceAccount, principal.org_id, named)
    return Found(account.id, name=account.name)


@resolver("department")
def _department(connection: Connection, principal: Principal, named: str) -> Found:
    department = departments.find(connection, principal.org_id, named)
    return Found(department.id, department.lead_id or "", department.name)


@resolver("key")
def _key(connection: Connection, principal: Principal, named: str) -> Found:
    entry = find_entry(connection, principal.org_id, named, at_ms=0, visible_to=principal)
    return Found(entry.id, entry.user_id or "", entry.name)
