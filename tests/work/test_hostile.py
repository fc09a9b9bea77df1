"""What somebody tries who wants more than they may: each of these once worked."""

import base64

import pytest
from sqlalchemy import insert, select

from tests.work.world import World
from tokenhub.commands.tables import audit as audits
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Unauthenticated

hub_audit = audits["hub"]


def agent(world: World, by: str, name: str, **grant: object) -> Principal:
    world.do(by, "agent.create", name=name)
    made = world.do(by, "grant.create", agent=name, **grant)
    with world.database.read("hub") as connection:
        return authenticate(connection, made["key"])


def test_undo_keeps_content_that_another_file_has(world: World) -> None:
    same = base64.b64encode(b"same bytes").decode()
    world.do("ana", "file.put", name="a.txt", content_base64=same)
    first = world.ids["last"]
    world.do("bob", "file.put", name="b.txt", content_base64=same)
    world.do("ana", "audit.undo", audit=first)
    assert world.do("bob", "file.get", file="b.txt")["content_base64"] == same


def test_an_undo_of_an_undo_needs_the_permission_of_the_first_command(world: World) -> None:
    task = world.do("ana", "task.create", title="T1")["id"]
    world.do("ana", "task.set", task=task, title="T2")
    world.do("ana", "audit.undo", audit=world.ids["last"])
    undone = world.ids["last"]
    only_undo = agent(world, "ana", "undoer", commands=["audit.undo"], effects=["write"])
    refused = world.call(only_undo, "audit.undo", audit=undone)
    assert refused.error is not None and refused.error.status == 403
    assert world.do("ana", "task.show", task=task)["title"] == "T1"
    world.do("ana", "audit.undo", audit=undone)
    assert world.do("ana", "task.show", task=task)["title"] == "T2"


def test_no_agent_takes_a_stop_back(world: World) -> None:
    every = agent(world, "ana", "every", commands=["*"], effects=["read", "write"])
    stopped = agent(world, "ana", "stopped", commands=["*"], effects=["read", "write"])
    world.do("ana", "agent.stop", agent="stopped")
    refused = world.call(every, "audit.undo", audit=world.ids["last"])
    assert refused.error is not None and refused.error.status == 403
    still = world.call(stopped, "org.show")
    assert still.error is not None and still.error.code == "agent_stopped"


def test_revoking_a_grant_ends_the_keys_of_the_grants_below(world: World) -> None:
    above = agent(world, "ana", "above", commands=["*"], effects=["read", "write"])
    child = world.call(above, "grant.create", agent="above", commands=["*"])
    assert child.data is not None
    world.do("ana", "grant.revoke", grant=above.grant_id)
    with world.database.read("hub") as connection, pytest.raises(Unauthenticated):
        authenticate(connection, child.data["key"])


def test_a_bound_grant_does_not_stop_every_agent(world: World) -> None:
    agents = world.do("admin", "agent.list")["items"]
    helper = next(one["id"] for one in agents if one["name"] == "helper")
    bound = agent(world, "admin", "bound", commands=["agent.stop"], effects=["write"], resources=[helper])
    refused = world.call(bound, "agent.stop", agent="helper", all=True)
    assert refused.error is not None and refused.error.status == 400


def test_what_cannot_be_stored_is_the_callers_mistake(world: World) -> None:
    deep: dict[str, object] = {}
    for _ in range(300):
        deep = {"a": deep}
    for name, raw in (
        ("key.create", {"name": "x", "expires_in": "99999999999999d"}),
        ("grant.create", {"agent": "helper", "commands": ["*"], "expires_in": "99999999999999d"}),
        ("policy.why", {"command": "task.create", "arguments": deep}),
    ):
        refused = world.call("admin", name, **raw)
        assert refused.error is not None and refused.error.status == 400, (name, refused)


def test_nobody_takes_back_what_they_no_longer_see(world: World) -> None:
    task = world.do("admin", "task.create", title="P", project="launch")["id"]
    world.do("ana", "task.set", task=task, title="By ana")
    by_ana = world.ids["last"]
    world.do("admin", "team.remove", team="crew", user="ana")
    refused = world.call("ana", "audit.undo", audit=by_ana)
    assert refused.error is not None and refused.error.status == 403
    assert world.do("admin", "task.show", task=task)["title"] == "By ana"
    world.do("admin", "audit.undo", audit=by_ana)


def test_no_policy_hides_the_lockout_in_the_arguments(world: World) -> None:
    trap = 'forbid (principal, action == Action::"policy.apply", resource) when { !(context.args has text) || context.args.text != "" };'
    refused = world.call("admin", "policy.apply", text=f"permit (principal, action, resource); {trap}")
    again = world.call("admin", "policy.apply", text="permit (principal, action, resource);")
    assert refused.error is not None or again.error is None


def test_a_row_slipped_in_beside_the_chain_is_found(world: World) -> None:
    with world.database.write("hub") as connection:
        some = connection.execute(select(hub_audit).limit(1)).mappings().one()
        forged = {**some, "id": "audit_7ZZ", "seq": None, "hash": None, "undoes": None}
        connection.execute(insert(hub_audit).values(**forged))
    assert world.do("admin", "audit.verify")["holds"] is False


def test_many_things_called_like_an_id_do_not_hide_it(world: World) -> None:
    task = world.do("ana", "task.create", title="mine")["id"]
    for _ in range(51):
        world.do("bob", "task.create", title=task, assignee="ana")
    assert world.do("ana", "task.show", task=task)["title"] == "mine"


def test_a_number_that_no_database_holds_is_the_callers_mistake(world: World) -> None:
    refused = world.call("admin", "budget.create", scope="org", cap="9" * 30, name="q")
    assert refused.error is not None and refused.error.status == 400


def test_a_tainted_run_asks_before_it_writes_over_a_file_or_adds_a_person(world: World) -> None:
    reader = agent(world, "admin", "reader", commands=["*"], effects=["read", "write"])
    assert world.call(reader, "message.list").ok
    for name, raw in (
        ("file.put", {"name": "plan.txt", "content_base64": ""}),
        ("user.create", {"name": "evil", "role": "admin"}),
    ):
        assert world.call(reader, name, **raw).status == "pending", name
