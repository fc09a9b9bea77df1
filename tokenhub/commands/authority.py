"""Whether a command may run: the user's policies ∩ the agent's grant ∩ the run's scope − taint, decided by Cedar.

Policies, roles and groups are parsed once and kept while the revision counters stand still; the counters, grants and
stops are read in the transaction of the command itself, so a change counts before the next command. A decision is
allow, ask (a person's yes would make it an allow) or deny. A policy that fails to evaluate denies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from tokenhub.commands.cedar import Entities, PolicySet, entities_of, evaluate, policies_of
from tokenhub.commands.declare import Command
from tokenhub.commands.policy_set import DEFAULT, FLOOR, OUTSIDE
from tokenhub.commands.registry import Registry
from tokenhub.commands.resources import Found
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity.grants import Grant
from tokenhub.identity.keys import why_ended
from tokenhub.identity.standing import Standing, grounds, standing
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, Unauthenticated

_ANY_THING = re.compile(r",\s*resource\s*,?\s*\)")
"""The end of a head that takes every resource."""
_WHOLE_CONTEXT = r"\bcontext\b(?!\s*(?:\.|\[|has\b))"
"""The context without one of its names behind it."""
Verdict = Literal["allow", "ask", "deny"]
Json = dict[str, Any]
PRINCIPALS_MAX = 4096
MADE_MAX = 8192
ANSWERS_MAX = 8192
PARSED_MAX = 64
"""Texts that stay parsed; a counter that moves for another reason than a new text costs no parsing."""
TEXT_MAX = 512
"""Longer arguments are not shown to policies."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: may this principal run this command on this thing, now?"""

    command: Command
    principal: Principal
    arguments: Mapping[str, Any]
    """The arguments as JSON values."""
    resource: Found
    lent: Sequence[Grant] = ()
    """The chain of grants of an agent, the narrowest first; empty for a person."""
    vouched: bool = False
    """True if every sink is a value that the person gave."""
    confirmed: bool = False
    """True if a person said yes to exactly this."""
    dry_run: bool = False
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies said."""

    verdict: Verdict
    policies: tuple[str, ...]
    """Ids of those that decided; empty = none permits it."""
    version: int
    """Of the organisation's policies; 0 = the default set."""
    question: Json
    """What was asked, enough to ask it again (`View.replay`)."""

    def to_json(self) -> str:
        """For the audit row."""
        kept = {"verdict": self.verdict, "policies": list(self.policies), "version": self.version}
        return json.dumps({**kept, "question": self.question}, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Policies:
    """A parsed text."""

    version: int
    text: str
    handle: PolicySet

    @cached_property
    def sees_arguments(self) -> bool:
        """False if no policy of the text can name `context.args`, not even by an escape in a string."""
        return self._sees("args")

    @cached_property
    def blind(self) -> frozenset[str]:
        """The flags that no policy can name, those of the floor too: none of them can change an answer."""
        return frozenset(flag for flag in ("dry_run", "mine", "app") if not self._sees(flag))

    def _sees(self, word: str) -> bool:
        text = FLOOR + self.text
        return "\\" in text or re.search(rf"\b{word}\b|{_WHOLE_CONTEXT}", text) is not None

    @cached_property
    def sees_things(self) -> bool:
        """False if every policy, also those of the floor, takes any resource: then none tells one thing from another."""
        text = _ANY_THING.sub("", FLOOR + self.text)
        return "resource" in text or "\\" in text


@dataclass(slots=True)
class View:
    """Who may do what, at one state of the counters."""

    actions: Mapping[str, Json]
    """The entity of each command's action; a question is shown that of its own command alone."""
    made: dict[tuple[Any, ...], Entities] = field(default_factory=dict[tuple[Any, ...], Entities])
    """Parsed sets by what they describe: who stands as before needs no new one."""
    _policies: dict[str, Policies] = field(default_factory=dict[str, Policies])
    _standings: dict[tuple[str, str], Standing] = field(default_factory=dict[tuple[str, str], Standing])
    _answers: dict[tuple[Any, ...], tuple[Verdict, tuple[str, ...]]] = field(
        default_factory=dict[tuple[Any, ...], tuple[Verdict, tuple[str, ...]]]
    )

    _ended: dict[str, str | None] = field(default_factory=dict[str, str | None])

    def check_caller(self, connection: Connection, principal: Principal, *, at_ms: int) -> None:
        """Raises: Unauthenticated if the caller's key was revoked, or its owner disabled, since it was let in."""
        key_id = principal.key_id
        if key_id not in self._ended:
            if len(self._ended) >= PRINCIPALS_MAX:
                self._ended.clear()
            self._ended[key_id] = why_ended(connection, key_id, at_ms=at_ms)
        reason = self._ended[key_id]
        if reason is not None:
            raise Unauthenticated(f"{reason} Make a new key with `hub key create`.")

    def policies_of(self, connection: Connection, org_id: str, user_id: str = "") -> Policies:
        """The organisation's policies, or the default set; where the user stands is learnt on the same way."""
        found = self._policies.get(org_id)
        if found is None:
            read = grounds(connection, org_id, user_id)
            found = parse(read.text, read.version) if read.version else parse(DEFAULT, 0)
            self._policies[org_id] = found
            if user_id:
                self._keep_standing(org_id, user_id, read.standing)
        return found

    def decide(self, connection: Connection, ask: Ask, *, under: Policies | None = None) -> Decision:
        """Allow, ask or deny; `under` other policies than those in force, for a simulation."""
        found = under or self.policies_of(connection, ask.principal.org_id, ask.principal.user_id or "")
        flags = {
            "scoped": ask.principal.allows(ask.command.permission),
            "agent": ask.principal.grant_id is not None,
            "granted": bool(ask.lent)
            and all(
                grant.live(ask.at_ms) and grant.covers(ask.command.name, ask.command.effect, ask.resource.id)
                for grant in ask.lent
            ),
            "tainted": any(grant.tainted_at_ms is not None for grant in ask.lent),
            "vouched": ask.vouched,
            "confirmed": ask.confirmed,
            "dry_run": ask.dry_run,
            "mine": bool(ask.resource.owner) and ask.resource.owner == ask.principal.user_id,
            "app": ask.principal.app,
        }
        question: Json = {
            **({"outside": ask.command.effect} if ask.command.outside else {}),
            "principal": principal_uid(ask.principal, ask.lent),
            "user": ask.principal.user_id or "",
            "resource": resource_uid(ask.command, ask.resource, ask.principal.org_id),
            "flags": flags,
        }
        return self.judge(
            connection, ask.principal.org_id, ask.command.name, question, ask.arguments, under=found
        )

    def judge(
        self,
        connection: Connection,
        org_id: str,
        command: str,
        question: Json,
        arguments: Mapping[str, Any],
        *,
        under: Policies,
    ) -> Decision:
        """Put a question (again): roles and groups are today's, everything else is as it was.

        Of an agent it is asked twice: it may what it may and its person may too.
        """
        # No policy sees the arguments of `policy.apply`: whoever passed the check against a lockout passes again.
        hidden = command == "policy.apply" or not under.sees_arguments
        shown = {} if hidden else plain(arguments)
        verdict, reasons = self._ask(connection, org_id, command, question, shown, under)
        if question["principal"][0] == "Agent" and verdict != "deny" and question["user"]:
            flags = {**question["flags"], "agent": False, "granted": False, "tainted": False, "app": ""}
            alone = {**question, "principal": ("User", question["user"]), "flags": flags}
            of_person, why = self._ask(connection, org_id, command, alone, shown, under)
            if of_person != "allow" and (of_person == "deny" or verdict == "allow"):
                verdict, reasons = of_person, why
        return Decision(verdict, reasons, under.version, question)

    def _ask(
        self,
        connection: Connection,
        org_id: str,
        command: str,
        question: Json,
        shown: Json,
        under: Policies,
    ) -> tuple[Verdict, tuple[str, ...]]:
        """Put it to Cedar, once for as long as the counters stand still: the answer hangs on nothing else."""
        kept = not shown and "outside" not in question and under is self._policies.get(org_id)
        thing = question["resource"] if under.sees_things else ()
        context = {flag: value for flag, value in question["flags"].items() if flag not in under.blind}
        key = (org_id, command, *question["principal"], question["user"], *thing, *context.values())
        answer = self._answers.get(key) if kept else None
        if answer is None:
            if under.sees_arguments:
                context["args"] = shown
            answer = self._evaluate(connection, org_id, command, question, context, under)
            if kept:
                if len(self._answers) >= ANSWERS_MAX:
                    self._answers.clear()
                self._answers[key] = answer
        return answer

    def _evaluate(
        self,
        connection: Connection,
        org_id: str,
        command: str,
        question: Json,
        context: Json,
        under: Policies,
    ) -> tuple[Verdict, tuple[str, ...]]:
        kind, id = question["principal"]
        entities = self._entities(connection, org_id, command, question)
        request = {
            "principal": {"type": kind, "id": id},
            "action": {"type": "Action", "id": command},
            "resource": {"type": question["resource"][0], "id": question["resource"][1]},
            "context": context,
        }
        allowed, reasons = evaluate(request, under.handle, entities)
        if allowed or question["flags"]["confirmed"]:
            return "allow" if allowed else "deny", reasons
        after_yes = {**request, "context": {**context, "confirmed": True}}
        return "ask" if evaluate(after_yes, under.handle, entities)[0] else "deny", reasons

    def _entities(self, connection: Connection, org_id: str, command: str, question: Json) -> Entities:
        """The principal, all that it is in, and the action."""
        kind, id = question["principal"]
        user_id, outside = question["user"], question.get("outside", "")
        known = self._standing(connection, org_id, user_id) if user_id else None
        key = (org_id, kind, id, user_id, known, command, outside)
        found = self.made.get(key)
        if found is None:
            if len(self.made) >= MADE_MAX:
                self.made.clear()
            action = _outside_entity(command, outside) if outside else self.actions.get(command)
            described = _describe(org_id, kind, id, user_id, known)
            found = self.made[key] = entities_of([*described, *([action] if action else [])])
        return found

    def _standing(self, connection: Connection, org_id: str, user_id: str) -> Standing:
        found = self._standings.get((org_id, user_id))
        if found is None:
            found = standing(connection, org_id, user_id)
            self._keep_standing(org_id, user_id, found)
        return found

    def _keep_standing(self, org_id: str, user_id: str, known: Standing) -> None:
        if len(self._standings) >= PRINCIPALS_MAX:
            self._standings.clear()
        self._standings[org_id, user_id] = known


class Authority:
    """The newest view of one database; one per process and registry."""

    def __init__(self, registry: Registry) -> None:
        self._actions = {command.name: _action_entity(command) for command in registry}
        self._seen: tuple[tuple[tuple[str, int], ...], View] = ((), View(self._actions))

    def view(self, connection: Connection) -> View:
        """The view at the state that this transaction sees."""
        counters = revision.counters(connection)
        seen, view = self._seen
        if seen != counters:
            view = View(self._actions, view.made)
            self._seen = (counters, view)
        return view


_AUTHORITIES: WeakKeyDictionary[Database, WeakKeyDictionary[Registry, Authority]] = WeakKeyDictionary()


def authority_of(database: Database, registry: Registry) -> Authority:
    """The authority of this database and registry; made at its first command."""
    mine = _AUTHORITIES.setdefault(database, WeakKeyDictionary())
    found = mine.get(registry)
    if found is None:
        found = mine[registry] = Authority(registry)
    return found


@lru_cache(maxsize=PARSED_MAX)
def parse(text: str, version: int) -> Policies:
    """The floor and a text above it. Raises: InvalidRequest with Cedar's own words."""
    try:
        return Policies(version, text, policies_of(FLOOR, text))
    except ValueError as error:
        raise InvalidRequest(
            f"This is no Cedar policy: {error}.",
            code="invalid_policy",
            param="text",
            hint="`hub policy list` shows a set that works.",
        ) from error


def principal_uid(principal: Principal, lent: Sequence[Grant]) -> tuple[str, str]:
    """Type and id of the Cedar principal."""
    if principal.grant_id is not None:
        return "Agent", lent[0].agent_id if lent else principal.grant_id
    if principal.user_id is not None:
        return "User", principal.user_id
    if principal.service_account_id is not None:
        return "ServiceAccount", principal.service_account_id
    return "Key", principal.key_id


def resource_uid(command: Command, found: Found, org_id: str) -> tuple[str, str]:
    """Type and id of the Cedar resource: `service-account` -> ServiceAccount."""
    if not command.resource or not found.id:
        return "Org", org_id
    return "".join(part.capitalize() for part in command.resource.split("-")), found.id


def plain(arguments: Mapping[str, Any]) -> Json:
    """What policies see of the arguments: texts, whole numbers, yes/no, lists of texts."""
    shown: Json = {}
    for name, value in arguments.items():
        match value:
            case bool() | int():
                shown[name] = value
            case str() if len(value) <= TEXT_MAX:
                shown[name] = value
            case list() if all(isinstance(item, str) for item in cast(list[Any], value)):
                shown[name] = value
            case _:
                pass
    return shown


def _action_entity(command: Command) -> Json:
    return _entity("Action", command.name, parents=[("Action", command.effect), ("Action", command.noun)])


def _outside_entity(command: str, effect: str) -> Json:
    """The action of a tool of an outside server: `mcp.lab.read` is in its effect, `mcp.lab`, `mcp` and `outside`."""
    noun, server = command.partition(".")[0], command.rpartition(".")[0]
    return _entity(
        "Action", command, parents=[("Action", group) for group in (effect, server, noun, OUTSIDE)]
    )


def _describe(org_id: str, kind: str, id: str, user_id: str, known: Standing | None) -> list[Json]:
    """The principal and everything that it is in; `known` of its user, None if it has none."""
    org = ("Org", org_id)
    if known is None:
        return [_entity("Org", org_id), _entity(kind, id, parents=[org])]
    groups = [("Role", known.role), *(("Team", team) for team in known.teams)]
    above = {
        department: path[place + 1 :] for path in known.departments for place, department in enumerate(path)
    }
    groups += [("Department", path[0]) for path in known.departments]
    entities = [_entity("Org", org_id), _entity("User", user_id, parents=[org, *groups])]
    entities += [
        _entity("Department", name, parents=[("Department", upper[0])] if upper else [])
        for name, upper in sorted(above.items())
    ]
    if kind != "User":
        entities.append(_entity(kind, id, parents=[("User", user_id)]))
    return entities


def _entity(kind: str, id: str, *, parents: Sequence[tuple[str, str]] = ()) -> Json:
    return {
        "uid": {"type": kind, "id": id},
        "attrs": {},
        "parents": [{"type": type_, "id": name} for type_, name in parents],
    }
