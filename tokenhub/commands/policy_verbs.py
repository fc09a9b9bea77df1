"""`hub policy …`: who may do what, why, and what a change would have changed."""

import json
import re
from difflib import get_close_matches
from typing import Any

from pydantic import Field

from tokenhub.commands import audit
from tokenhub.commands.admission import explain
from tokenhub.commands.authority import Ask, Policies, parse
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Content, Example, Model, command
from tokenhub.commands.policy_set import FLOOR, OUTSIDE
from tokenhub.commands.resources import NOTHING, thing_of
from tokenhub.identity import directory, grants, policies
from tokenhub.identity.directory import User
from tokenhub.identity.scopes import ROLES
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied

VERBS: list[Command] = []
SIMULATED_MAX = 2000
SHOWN_MAX = 20


class PolicyView(Model):
    """One policy."""

    id: str
    layer: str = Field(description="`floor`: nobody can lift it; `organisation`: yours, or the default set.")
    text: str


class PolicyList(Model):
    """The policies in force."""

    items: list[PolicyView]
    version: int = Field(description="0 = the default set.")


class NoArgs(Model):
    """No arguments."""


class WhyArgs(Model):
    """Which question."""

    command: str = Field(description="The command, such as `task.create`.")
    arguments: dict[str, Any] = Field(default={}, description="Its arguments, as a JSON object.")
    user: str | None = Field(default=None, description="For this person; yourself if left out.")
    grant: str | None = Field(default=None, description="For the agent of this grant.")
    confirmed: bool = Field(default=False, description="As if a person had said yes.")


class Why(Model):
    """A decision and what led to it."""

    command: str
    verdict: str = Field(description="`allow`, `ask` (a person's yes is missing) or `deny`.")
    why: str
    policies: list[str] = Field(description="Ids of the policies that decided; empty = none permits it.")
    version: int
    question: dict[str, Any] = Field(description="What the policies were asked.")


class ApplyArgs(Model):
    """A new set."""

    text: Content = Field(
        min_length=1, max_length=200_000, description="Cedar policies; `@FILE` reads them from a file."
    )
    note: str = Field(default="", max_length=200, description="Why, for the history.")


class Changed(Model):
    """A past decision that would have been another."""

    audit: str
    actor: str
    command: str
    was: str
    now: str


class Applied(Model):
    """The new set and what it would have changed."""

    version: int
    policies: int = Field(description="How many the organisation now has.")
    checked: int = Field(description="Past decisions that were put to it.")
    changed: int = Field(description="How many of them would have been another.")
    examples: list[Changed]


@command(
    "policy.list",
    effect="read",
    resource="",
    permission="read",
    summary="List the policies in force.",
    columns=("id", "layer", "text"),
    examples=[Example("hub policy list", "The floor, and your organisation's own above it")],
)
def policy_list(ctx: Context, args: NoArgs) -> PolicyList:
    """A forbid always wins over a permit."""
    mine = ctx.view.policies_of(ctx.hub, ctx.principal.org_id)
    items = [
        PolicyView(id=name, layer=layer, text=text)
        for layer, whole in (("floor", FLOOR), ("organisation", mine.text))
        for name, text in _statements(whole)
    ]
    return PolicyList(items=items, version=mine.version)


@command(
    "policy.why",
    effect="read",
    resource="",
    permission="",
    summary="Say whether a command would be allowed, and why.",
    positional=("command",),
    examples=[
        Example("hub policy why user.disable", "For yourself"),
        Example(
            """hub policy why task.create --arguments '{"title": "x"}' --user ana""",
            "For another person (administrators)",
        ),
    ],
)
def policy_why(ctx: Context, args: WhyArgs) -> Why:
    """Runs nothing and changes nothing."""
    declared = ctx.command(args.command)
    lent = []
    principal = ctx.principal
    if args.grant:
        lent = grants.chain(ctx.hub, grants.find_grant(ctx.hub, ctx.principal, args.grant).id)
        principal = _as(ctx, lent[0].user_id, args.grant)
    elif args.user:
        principal = _as(ctx, directory.find(ctx.hub, User, ctx.principal.org_id, args.user).id, None)
    elif principal.grant_id is not None:
        lent = grants.chain(ctx.hub, principal.grant_id)
    found = thing_of(ctx, principal, declared, args.arguments)
    decision = ctx.view.decide(
        ctx.hub,
        Ask(
            declared,
            principal,
            args.arguments,
            found,
            lent=lent,
            confirmed=args.confirmed,
            vouched=not lent,
            at_ms=ctx.now_ms,
        ),
    )
    permitted = f"Permitted by {', '.join(decision.policies)}."
    return Why(
        command=declared.name,
        verdict=decision.verdict,
        why=permitted if decision.verdict == "allow" else explain(declared.name, decision.policies),
        policies=list(decision.policies),
        version=decision.version,
        question=decision.question,
    )


