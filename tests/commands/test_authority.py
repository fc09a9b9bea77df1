"""Who may do what: policies, grants, taint, gates, stops; each counts before the next command."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.commands.conftest import Call
from tokenhub.commands import Envelope
from tokenhub.commands.authority import parse
from tokenhub.commands.policy_set import DEFAULT
from tokenhub.commands.tables import audit
from tokenhub.db.engine import Database
from tokenhub.identity.keys import authenticate
from tokenhub.identity.tables import grants
from tokenhub.identity.types import Principal

NO_TEAMS = '@id("no-teams") forbid (principal in Role::"member", action == Action::"team.create", resource);'
PEOPLE = '@id("people") permit (principal, action, resource);'


def _data(envelope: Envelope) -> dict[str, Any]:
    assert envelope.ok and envelope.data is not None, envelope
    return envelope.data


def _code(envelope: Envelope) -> str:
    assert envelope.error is not None, envelope
    return envelope.error.code


@pytest.fixture
def lend(call: Call, database: Database) -> Any:
    """Lend an agent of the administrator something; gives the agent's principal."""
    _data(call("agent.create", {"name": "helper"}))

    def run(*commands: str, **extra: Any) -> Principal:
        made = _data(call("grant.create", {"agent": "helper", "commands": list(commands), **extra}))
        with database.read("hub") as connection:
            return authenticate(connection, made["key"])

    return run


def test_an_agent_does_what_was_lent_and_nothing_else(call: Call, lend: Any, admin: Principal) -> None:
    agent = lend("team.*")
    assert agent.grant_id and agent.user_id == admin.user_id
    made = call("team.create", {"name": "a"}, by=agent)
    assert made.ok and made.audit_id
    refused = call("project.create", {"name": "p"}, by=agent)
    assert _code(refused) == "policy_denied" and "grant does not cover" in str(refused.error)
    shown = _data(call("audit.show", {"audit": made.audit_id}))
    assert shown["grant_id"] == agent.grant_id and shown["decision"]["verdict"] == "allow"
    assert shown["decision"]["question"]["principal"][0] == "Agent"


def test_an_agent_never_has_more_than_its_person(call: Call, lend: Any) -> None:
    agent = replace(lend("*", effects=["read", "write", "irreversible"]), scopes=frozenset({"read"}))
    assert _code(call("team.create", {"name": "a"}, by=agent)) == "permission_denied"
    assert call("team.list", by=agent).ok
    for name, raw in (
        ("agent.create", {"name": "x"}),
        ("policy.apply", {"text": PEOPLE}),
        ("key.create", {"name": "k"}),
    ):
        wide = lend("*", effects=["read", "write", "irreversible"])
        assert _code(call(name, raw, by=wide)) == "policy_denied", name


def test_revoking_and_stopping_count_before_the_next_command(call: Call, lend: Any) -> None:
    agent = lend("team.*")
    assert call("team.create", {"name": "a"}, by=agent).ok
    _data(call("agent.stop", {"agent": "helper", "reason": "wrong list"}))
    stopped = call("team.list", by=agent)
    assert _code(stopped) == "agent_stopped" and "wrong list" in str(stopped.error)
    _data(call("agent.resume", {"agent": "helper"}))
    assert call("team.list", by=agent).ok
    _data(call("agent.stop", {"all": True}))
    assert _code(call("team.list", by=agent)) == "agent_stopped"
    _data(call("agent.resume", {"all": True}))
    _data(call("grant.revoke", {"grant": agent.grant_id}))
    assert _code(call("team.list", by=agent)) == "grant_ended"


def test_a_grant_ends_by_itself_and_with_the_one_above(call: Call, lend: Any, database: Database) -> None:
    above = lend("team.*", expires_in="8h")
    below = lend("*", parent=above.grant_id)
    assert _code(call("project.create", {"name": "p"}, by=below)) == "policy_denied"
    assert call("team.create", {"name": "a"}, by=below).ok
    with database.write("hub") as connection:
        connection.execute(update(grants).where(grants.c.id == above.grant_id).values(expires_at_ms=1))
    assert _code(call("team.list", by=below)) == "grant_ended"


def test_a_budget_is_shared_downward_and_never_passed(call: Call, lend: Any, database: Database) -> None:
    above = lend("team.*", budget=3)
    below = lend("team.*", parent=above.grant_id)
    for number in range(2):
        assert call("team.create", {"name": f"t{number}"}, by=below).ok
    assert call("team.list", by=above).ok
    used_up = call("team.create", {"name": "last"}, by=below)
    assert _code(used_up) == "grant_used_up" and used_up.error.status == 402  # type: ignore[union-attr]
    assert "last" not in {item["name"] for item in _data(call("team.list"))["items"]}
    with database.read("hub") as connection:
        used = connection.execute(select(grants.c.cost_used).order_by(grants.c.id)).scalars().all()
    assert list(used) == [3, 2]


