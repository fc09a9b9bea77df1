"""What colleagues, agents and models try: to learn of others' work, to widen themselves, to go on after a stop."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.scripted_agent import script
from tests.agents.conftest import Office
from tests.agents.mcp_servers import Scripted, scripted, text
from tests.agents.test_mcp_client import add, send
from tests.work.world import World
from tokenhub.identity import grants
from tokenhub.kernel.clock import now_ms


@pytest.fixture
def world(office: Office) -> World:
    return office.world


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
def url(server: Scripted) -> Iterator[str]:
    with scripted(server) as found:
        yield found


def requests_of(office: Office, who: str) -> list[str]:
    return [item["request"] for item in office.world.do(who, "agent.runs", limit=100)["items"]]


def test_a_schedule_is_told_only_what_its_person_may_know(office: Office) -> None:
    office.work()
    office.world.do("bob", "schedule.create", request="Tell me", event="*", model="scripted/agent")
    office.world.do("ana", "message.send", to="admin", text="my salary is 123456")
    office.world.do("ana", "message.send", to="admin", text="in the same channel: 123456")
    office.world.do("ana", "doc.create", title="plans", content="I leave, 123456")
    office.world.do("admin", "hook.create", name="all", url="https://chat.example.org/123456", everyone=True)
    office.work()
    assert not any("123456" in request for request in requests_of(office, "bob"))
    before = len(requests_of(office, "bob"))
    office.world.do("ana", "message.send", to="bob", text="lunch?")
    office.world.do("ana", "task.create", title="for bob", assignee="bob")
    office.world.do("bob", "task.create", title="my own")
    office.work()
    told = requests_of(office, "bob")
    assert len(told) == before + 3 and all("information that others wrote" in request for request in told)


def test_two_schedules_do_not_wake_each_other_for_ever(office: Office) -> None:
    office.work()
    for name in ("one", "two"):
        again = script([["task.create", {"title": name}]], "Done.")
        office.world.do("bob", "schedule.create", request=again, event="task.create", model="scripted/agent")
    office.world.do("bob", "task.create", title="start")
    office.work(times=30)
    assert len(requests_of(office, "bob")) == 2


def test_a_yes_is_for_the_thing_and_not_for_its_name(world: World) -> None:
    lent = world.people["agent"].grant_id
    assert lent is not None
    with world.database.write("hub") as connection:
        grants.taint(connection, grants.chain(connection, lent), at_ms=now_ms())
    put = {"name": "a.txt", "content_base64": base64.b64encode(b"public").decode()}
    world.do("admin", "file.put", **put)
    asked = world.call("agent", "file.share", file="a.txt", user="bob")
    assert asked.data is not None and asked.data["gate"]
    world.do("admin", "gate.approve", gate=asked.data["gate"])
    world.do("admin", "file.move", file="a.txt", name="old.txt")
    world.do("admin", "file.put", **{**put, "content_base64": base64.b64encode(b"secret").decode()})
    again = world.call("agent", "file.share", file="a.txt", user="bob")
    assert again.status == "pending" and again.data is not None and again.data["gate"] != asked.data["gate"]
    world.do("admin", "gate.approve", gate=again.data["gate"])
    assert world.call("agent", "file.share", file="a.txt", user="bob").status == "success"


@pytest.mark.parametrize("how", ["stop", "revoke"])
def test_a_call_that_waits_does_not_leave_after_a_stop(
    world: World, server: Scripted, url: str, how: str
) -> None:
    add(world, url)
    world.do("admin", "mcp.allow", name="out", effect="write", sinks=[])
    sent: list[Any] = []
    server.on_call = lambda _, params: (sent.append(params), text("done"))[1]
    call = world.call("agent", "mcp.out.act", to="x").data
    assert call is not None
    if how == "stop":
        world.do("admin", "agent.stop", agent="helper", reason="enough")
    else:
        world.do("admin", "grant.revoke", grant=world.people["agent"].grant_id)
    result = send(world, call["call"])
    assert result["state"] == "failed" and "stopped" in result["error"] and sent == []


def test_an_agent_does_not_undo_what_was_taken_away(world: World, url: str) -> None:
    add(world, url)
    world.do("admin", "mcp.allow", name="out")
    allowed = next(one for one in world.do("admin", "skill.list")["items"] if one["state"] == "allowed")
    for command, raw in (("mcp.forbid", {"name": "out"}), ("skill.deny", {"skill": allowed["name"]})):
        world.do("admin", command, **raw)
        refused = world.call("agent", "audit.undo", audit=world.ids["last"]).error
        assert refused is not None and refused.status == 403, command


def test_a_run_calls_a_tool_of_an_outside_server(office: Office, url: str) -> None:
    add(office.world, url)
    office.world.do("admin", "mcp.allow", name="out", effect="write")
    run = office.run(script([["mcp.out.act", {"to": "x"}]], "Done."), by="admin")
    assert run.state == "waiting", "the call leaves after a while"
    call = office.world.do("admin", "mcp.calls")["items"][0]
    send(office.world, call["call"])
    office.pass_time(60_000)
    office.work()
    run = office.look(run.id)
    assert (run.state, run.code) == ("done", "answered")
    assert [step.name for step in office.steps(run.id)][1] == "mcp.out.act"
    undo = office.world.call("admin", "agent.undo", run=run.id)
    assert undo.data is not None
    office.work()
    ended = office.look(undo.data["id"])
    assert (ended.state, ended.code) == (
        "failed",
        "undone_in_part",
    ) and "cannot be taken back" in ended.answer


def test_a_mind_that_is_not_there_is_refused(office: Office) -> None:
    refused = office.world.call("ana", "agent.run", request="x", model="scripted/agent", mind="none").error
    assert refused is not None and refused.param == "mind"


def test_a_yes_is_to_the_question_that_was_read(office: Office) -> None:
    keys = [{"key": office.world.ids["spare"]}, {"key": "{nokey}"}]
    run = office.run(script([["key.revoke", keys[1]]], [["key.revoke", keys[0]]], "Over."), by="admin")
    first = run.waits_for
    office.world.do("admin", "agent.approve", run=run.id)
    office.work()
    second = office.look(run.id).waits_for
    assert second.startswith("gate_") and second != first
    for stale in ({}, {"question": first}):
        told = office.world.call("admin", "agent.approve", run=run.id, **stale)
        assert told.error is not None and told.error.param == "question", told
    office.work()
    assert office.look(run.id).waits_for == second
    office.world.do("admin", "agent.approve", run=run.id, question=second)
    office.work()
    assert office.look(run.id).state == "done"