@command(
    "policy.apply",
    effect="write",
    resource="",
    permission="admin",
    cost=10,
    summary="Put a set of policies in force for your organisation.",
    positional=("text",),
    examples=[
        Example("hub policy apply @policies.cedar --dry-run", "Which past decisions it would have changed"),
        Example(
            "hub policy apply @policies.cedar --note 'no exports by contractors'",
            "In force before the next command",
        ),
    ],
)
def policy_apply(ctx: Context, args: ApplyArgs) -> Applied:
    """Replaces the organisation's set (the floor stays) and tells which past decisions it would have changed."""
    org_id = ctx.principal.org_id
    _check(ctx, args.text)
    made = policies.apply(
        ctx.hub, org_id, args.text, note=args.note, actor=ctx.principal.actor, at_ms=ctx.now_ms
    )
    under = parse(args.text, made.version)
    me = Ask(
        ctx.registry.get("policy.apply"),
        ctx.principal,
        {"text": ""},
        NOTHING,
        vouched=True,
        at_ms=ctx.now_ms,
    )
    if ctx.view.decide(ctx.hub, me, under=under).verdict != "allow":
        raise Conflict(
            "Under these policies you could not change them again; permit yourself `policy.apply`.",
            code="policy_locks_out",
            param="text",
        )
    checked, changed = _simulate(ctx, under)
    return Applied(
        version=made.version,
        policies=len(_statements(args.text)),
        checked=checked,
        changed=len(changed),
        examples=changed[:SHOWN_MAX],
    )


def _simulate(ctx: Context, under: Policies) -> tuple[int, list[Changed]]:
    """Put the newest recorded decisions of both books to other policies: (how many, those that differ)."""
    org_id = ctx.principal.org_id
    checked, changed = 0, list[Changed]()
    for books in ("hub", "ledger"):
        connection = ctx.hub if books == "hub" else ctx.ledger
        for row in audit.listing(connection, books, org_id, limit=SIMULATED_MAX):
            if row["decision"] is None:
                continue
            checked += 1
            past = json.loads(row["decision"])
            now = ctx.view.judge(
                ctx.hub, org_id, row["command"], past["question"], json.loads(row["arguments"]), under=under
            )
            if now.verdict != past["verdict"]:
                changed.append(
                    Changed(
                        audit=row["id"],
                        actor=row["actor"],
                        command=row["command"],
                        was=past["verdict"],
                        now=now.verdict,
                    )
                )
    return checked, changed


def _check(ctx: Context, text: str) -> None:
    """Refuse what would silently never apply. Raises: InvalidRequest."""
    known = {declared.name for declared in ctx.registry} | {declared.noun for declared in ctx.registry}
    every = ctx.registry.besides(ctx.hub, ctx.principal.org_id)
    known |= {name for declared in every for name in (declared.name, declared.name.rpartition(".")[0])}
    known |= {"read", "write", "irreversible", OUTSIDE}
    for found in re.finditer(r'Action::"([^"]*)"', text):
        name = found[1]
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else "List commands with `hub commands search`."
            raise InvalidRequest(
                f"No command {name!r} for a policy.", code="invalid_policy", param="text", hint=hint
            )
    if re.search(r'@id\("floor\.', text):
        raise InvalidRequest(
            "Ids that begin with `floor.` are the hub's own.", code="invalid_policy", param="text"
        )


def _statements(text: str) -> list[tuple[str, str]]:
    """(id, text) of each policy; comments are left out."""
    bare = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda found: found[1] or "", text)
    parts = re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^;"])+;', bare)
    found: list[tuple[str, str]] = []
    for place, part in enumerate(parts):
        named = re.search(r'@id\("([^"]*)"\)', part)
        found.append((named[1] if named else f"policy {place + 1}", part.strip()))
    return found


def _as(ctx: Context, user_id: str, grant_id: str | None) -> Principal:
    """The principal of another person with all that their role gives. Raises: PermissionDenied."""
    if user_id != ctx.principal.user_id and (not ctx.principal.allows("admin") or ctx.principal.grant_id):
        raise PermissionDenied("Only an administrator may ask for others.", param="user")
    user = directory.find(ctx.hub, User, ctx.principal.org_id, user_id)
    return Principal(
        key_id="why",
        org_id=ctx.principal.org_id,
        team_id=user.team_id,
        project_id=None,
        user_id=user.id,
        service_account_id=None,
        scopes=ROLES[user.role],
        models=None,
        expires_at_ms=None,
        app="",
        parent_key_id=None,
        grant_id=grant_id,
    )
