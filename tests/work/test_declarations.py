"""What commands say of themselves is so."""

import re
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tests.work.world import SAMPLES, World
from tokenhub.bootstrap.commands import registry
from tokenhub.commands import Context
from tokenhub.commands.admission import Call, admit
from tokenhub.commands.authority import authority_of
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.parsing import parse
from tokenhub.commands.redaction import without_secrets
from tokenhub.commands.registry import Registry
from tokenhub.commands.resources import Found, kinds, thing_of


def test_whatever_answers_others_words_says_so() -> None:
    """What an agent reads of these taints its run."""
    texts = {"body", "text", "content", "title", "comments", "message", "values", "items"}
    own = {
        *(
            "calendar.free",
            "event.create",
            "hook.send",
            "report-form.list",
            "report.comment",
            "report.missing",
            "room.list",
        ),  # they answer only what their caller or an administrator wrote, or what the hub itself says
        *(
            "agent.list",
            "budget.list",
            "channel.list",
            "commands.offer",
            "commands.search",
            "deploy.create",
            "department.list",
        ),
        *("doc.create", "doc.comment", "doc.history", "form.list", "grant.list", "key.list", "mcp.tools"),
        *(
            "skill.list",
            "skill.read",
            "skill.show",
            "skill.use",
        ),  # agents are told only what an administrator allowed
        "message.edit",
        *(
            "message.recall",
            "message.send",
            "model.list",
            "model.show",
            "request.create",
            "policy.list",
            "price.list",
            "price.history",
        ),
        *(
            "project.list",
            "provider.list",
            "schedule.list",
            "service-account.list",
            "task.comment",
            "task.create",
            "team.list",
        ),
        *("user.list", "ledger.statement", "ledger.reconcile", "usage.show", "price.simulate"),
    }
    loose = [
        declared.name
        for declared in registry()
        if declared.trust == "trusted"
        and declared.name not in own
        and texts & set(declared.result.model_fields)
    ]
    assert loose == []


CHOOSING = frozenset(
    [
        "to",
        "cc",
        "bcc",
        "user",
        "users",
        "person",
        "people",
        "member",
        "members",
        "assignee",
        "owner",
        "lead",
        "approver",
        "deputy",
        "attendees",
        "guests",
        "invitees",
        "everyone",
        "open",
        "all",
        "public",
        "role",
        "scopes",
        "team",
        "project",
        "department",
        "channel",
        "thread",
        "parent",
        "route",
        "url",
        "email",
        "address",
        "path",
        "provider",
        "model",
        "models",
        "agent",
        "grant",
        "gate",
        "key",
        "service_account",
        "folder",
        "file",
        "files",
        "doc",
        "docs",
        "rights",
        "resources",
        "commands",
        "effects",
        "vouched",
        "room",
        "calendar",
        "webhook",
        "audit",
        "task",
        "message",
        "request",
        "request_id",
        "form",
        "budget",
        "job",
        "sku",
        "scope",
        "deploy",
        "engine_boot",
        "recipients",
        "participants",
        "share",
        "subject",
        "target",
        "source",
        "destination",
        "server",
    ]
)
"""What an argument is called that may choose who or what a command touches."""

EXCUSED = {
    "doc.share rights": "how much, of a document and for a person who are sinks both",
    "file.share rights": "how much, of a file and for a person who are sinks both",
    "file.move folder": "one's own order; it opens nothing to anybody",
    "file.move name": "one's own order",
    "message.send files": "attaching gives nobody a right to a file; who is told is a sink",
    "grant.create commands": "bounded by the grant above, whose taint counts below too",
    "grant.create effects": "bounded by the grant above",
    "grant.create resources": "bounded by the grant above",
    "grant.create vouched": "only values that the grant above holds",
    "grant.create parent": "an agent lends only out of its own grant",
    "grant.create budget": "taken from the grant above too",
    "grant.create request": "no agent says what a person asked for",
    "request.return to": "a stage of the request, which is a sink",
    "skill.run files": "into a sandbox without network; the skill is a sink",
    "key.create models": "no agent makes keys",
    "provider.add key": "of the address, which is a sink",
    "provider.add model": "of the address, which is a sink",
}