def test_what_cannot_be_taken_back_waits_for_a_persons_yes(call: Call, lend: Any) -> None:
    _data(call("key.create", {"name": "old"}))
    agent = lend("key.*", effects=["read", "write", "irreversible"])
    asked = call("key.revoke", {"key": "old"}, by=agent)
    assert (
        asked.status == "pending" and asked.data is not None and asked.next.startswith("hub gate show gate_")
    )
    gate = asked.data["gate"]
    again = call("key.revoke", {"key": "old"}, by=agent)
    assert again.data is not None and again.data["gate"] == gate, "one question, not two"
    assert _code(call("gate.approve", {"gate": gate}, by=agent)) == "policy_denied"
    assert _data(call("gate.approve", {"gate": gate}))["state"] == "approved"
    other = call("key.revoke", {"key": "admin"}, by=agent)
    assert other.status == "pending", "a yes is for exactly these arguments"
    assert call("key.revoke", {"key": "old"}, by=agent).ok
    assert call("key.revoke", {"key": "old"}, by=agent).status == "pending", "and for one run"


def test_a_no_is_remembered(call: Call, lend: Any) -> None:
    agent = lend("key.*", effects=["irreversible"])
    gate = call("key.revoke", {"key": "admin"}, by=agent).data["gate"]  # type: ignore[index]
    _data(call("gate.deny", {"gate": gate, "comment": "never"}))
    refused = call("key.revoke", {"key": "admin"}, by=agent)
    assert _code(refused) == "gate_denied" and "never" in str(refused.error)


def test_nobody_says_yes_to_what_they_may_not_do(call: Call, lend: Any, admin: Principal) -> None:
    agent = lend("key.*", effects=["irreversible"])
    gate = call("key.revoke", {"key": "admin"}, by=agent).data["gate"]  # type: ignore[index]
    weak = replace(admin, scopes=frozenset({"read"}))
    assert _code(call("gate.approve", {"gate": gate}, by=weak)) == "permission_denied"
    stranger = replace(admin, user_id="user_other", scopes=frozenset({"keys:write"}))
    assert _code(call("gate.approve", {"gate": gate}, by=stranger)) == "gate_not_found"


def test_a_tainted_run_aims_only_at_what_its_person_named(call: Call, lend: Any) -> None:
    for name in ("ana", "bob"):
        _data(call("user.create", {"name": name}))
    team = _data(call("team.create", {"name": "crew"}))
    agent = lend("team.*", "audit.*", vouched=["user:ana", "team:crew"])
    assert call("team.add", {"team": "crew", "user": "bob"}, by=agent).ok, "not tainted yet"
    assert call("audit.list", by=agent).ok, "others' words"
    assert call("team.add", {"team": "crew", "user": "ana"}, by=agent).ok
    assert call("team.add", {"team": team["id"], "user": "ana"}, by=agent).ok, "the id of what was named"
    for raw in ({"team": "crew", "user": "bob"}, {"team": "crew", "user": "an"}):
        asked = call("team.add", raw, by=agent)
        assert asked.status == "pending", raw
    assert call("team.create", {"name": "z"}, by=agent).ok is False, "a write without sinks asks too"


def test_a_policy_forbids_over_any_permit_and_says_so(
    call: Call, admin: Principal, database: Database
) -> None:
    _data(call("user.create", {"name": "ana", "role": "admin"}))
    made = _data(call("key.create", {"name": "ana", "user": "ana", "scopes": ["admin"]}))
    with database.read("hub") as connection:
        ana = authenticate(connection, made["key"])
    assert call("team.create", {"name": "a"}, by=ana).ok
    text = PEOPLE + NO_TEAMS.replace("member", "admin")
    plan = call("policy.apply", {"text": text}, dry_run=True)
    assert _data(plan)["changed"] == 1 and _data(plan)["examples"][0]["command"] == "team.create"
    assert call("team.create", {"name": "b"}, by=ana).ok, "a dry run changes nothing"
    applied = _data(call("policy.apply", {"text": text, "note": "teams are planned"}))
    assert applied["version"] == 1 and applied["changed"] == 2
    refused = call("team.create", {"name": "c"}, by=ana)
    assert _code(refused) == "policy_denied" and "`no-teams`" in str(refused.error)
    assert call("team.create", {"name": "c"}).ok, "the owner is no admin by role"
    why = _data(call("policy.why", {"command": "team.create", "user": "ana"}))
    assert (why["verdict"], why["policies"]) == ("deny", ["no-teams"])
    assert {item["id"] for item in _data(call("policy.list"))["items"]} >= {
        "no-teams",
        "people",
        "floor.scope",
    }
    assert call("audit.list", {"outcome": "denied"}).data["items"][0]["command"] == "team.create"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("permit (principal", "invalid_policy"),
        (PEOPLE + 'forbid (principal, action == Action::"team.crate", resource);', "invalid_policy"),
        ('@id("floor.scope") permit (principal, action, resource);', "invalid_policy"),
        ('permit (principal, action == Action::"team.list", resource);', "policy_locks_out"),
    ],
)
def test_a_policy_that_would_not_work_is_refused(call: Call, text: str, code: str) -> None:
    assert _code(call("policy.apply", {"text": text})) == code
    assert _data(call("policy.list"))["version"] == 0


