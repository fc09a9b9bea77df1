"""An independent model of who may do what and who sees what: plain Python, nothing of the door, of Cedar or of SQL.

It is told facts (people, groups, things, grants, policies as data) and answers; `fuzz.py` compares.
"""

from dataclasses import dataclass, field

ROLE_SCOPES = {
    "owner": {"*"},
    "admin": {"admin", "inference", "read", "usage:read", "keys:write", "work"},
    "member": {"inference", "read", "usage:read", "keys:write", "work"},
    "viewer": {"read", "usage:read"},
}
ADMIN_COVERS = {"read", "usage:read", "keys:write"}
NEVER_BY_AGENTS = {
    "gate.approve",
    "gate.deny",
    "gate.answer",
    "agent.approve",
    "agent.deny",
    "agent.undo",
    "policy.apply",
    "agent.create",
    "agent.resume",
    "key.create",
    "key.rotate",
    "login-link.create",
    "grant.revoke",
    "mcp.add",
    "mcp.allow",
    "mcp.forbid",
    "skill.allow",
    "skill.deny",
}


@dataclass
class Person:
    id: str
    name: str
    org: str
    role: str
    teams: set[str] = field(default_factory=set)
    departments: set[str] = field(default_factory=set)
    """With those above."""


@dataclass
class Lent:
    id: str
    agent: str
    patterns: list[str]
    effects: set[str]
    resources: set[str] | None
    ended: bool
    stopped: bool
    tainted: bool
    vouched: set[str]
    above: "Lent | None" = None

    def chain(self) -> "list[Lent]":
        return [self] if self.above is None else [self, *self.above.chain()]


@dataclass
class Rule:
    """A policy as data: None = whatever."""

    permit: bool
    role: str | None = None
    department: str | None = None
    action: str | None = None
    """A command, a noun or an effect."""
    resource: str | None = None
    agents_only: bool = False
    unless_confirmed: bool = False


@dataclass
class Thing:
    id: str
    name: str
    kind: str
    org: str
    owner: str = ""
    seen_by: set[str] = field(default_factory=set)
    """Ids of the people who see it; of kinds that everyone in the organisation sees, all of them."""


@dataclass
class Aim:
    """One value of a sink."""

    kind: str
    names: set[str]
    """What was written, and the id and the name of what it is."""
    exists: bool


def decides(
    person: Person,
    scopes: set[str],
    lent: Lent | None,
    command: tuple[str, str, str],
    thing_id: str,
    declares_sinks: bool,
    sinks: list[Aim],
    rules: list[Rule],
) -> str:
    """`allow`, `ask`, `deny`, `stopped` or `ended`.

    `command` = (name, effect, permission); `thing_id` = id or what was written; `sinks` = what was given for its sinks.
    """
    if lent is not None and any(one.stopped for one in lent.chain()):
        return "stopped"
    if lent is not None and any(one.ended for one in lent.chain()):
        return "ended"
    for confirmed in (False, True):
        if all(
            _allowed(person, scopes, who, command, thing_id, declares_sinks, sinks, rules, confirmed)
            for who in {id(one): one for one in (lent, None)}.values()
        ):
            return "ask" if confirmed else "allow"
    return "deny"


def _allowed(
    person: Person,
    scopes: set[str],
    lent: Lent | None,
    command: tuple[str, str, str],
    thing_id: str,
    declares_sinks: bool,
    sinks: list[Aim],
    rules: list[Rule],
    confirmed: bool,
) -> bool:
    name, effect, permission = command
    if not _scoped(scopes, permission):
        return False
    if lent is not None:
        if name in NEVER_BY_AGENTS:
            return False
        for one in lent.chain():
            fits = any(_matches(pattern, name) for pattern in one.patterns) and effect in one.effects
            if not fits or (one.resources is not None and thing_id not in one.resources):
                return False
        if any(one.tainted for one in lent.chain()) and not confirmed:
            if effect == "irreversible":
                return False
            if effect == "write":
                if not sinks and not declares_sinks:
                    return False
                if not all(_given(aim, lent.vouched) for aim in sinks):
                    return False
    permits = [
        rule
        for rule in rules
        if rule.permit and _applies(rule, person, lent, name, effect, thing_id, confirmed)
    ]
    forbids = [
        rule
        for rule in rules
        if not rule.permit and _applies(rule, person, lent, name, effect, thing_id, confirmed)
    ]
    return bool(permits) and not forbids


def _given(aim: Aim, vouched: set[str]) -> bool:
    """An entry `kind:name` counts for its kind; an id for itself; a bare name only where nothing is called so."""
    for entry in vouched:
        kind, typed, name = entry.partition(":")
        if typed and kind == aim.kind and name in aim.names:
            return True
        if not typed and entry in aim.names and ("_" in entry or not aim.exists):
            return True
    return False


def _scoped(scopes: set[str], permission: str) -> bool:
    return (
        not permission
        or "*" in scopes
        or permission in scopes
        or ("admin" in scopes and permission in ADMIN_COVERS)
    )


def _matches(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _applies(
    rule: Rule, person: Person, lent: Lent | None, name: str, effect: str, thing_id: str, confirmed: bool
) -> bool:
    return (
        (rule.role is None or person.role == rule.role)
        and (rule.department is None or rule.department in person.departments)
        and (rule.action is None or rule.action in (name, effect, name.split(".")[0]))
        and (rule.resource is None or rule.resource == thing_id)
        and (not rule.agents_only or lent is not None)
        and (not rule.unless_confirmed or not confirmed)
    )


def cedar(rule: Rule, place: int, kind_of: dict[str, str]) -> str:
    """The rule as a Cedar policy."""
    head = ["principal", "action", "resource"]
    if rule.role:
        head[0] = f'principal in Role::"{rule.role}"'
    elif rule.department:
        head[0] = f'principal in Department::"{rule.department}"'
    if rule.action:
        head[1] = f'action in Action::"{rule.action}"'
    if rule.resource:
        head[2] = f'resource == {kind_of[rule.resource]}::"{rule.resource}"'
    when = []
    if rule.role and rule.department:
        when.append(f'principal in Department::"{rule.department}"')
    if rule.agents_only:
        when.append("context.agent")
    if rule.unless_confirmed:
        when.append("!context.confirmed")
    tail = f" when {{ {' && '.join(when)} }}" if when else ""
    return f'@id("r{place}") {"permit" if rule.permit else "forbid"} ({", ".join(head)}){tail};'
