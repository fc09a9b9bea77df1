"""Who may take what back, and what came later that stands in the way."""

import base64
from typing import Any

import pytest

from tests.work.test_hostile import agent
from tests.work.test_undo import rows
from tests.work.world import SAMPLES, World
from tokenhub.bootstrap.commands import registry
from tokenhub.identity.keys import authenticate


def second(world: World, role: str) -> None:
    """Another administrator, by role."""
    world.do("admin", "user.create", name="second", role=role)
    made = world.do("admin", "key.create", name="second", user="second", scopes=["admin"])
    with world.database.read("hub") as connection:
        world.people["second"] = authenticate(connection, made["key"])


@pytest.mark.parametrize(
    ("command", "raw"),
    [
        ("user.create", {"name": "boss", "role": "owner"}),
        ("user.disable", {"user": "boss"}),
        ("service-account.create", {"name": "robot2", "role": "owner"}),
    ],
)
def test_nobody_takes_back_what_their_role_may_not_do(
    world: World, command: str, raw: dict[str, Any]
) -> None:
    second(world, "admin")
    if command == "user.disable":
        world.do("admin", "user.create", name="boss", role="owner")
    assert _status(world.plan("second", command, **raw)) == 403
    world.do("admin", command, **raw)
    done, before = world.ids["last"], rows(world, "hub")
    assert _status(world.call("second", "audit.undo", audit=done)) == 403
    assert rows(world, "hub") == before
    world.do("admin", "audit.undo", audit=done)
    assert _status(world.call("second", "audit.undo", audit=world.ids["last"])) == 403, "nor again"


def test_an_undo_is_decided_as_running_is(world: World) -> None:
    """Of every write that an owner does, another administrator takes back exactly what they could have done."""
    second(world, "admin")
    could, could_not = 0, 0
    for declared in registry():
        if declared.effect != "write" or declared.undo != "rows":
            continue
        if declared.name in ("audit.undo", "policy.apply"):
            continue
        raw = world.filled(SAMPLES[declared.name])
        may = world.plan("second", declared.name, **raw).error is None
        done = world.call("admin", declared.name, **raw)
        assert done.audit_id, (declared.name, done)
        undone = world.call("second", "audit.undo", audit=done.audit_id)
        assert undone.ok is may, (declared.name, may, undone)
        if may:
            could += 1
            world.do("second", "audit.undo", audit=undone.audit_id)  # done again, and so on
            undone = world.call("admin", "audit.undo", audit=world.ids["last"])
        else:
            could_not += 1
            assert undone.error is not None and undone.error.status == 403, (declared.name, undone)
            undone = world.call("admin", "audit.undo", audit=done.audit_id)
        assert undone.ok, (declared.name, undone)
    assert could > 15 and could_not > 10, (could, could_not)


def test_a_policy_on_what_was_removed_holds_for_its_undo(world: World) -> None:
    doc = world.ids["doc"]
    world.do("admin", "doc.remove", doc="Plan")
    removed = world.ids["last"]
    forbid = f'@id("plan") forbid (principal, action == Action::"doc.remove", resource == Doc::"{doc}");'
    world.do("admin", "policy.apply", text=f"permit (principal, action, resource); {forbid}")
    assert _status(world.call("admin", "audit.undo", audit=removed)) == 403


def test_reading_a_notice_does_not_stop_the_undo_of_what_it_told(world: World) -> None:
    world.do("admin", "task.create", title="T", assignee="ana")
    made = world.ids["last"]
    world.do("ana", "notice.read")
    read = world.ids["last"]
    world.do("admin", "audit.undo", audit=made)
    world.do("ana", "audit.undo", audit=read)
    assert all(item["text"] != "T" for item in world.do("ana", "notice.list")["items"])


def test_a_later_change_of_something_else_does_not_stop_an_undo(world: World) -> None:
    task = world.ids["task"]
    world.do("admin", "task.set", task=task, title="Second title")
    titled = world.ids["last"]
    world.do("admin", "task.set", task=task, priority=1)
    last = world.do("admin", "task.show", task=task)["updated_at_ms"]
    world.do("admin", "audit.undo", audit=titled)
    shown = world.do("admin", "task.show", task=task)
    assert (shown["title"], shown["priority"]) == ("Write the report", 1)
    assert shown["updated_at_ms"] == last, "that somebody came by stays noted"


def test_a_later_change_of_the_same_stops_it(world: World) -> None:
    task = world.ids["task"]
    world.do("admin", "task.set", task=task, title="Second title")
    titled = world.ids["last"]
    world.do("admin", "task.set", task=task, title="Third title")
    assert _code(world.call("admin", "audit.undo", audit=titled)) == "changed_since"
    made = world.do("admin", "task.create", title="New")["id"]
    created = world.ids["last"]
    world.do("admin", "task.comment", task=made, text="hm")
    assert _code(world.call("admin", "audit.undo", audit=created)) == "changed_since", "a comment hangs on it"
    world.do("admin", "audit.undo", audit=world.ids["last"])
    world.do("admin", "audit.undo", audit=created)


def test_whoever_left_a_channel_does_not_stop_its_undo(world: World) -> None:
    world.do("admin", "channel.create", name="new", members=["ana", "bob"])
    made = world.ids["last"]
    world.do("ana", "channel.leave", channel="new")
    world.do("admin", "audit.undo", audit=made)
    assert _status(world.call("admin", "channel.show", channel="new")) == 404


def test_a_colleague_who_is_gone_does_not_stop_the_undo(world: World) -> None:
    world.do("admin", "task.create", title="T", assignee="zoe")
    made = world.ids["last"]
    world.do("admin", "user.disable", user="zoe")
    world.do("admin", "audit.undo", audit=made)


def test_an_agent_takes_back_no_more_than_it_may_do(world: World) -> None:
    world.do("ana", "file.put", name="mine.txt", content_base64=base64.b64encode(b"x").decode())
    only = agent(world, "ana", "undoer", commands=["audit.undo", "task.*"], effects=["write"])
    assert _status(world.call(only, "audit.undo", audit=world.ids["last"])) == 403


def _status(envelope: Any) -> int:
    assert envelope.error is not None, envelope
    return envelope.error.status


def _code(envelope: Any) -> str:
    assert envelope.error is not None, envelope
    return envelope.error.code