def test_a_policy_that_breaks_denies(call: Call) -> None:
    broken = '@id("big") forbid (principal, action == Action::"team.create", resource) when { context.args.size > 3 };'
    _data(call("policy.apply", {"text": PEOPLE + broken}))
    refused = call("team.create", {"name": "a"})
    assert _code(refused) == "policy_denied" and "cannot be evaluated" in str(refused.error)


def test_nobody_can_lift_the_floor(call: Call, lend: Any, admin: Principal) -> None:
    _data(call("policy.apply", {"text": PEOPLE}))
    weak = replace(admin, scopes=frozenset({"read"}))
    assert _code(call("team.create", {"name": "a"}, by=weak)) == "permission_denied"
    assert _code(call("team.create", {"name": "a"}, by=lend("project.*"))) == "policy_denied"


def test_an_organisation_may_want_two_pairs_of_eyes(call: Call, database: Database) -> None:
    text = PEOPLE + (
        '@id("four-eyes") forbid (principal, action == Action::"user.disable", resource) unless { context.confirmed };'
    )
    _data(call("policy.apply", {"text": text}))
    _data(call("user.create", {"name": "bob", "role": "admin"}))
    _data(call("user.create", {"name": "eve"}))
    made = _data(call("key.create", {"name": "bob", "user": "bob", "scopes": ["admin"]}))
    with database.read("hub") as connection:
        bob = authenticate(connection, made["key"])
    asked = call("user.disable", {"user": "eve"}, by=bob)
    assert asked.status == "pending" and asked.data is not None
    assert _code(call("gate.approve", {"gate": asked.data["gate"]}, by=bob)) == "permission_denied"
    _data(call("gate.approve", {"gate": asked.data["gate"]}))
    assert call("user.disable", {"user": "eve"}, by=bob).ok


def test_a_name_does_not_get_round_a_policy_on_an_id(call: Call) -> None:
    team = _data(call("team.create", {"name": "board"}))
    forbid = f'@id("board") forbid (principal, action in Action::"team", resource == Team::"{team["id"]}");'
    _data(call("policy.apply", {"text": PEOPLE + forbid}))
    _data(call("user.create", {"name": "ana"}))
    for named in ("board", team["id"]):
        assert _code(call("team.add", {"team": named, "user": "ana"})) == "policy_denied"


def test_denials_and_agents_reads_are_on_the_record(call: Call, lend: Any, database: Database) -> None:
    agent = lend("team.list")
    call("team.list", by=agent)
    call("team.create", {"name": "a"}, by=agent)
    with database.read("hub") as connection:
        rows = connection.execute(
            select(audit["hub"].c.command, audit["hub"].c.outcome).where(
                audit["hub"].c.grant_id == agent.grant_id
            )
        ).all()
    assert [tuple(row) for row in rows] == [("team.list", "success"), ("team.create", "denied")]


def test_an_agent_cannot_vouch_for_itself(call: Call, lend: Any) -> None:
    agent = lend("*", effects=["read", "write", "irreversible"], vouched=["ana"])
    raw = {"agent": "helper", "commands": ["team.*"], "vouched": ["mallory"]}
    refused = call("grant.create", raw, by=agent)
    assert _code(refused) == "permission_denied"
    assert call("grant.create", {**raw, "vouched": ["ana"]}, by=agent).ok