def test_whatever_chooses_who_or_what_is_touched_is_a_sink() -> None:
    """In a run that has read what others wrote, nothing may be chosen by them; a write without sinks asks anyway."""
    loose = [
        f"{declared.name} {name}"
        for declared in registry()
        if declared.effect == "write" and (declared.sinks or declared.own != "no")  # others ask anyway
        for name in declared.arguments.model_fields
        if name in CHOOSING | {declared.resource_argument}
        and name not in declared.sinks
        and f"{declared.name} {name}" not in EXCUSED
    ]
    assert loose == []


def test_every_kind_of_thing_can_be_resolved() -> None:
    loose = [
        f"{declared.name} ({declared.resource})"
        for declared in registry()
        if declared.resource and declared.acts_on is None and declared.resource not in kinds()
    ]
    assert loose == []


def test_policies_see_the_same_id_however_a_thing_is_called(world: World) -> None:
    """For every command on a thing: by its id and by its name Cedar is asked about the id, and it is one."""
    seen: set[str] = set()
    for declared in registry():
        if not declared.resource:
            continue
        raw = world.filled(SAMPLES[declared.name])
        asked = _resource(world, declared.name, raw)
        named = str(raw.get(declared.resource_argument) or "")
        if declared.resource in NAMES_ARE_IDS:
            assert asked == named
            continue
        assert re.fullmatch(r"[a-z-]+_[0-9A-HJKMNP-TV-Z]{26}|org_\w+", asked), (declared.name, asked)
        if not named:
            continue
        other = _name_of(world, declared.resource, asked)
        for one in {named, asked, other} - {""}:
            again = _resource(world, declared.name, {**raw, declared.resource_argument: one})
            assert again == asked, (declared.name, one)
            seen.add(declared.resource if one != asked else "")
    assert seen >= {"agent", "budget", "channel", "department", "deploy", "doc", "file", "form", "key"}
    assert seen >= {"provider", "task", "team", "user"}


NAMES_ARE_IDS = {"model", "sku", "call"}


def _resource(world: World, command: str, raw: dict[str, Any]) -> str:
    """What the policies were asked about."""
    with ExitStack() as stack:
        declared, principal = registry().get(command), world.people["admin"]
        context = Context(
            principal=principal,
            settings=world.settings,
            now_ms=1,
            dry_run=True,
            database=world.database,
            writes=None,
            stack=stack,
            registry=registry(),
            authority=authority_of(world.database, registry()),
        )
        arguments = parse(declared, raw)
        call = Call(declared, principal, arguments, without_secrets(arguments), True, "", "", 1)
        return str(admit(context, call).decision.question["resource"][1])


def _name_of(world: World, kind: str, id: str) -> str:
    with ExitStack() as stack:
        hub = stack.enter_context(world.database.read("hub"))
        ledger = stack.enter_context(world.database.read("ledger"))
        declared = next(one for one in registry() if one.resource == kind)
        books = type("Books", (), {"hub": hub, "ledger": ledger})()
        return thing_of(books, world.people["admin"], declared, {declared.resource_argument: id}).name


def test_what_is_not_resolved_is_not_acted_on(world: World) -> None:
    """A verb that finds more than the policies were asked about is rolled back, and says so in the log."""
    declared = registry().get("team.add")
    blind = replace(declared, acts_on=lambda _books, _principal, _raw: Found("crew", known=False))
    mine = Registry()
    mine.add(blind)
    runtime = Runtime(world.database, world.settings)
    answer = execute(mine, runtime, world.people["admin"], "team.add", {"team": "crew", "user": "bob"})
    assert answer.error is not None and answer.error.status == 500
    assert "bob" not in world.do("admin", "team.list")["items"][0]["members"]
