"""The door against the reference model, and what a refusal leaves behind."""

from collections.abc import Callable

import pytest

from tests.work.fuzz import fuzz
from tests.work.world import World


def test_the_door_agrees_with_the_reference_model() -> None:
    found = fuzz(500, 20261122)
    assert found.holds, [*found.disagreements[:3], *found.leaks[:3]]
    assert found.cases == 500 and found.reads > 400
    assert all(found.verdicts.get(verdict) for verdict in ("allow", "ask", "deny"))


@pytest.mark.slow
@pytest.mark.postgres
def test_the_door_agrees_on_postgresql(new_postgres: Callable[[], str]) -> None:
    found = fuzz(1000, 7, database_url=new_postgres())
    assert found.holds, [*found.disagreements[:3], *found.leaks[:3]]


def test_an_agent_sees_what_its_person_sees(world: World) -> None:
    made = world.do("ana", "agent.create", name="eyes")
    assert made["user"] == "ana"
    lent = world.do("ana", "grant.create", agent="eyes", commands=["*"], effects=["read"])
    with world.database.read("hub") as connection:
        from tokenhub.identity.keys import authenticate

        agent = authenticate(connection, lent["key"])
    for name in ("task.list", "doc.list", "message.list", "file.list", "request.list", "channel.list"):
        assert world.call(agent, name).data == world.call("ana", name).data, name
    assert world.call(agent, "task.create", title="x").error is not None


def test_nothing_of_another_organisation_can_be_touched(world: World) -> None:
    for name, raw in (
        ("task.show", {"task": "{task}"}),
        ("task.set", {"task": "{task}", "title": "mine"}),
        ("doc.show", {"doc": "{doc}"}),
        ("doc.edit", {"doc": "{doc}", "content": "mine"}),
        ("file.get", {"file": "{file}"}),
        ("message.show", {"message": "{message}"}),
        ("request.approve", {"request": "{request}"}),
        ("department.show", {"department": "{dept}"}),
        ("grant.revoke", {"grant": "{grant}"}),
        ("gate.approve", {"gate": "{gate}"}),
        ("gate.answer", {"approve": ["{gate}"]}),
        ("audit.undo", {"audit": "{undoable}"}),
        ("user.disable", {"user": "ana"}),
    ):
        refused = world.call("eve", name, **world.filled(raw))
        assert refused.error is not None and refused.error.status in (403, 404), (name, refused)


def test_a_person_sees_nothing_that_is_not_theirs(world: World) -> None:
    assert world.call("bob", "task.show", task=world.ids["task"]).error.code == "task_not_found"  # type: ignore[union-attr]
    assert world.call("bob", "doc.show", doc=world.ids["doc"]).error.code == "doc_not_found"  # type: ignore[union-attr]
    assert world.call("bob", "message.list").data["items"] == []  # type: ignore[index]
    world.do("admin", "doc.share", doc=world.ids["doc"], user="bob")
    assert world.do("bob", "doc.show", doc="Plan")["content"] == "SECRETWORD plan"
    refused = world.call("bob", "doc.edit", doc="Plan", content="mine")
    assert refused.error is not None and refused.error.status == 403
    assert {item["kind"] for item in world.do("bob", "notice.list")["items"]} >= {"shared"}


def test_a_search_finds_what_its_caller_sees_and_no_more(world: World) -> None:
    found = {
        one: {item["kind"] for item in world.do(one, "work.search", text="secretword")["items"]}
        for one in ("admin", "ana", "bob", "eve")
    }
    assert found == {"admin": {"message", "doc"}, "ana": {"message"}, "bob": set(), "eve": set()}
    assert not world.do("admin", "work.search", text="%_")["items"], "no wildcards"