def test_several_questions_are_answered_in_one_sitting(call: Call, lend: Any) -> None:
    for name in ("a", "b", "c"):
        _data(call("key.create", {"name": name}))
    agent = lend("key.*", effects=["irreversible"])
    asked = {name: call("key.revoke", {"key": name}, by=agent).data["gate"] for name in ("a", "b", "c")}  # type: ignore[index]
    raw = {"approve": [asked["a"], asked["b"]], "deny": [asked["c"]], "comment": "not this one"}
    assert _code(call("gate.answer", raw, by=agent)) == "policy_denied"
    assert _code(call("gate.answer", {})) == "invalid_request"
    assert _code(call("gate.answer", {"approve": [asked["a"]], "deny": [asked["a"]]})) == "invalid_request"
    half = call("gate.answer", {"approve": [asked["a"], "gate_unknown"]})
    assert _code(half) == "gate_not_found"
    assert call("gate.show", {"gate": asked["a"]}).data["state"] == "open", "all or none"  # type: ignore[index]
    told = _data(call("gate.answer", raw))["items"]
    assert [one["state"] for one in told] == ["approved", "approved", "denied"]
    assert call("key.revoke", {"key": "a"}, by=agent).ok and call("key.revoke", {"key": "b"}, by=agent).ok
    assert _code(call("key.revoke", {"key": "c"}, by=agent)) == "gate_denied"


def test_a_policy_on_a_single_answer_holds_in_a_sitting(call: Call, lend: Any) -> None:
    agent = lend("key.*", effects=["irreversible"])
    gate = call("key.revoke", {"key": "admin"}, by=agent).data["gate"]  # type: ignore[index]
    _data(
        call(
            "policy.apply",
            {"text": PEOPLE + '@id("no") forbid (principal, action == Action::"gate.approve", resource);'},
        )
    )
    assert _code(call("gate.answer", {"approve": [gate]})) == "policy_denied"
    assert call("gate.answer", {"deny": [gate]}).ok


def test_a_question_can_be_put_without_the_deed(call: Call, lend: Any) -> None:
    _data(call("key.create", {"name": "old"}))
    agent = lend("key.*", "team.*", effects=["read", "write", "irreversible"])
    asked = call("key.revoke", {"key": "old"}, by=agent, ask_only=True)
    assert asked.status == "pending" and asked.data is not None
    assert call("team.create", {"name": "a"}, by=agent, ask_only=True).data is None
    assert call("team.list", {}, by=agent, ask_only=True).data is None
    assert _data(call("team.list"))["items"] == []
    _data(call("gate.approve", {"gate": asked.data["gate"]}))
    assert call("key.revoke", {"key": "old"}, by=agent, ask_only=True).data is None, (
        "a yes is not used up by asking"
    )
    assert call("key.revoke", {"key": "old"}, by=agent).ok


@pytest.mark.parametrize(
    "one_thing",
    [
        'forbid (principal, action, resource == User::"{id}");',
        'forbid (principal, action, resource) when {{ resource == User::"{id}" }};',
    ],
)
def test_an_answer_about_one_thing_is_kept_for_others_only_where_no_policy_sees_the_thing(
    call: Call, one_thing: str
) -> None:
    spared, closed = (_data(call("user.create", {"name": name}))["id"] for name in ("a", "b"))
    assert call("user.show", {"user": spared}).ok and call("user.show", {"user": closed}).ok
    text = f'{PEOPLE} @id("closed") {one_thing.format(id=closed)}'
    _data(call("policy.apply", {"text": text}))
    assert call("user.show", {"user": spared}).ok
    assert _code(call("user.show", {"user": closed})) == "policy_denied"
    assert call("user.show", {"user": spared}).ok
    assert not parse(DEFAULT, 0).sees_things and parse(text, 1).sees_things
    assert not parse(PEOPLE + "permit (principal, action, resource) when { context.mine };", 1).sees_things


@pytest.mark.parametrize("named", ["context.dry_run", 'context["dry_run"]', 'context["\\u{64}ry_run"]'])
def test_an_answer_is_kept_over_flags_only_where_no_policy_names_them(call: Call, named: str) -> None:
    assert call("team.create", {"name": "a"}, dry_run=True).ok and call("team.create", {"name": "a"}).ok
    text = f'{PEOPLE} @id("no-play") forbid (principal, action == Action::"team.create", resource) when {{ {named} }};'
    _data(call("policy.apply", {"text": text}))
    assert call("team.create", {"name": "b"}).ok
    assert _code(call("team.create", {"name": "c"}, dry_run=True)) == "policy_denied"
    assert call("team.create", {"name": "c"}).ok


def test_what_no_policy_can_name_is_not_shown_to_any() -> None:
    assert parse(DEFAULT, 0).blind == {"dry_run", "mine", "app"} and not parse(DEFAULT, 0).sees_arguments
    seen = parse(PEOPLE + "forbid (principal, action, resource) when { context.mine && context has app };", 1)
    assert seen.blind == {"dry_run"} and not seen.sees_arguments
    whole = parse(PEOPLE + "forbid (principal, action, resource) when { context == {} };", 1)
    assert not whole.blind and whole.sees_arguments
