"""From what a caller calls a thing to its one id, so that a policy on an id cannot be passed by a name.

A package that owns a kind of thing registers how it is found:

    @resolver("task")
    def _task(connection: Connection, principal: Principal, named: str) -> Found | None: ...

Policies see the id that was found, never the words of the caller; what is not found has no id, and a command that did
something to it nevertheless is rolled back by the door.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import Connection

from tokenhub.db.engine import Name
from tokenhub.identity import departments, directory, grants
from tokenhub.identity.directory import Project, ServiceAccount, Team, User
from tokenhub.identity.key_listing import find_entry
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, NotFound

if TYPE_CHECKING:
    from tokenhub.commands.declare import Command


class Found(NamedTuple):
    """A thing as policies see it."""

    id: str
    owner: str = ""
    """The user whose it is; empty if it is nobody's."""
    name: str = ""
    known: bool = True
    """False: nothing that the caller sees is called so, and `id` is what they wrote."""


NOTHING = Found("")
"""A command that acts on no single thing, but on the organisation."""


class Books(Protocol):
    """Both databases, as a running command reads them."""

    @property
    def hub(self) -> Connection: ...
    @property
    def ledger(self) -> Connection: ...


Resolver = Callable[[Connection, Principal, str], Found | None]
ActsOn = Callable[[Books, Principal, Mapping[str, Any]], Found]
"""From the arguments of a command to its thing, where several of them can name it. Raises: NotFound."""
_RESOLVERS: dict[str, tuple[Name, Resolver]] = {}


def resolver(kind: str, *, books: Name = "hub") -> Callable[[Resolver], Resolver]:
    """Register how things of this kind are found among those of the caller's organisation."""

    def register(find: Resolver) -> Resolver:
        _RESOLVERS[kind] = (books, find)
        return find

    return register


def kinds() -> set[str]:
    """Every kind that can be resolved."""
    return set(_RESOLVERS)


def resolvable(kind: str) -> bool:
    """True if things of this kind can be found by name or id among the hub's objects."""
    return kind in _RESOLVERS and _RESOLVERS[kind][0] == "hub"


def resolve(connection: Connection, principal: Principal, kind: str, named: str) -> Found:
    """One of the hub's things by its kind; one that cannot be found is called as it was written."""
    try:
        found = _RESOLVERS[kind][1](connection, principal, named) if resolvable(kind) else None
    except (Conflict, NotFound):
        found = None
    return found or Found(named, known=False)


def thing_of(books: Books, principal: Principal, command: "Command", arguments: Mapping[str, Any]) -> Found:
    """What a call acts on, by its id; `arguments` as JSON values."""
    named = str(arguments.get(command.resource_argument) or "")
    try:
        if command.acts_on is not None:
            return command.acts_on(books, principal, arguments)
        if not command.resource or not named:
            return NOTHING
        source, find = _RESOLVERS[command.resource]
        found = find(books.hub if source == "hub" else books.ledger, principal, named)
    except (Conflict, NotFound):
        found = None
    return found or Found(named, known=False)


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


@resolver("agent")
def _agent(connection: Connection, principal: Principal, named: str) -> Found:
    if named.startswith("run_"):  # where an agent is stopped, a run of it can be named
        run = grants.find_grant(connection, principal, named)
        return Found(run.id, run.user_id)
    agent = grants.find_agent(connection, principal, named)
    return Found(agent.id, agent.user_id, agent.name)


@resolver("grant")
def _grant(connection: Connection, principal: Principal, named: str) -> Found:
    grant = grants.find_grant(connection, principal, named)
    return Found(grant.id, grant.user_id)
