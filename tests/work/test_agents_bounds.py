"""What an agent may not get round: taint by lending on, dry runs, floods of questions, names for ids."""

import pytest

from tests.work.test_hostile import agent
from tests.work.world import World
from tokenhub.commands import audit
from tokenhub.commands.gates import OPEN_MAX
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal

ALL = ["read", "write", "irreversible"]


def child(world: World, by: Principal, **extra: object) -> Principal:
    made = world.call(by, "grant.create", agent="reader", commands=["*"], effects=ALL, **extra)
    assert made.data is not None, made
    with world.database.read("hub") as connection:
        return authenticate(connection, made.data["key"])


def test_what_an_agents_own_child_reads_taints_the_agent(world: World) -> None:
    above = agent(world, "admin", "reader", commands=["*"], effects=ALL)
    below = child(world, above)
    lowest, beside = child(world, below), child(world, above)
    assert world.call(above, "team.add", team="crew", user="bob").ok
    assert world.call(lowest, "message.list").ok, "others' words, which it can hand to whoever lent to it"
    for one in (above, below, lowest, beside):
        asked = world.call(one, "team.remove", team="crew", user="bob")
        assert asked.status == "pending", one.grant_id


def test_a_run_that_a_person_opened_leaves_the_standing_grant_clean(world: World) -> None:
    standing = agent(world, "admin", "reader", commands=["*"], effects=ALL)
    run = world.do("admin", "grant.create", agent="reader", commands=["*"], parent=standing.grant_id)
    with world.database.read("hub") as connection:
        inside = authenticate(connection, run["key"])
    assert world.call(inside, "message.list").ok
    assert world.call(inside, "team.add", team="crew", user="bob").status == "pending"
    assert world.call(standing, "team.add", team="crew", user="bob").ok


def test_taint_of_the_grant_above_reaches_every_one_below(world: World) -> None:
    above = agent(world, "admin", "reader", commands=["*"], effects=ALL)
    below = child(world, above)
    assert world.call(above, "message.list").ok
    assert world.call(below, "team.add", team="crew", user="bob").status == "pending"


def test_a_dry_run_is_charged_audited_and_taints(world: World) -> None:
    peeping = agent(world, "admin", "reader", commands=["*"], effects=["write"], budget=2)
    for number in range(2):
        assert world.plan(peeping, "team.create", name=f"t{number}").ok
    assert not world.do("admin", "grant.show", grant=peeping.grant_id)["tainted"], "only its own words"
    used_up = world.plan(peeping, "team.create", name="t")
    assert used_up.error is not None and used_up.error.code == "grant_used_up"
    shown = agent(world, "admin", "other", commands=["*"], effects=["write"])
    assert world.plan(shown, "task.set", task=world.ids["task"], title="s").ok
    assert world.do("admin", "grant.show", grant=shown.grant_id)["tainted"], "it was shown a row"
    rows = world.do("admin", "audit.list", outcome="dry_run")["items"]
    assert [row["command"] for row in rows] == ["task.set", "team.create", "team.create"]
    refused = world.plan("ana", "department.set", department="sales", name="x")
    assert refused.error is not None and refused.error.status == 403
    assert world.do("admin", "audit.list", outcome="denied")["items"][0]["actor"] == world.ids["ana"]


def test_an_agent_cannot_flood_its_person_with_questions(world: World) -> None:
    flooder = agent(world, "admin", "reader", commands=["*"], effects=ALL)
    below = child(world, flooder)
    for number in range(OPEN_MAX):
        asked = world.call(flooder if number % 2 else below, "key.revoke", key=f"nothing{number}")
        assert asked.status == "pending", asked
    same = world.call(flooder, "key.revoke", key="nothing1")
    assert same.status == "pending" and same.data is not None
    for one in (flooder, below, child(world, flooder)):
        refused = world.call(one, "key.revoke", key="one more")
        assert refused.error is not None and refused.error.code == "too_many_questions", refused
    assert world.do("admin", "audit.list", outcome="denied")["items"][0]["command"] == "key.revoke"
    world.do("admin", "gate.deny", gate=same.data["gate"])
    assert world.call(below, "key.revoke", key="one more").status == "pending"
    person = agent(world, "ana", "other", commands=["*"], effects=ALL)
    assert world.call(person, "key.revoke", key="ana").status == "pending", "others ask on"


@pytest.mark.parametrize("named", ["id", "name"])
def test_a_policy_on_an_agents_id_holds_for_its_name(world: World, named: str) -> None:
    helper = world.do("admin", "agent.list")["items"][0]
    forbid = f'@id("mine") forbid (principal, action, resource == Agent::"{helper["id"]}");'
    world.do("admin", "policy.apply", text=f"permit (principal, action, resource); {forbid}")
    refused = world.call("admin", "agent.stop", agent=helper[named])
    assert refused.error is not None and refused.error.code == "policy_denied"


def test_a_policy_on_a_channel_holds_for_its_threads_and_talks(world: World) -> None:
    channel = world.do("admin", "channel.show", channel="launch")["id"]
    sent = world.do("ana", "message.send", text="x", to="admin")
    forbid = "".join(
        f'@id("c{place}") forbid (principal, action in Action::"message", resource == Channel::"{id}");'
        for place, id in enumerate((channel, sent["channel"]))
    )
    world.do("admin", "policy.apply", text=f"permit (principal, action, resource); {forbid}")
    for where in ({"thread": world.ids["message"]}, {"channel": "launch"}, {"channel": channel}):
        for by, name, more in (("admin", "message.send", {"text": "x"}), ("ana", "message.list", {})):
            refused = world.call(by, name, **where, **more)
            assert refused.error is not None and refused.error.code == "policy_denied", (name, where, refused)
    for raw in ({"to": "admin"}, {"to": world.people["admin"].user_id}):
        refused = world.call("ana", "message.send", text="x", **raw)
        assert refused.error is not None and refused.error.code == "policy_denied", raw
    assert world.call("ana", "message.list", person="admin").error is not None


def test_questions_are_not_lost_in_the_chain(world: World) -> None:
    with world.database.read("hub") as connection:
        assert audit.verify(connection, "hub", world.people["admin"].org_id).faults == ()
