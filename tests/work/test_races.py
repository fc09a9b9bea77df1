"""Two at once at the one door: whatever happens is what would have happened one after the other."""

import threading
from collections import Counter

import psycopg
import pytest

from tests.work.racing import overtaken, together, told, trail, whole
from tests.work.world import World
from tokenhub.commands import Envelope
from tokenhub.config import Settings
from tokenhub.identity.grants import chain
from tokenhub.identity.keys import authenticate


def of_task(world: World) -> str:
    return f"SELECT 1 FROM tasks WHERE id = '{world.ids['task']}' FOR UPDATE"


def test_one_key_is_one_deed_for_one_caller_and_nobody_elses(world: World) -> None:
    def make(who: str, title: str) -> Envelope:
        return world.run(who, "task.create", {"title": title}, idempotency_key="the-key")

    answers = together(
        *(lambda: make("ana", "hers") for _ in range(3)), *(lambda: make("bob", "his") for _ in range(3))
    )
    assert all(answer.ok for answer in answers), answers
    for who, mine, title in (("ana", answers[:3], "hers"), ("bob", answers[3:], "his")):
        assert {(answer.data or {})["title"] for answer in mine} == {title}
        assert len({(answer.data or {})["id"] for answer in mine}) == 1
        assert sorted(answer.replayed for answer in mine) == [False, True, True]
        assert (
            len([item for item in world.do(who, "task.list", limit=100)["items"] if item["title"] == title])
            == 1
        )
    other = together(*(lambda title=title: make("admin", title) for title in ("one", "two", "three")))
    assert sorted(map(told, other)) == ["idempotency_key_conflict"] * 2 + ["success"]
    whole(world)


def test_what_failed_leaves_its_key_to_the_next(world: World) -> None:
    lock = "SELECT 1 FROM audit_head FOR UPDATE"
    answers = overtaken(
        world,
        lock,
        lambda: world.run("admin", "user.disable", {"user": "nobody"}, idempotency_key="k"),
        lambda: world.run("admin", "task.create", {"title": "fine"}, idempotency_key="k"),
    )
    assert told(answers[0]) in ("user_not_found", "idempotency_key_conflict") and answers[1].ok, answers
    whole(world)


def test_the_same_is_undone_once(world: World) -> None:
    world.do("admin", "task.set", task=world.ids["task"], title="Other")
    last = world.ids["last"]
    answers = overtaken(
        world, of_task(world), *(lambda: world.call("admin", "audit.undo", audit=last) for _ in range(3))
    )
    assert Counter(map(told, answers)) == {"success": 1, "already_undone": 2}, answers
    assert world.do("admin", "task.show", task=world.ids["task"])["title"] == "Write the report"
    undo = next(answer.audit_id for answer in answers if answer.ok)
    again = together(*(lambda: world.call("admin", "audit.undo", audit=undo) for _ in range(3)))
    assert Counter(map(told, again)) == {"success": 1, "already_undone": 2}, again
    assert world.do("admin", "task.show", task=world.ids["task"])["title"] == "Other"
    whole(world)


def test_an_undo_and_a_newer_change_do_not_mix(world: World) -> None:
    for first in (0, 1):
        world.do("admin", "task.set", task=world.ids["task"], title="Before", priority=3)
        world.do("admin", "task.set", task=world.ids["task"], title="Wrong", priority=1)
        last = world.ids["last"]
        calls = [
            lambda last=last: world.call("admin", "audit.undo", audit=last),
            lambda: world.call("admin", "task.set", task=world.ids["task"], title="Newer"),
        ]
        answers = overtaken(world, of_task(world), *(calls if first == 0 else calls[::-1]))
        undo, newer = answers if first == 0 else answers[::-1]
        shown = world.do("admin", "task.show", task=world.ids["task"])
        assert newer.ok and shown["title"] == "Newer", (undo, newer)
        # Either the undo came first, whole, or it was refused, whole.
        assert (shown["priority"] == 1) == (told(undo) == "changed_since"), (shown, undo)
    whole(world)


def test_two_changes_of_one_row_are_undone_in_one_order_only(world: World) -> None:
    task = world.ids["task"]
    world.do("admin", "task.set", task=task, title="A")
    first = world.ids["last"]
    world.do("admin", "task.set", task=task, title="B")
    second = world.ids["last"]
    answers = overtaken(
        world,
        of_task(world),
        lambda: world.call("admin", "audit.undo", audit=first),
        lambda: world.call("admin", "audit.undo", audit=second),
    )
    title = world.do("admin", "task.show", task=task)["title"]
    assert told(answers[1]) == "success"
    assert (told(answers[0]), title) in (("changed_since", "A"), ("success", "Write the report"))
    whole(world)


def test_a_question_has_one_answer(world: World) -> None:
    gate = world.ids["gate"]
    answers = overtaken(
        world,
        f"SELECT 1 FROM gates WHERE id = '{gate}' FOR UPDATE",
        lambda: world.call("admin", "gate.approve", gate=gate),
        lambda: world.call("admin", "gate.deny", gate=gate),
        lambda: world.call("admin", "gate.answer", deny=[gate]),
    )
    assert sorted(map(told, answers)) == ["gate_decided", "gate_decided", "success"], answers
    state = world.do("admin", "gate.show", gate=gate)["state"]
    assert state == ("approved" if answers[0].ok else "denied")
    whole(world)


def test_a_yes_is_used_once(world: World) -> None:
    world.do("admin", "gate.approve", gate=world.ids["asked_by_run"])
    key = world.ids["turned"]
    answers = together(*(lambda: world.call("agent", "key.revoke", key=key) for _ in range(3)))
    assert [told(answer) for answer in answers].count("success") == 1, answers
    assert {told(answer) for answer in answers} <= {"success", "pending", "gate_used"}, answers
    assert len(trail(world, "key.revoke")) >= 1
    assert trail(world, "key.revoke").count(("key.revoke", "success")) == 1
    whole(world)


def test_questions_answered_in_two_orders_do_not_lock_each_other_out(world: World) -> None:
    gates = [world.ids["gate"], world.ids["asked_by_run"]]
    for _ in range(3):
        for answer in together(
            lambda: world.call("admin", "gate.answer", deny=gates),
            lambda: world.call("admin", "gate.answer", approve=gates[::-1]),
        ):
            assert told(answer) in ("success", "gate_decided"), answer
    whole(world)


def test_a_command_that_was_locked_out_says_try_again(world: World, settings: Settings) -> None:
    """The hub's own work holds the second row and wants the first, which the command holds."""
    if not settings.database_url:
        pytest.skip("on SQLite a writer is alone")
    one, two = world.ids["gate"], world.ids["asked_by_run"]
    before = world.do("admin", "gate.list", state="")["items"]
    lock = "SELECT 1 FROM hub.gates WHERE id = '{}' FOR UPDATE"
    answers: list[Envelope] = []
    with psycopg.connect(settings.database_url) as other:
        other.execute("SET deadlock_timeout = '60s'")  # so that it is the command that is ended
        other.execute(lock.format(two).encode())
        thread = threading.Thread(
            target=lambda: answers.append(world.call("admin", "gate.answer", deny=[one, two]))
        )
        thread.start()
        with psycopg.connect(settings.database_url, autocommit=True) as eye:
            while not eye.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                pass
        other.execute(lock.format(one).encode())
        thread.join()
    assert told(answers[0]) == "changed_meanwhile" and answers[0].error is not None
    assert answers[0].error.status == 409, answers
    assert world.do("admin", "gate.list", state="")["items"] == before
    assert world.call("admin", "gate.answer", deny=[one, two]).ok
    whole(world)


def test_nothing_of_an_agent_comes_after_its_stop_or_its_revocation(world: World) -> None:
    for deed, raw in (
        ("agent.stop", {"agent": "helper"}),
        ("grant.revoke", {"grant": world.ids["grant"]}),
    ):
        answers = overtaken(
            world,
            of_task(world),
            lambda: world.call("agent", "task.set", task=world.ids["task"], priority=2),
            lambda deed=deed, raw=raw: world.call("admin", deed, **raw),
        )
        assert answers[1].ok, answers
        rows = trail(world, "task.set", deed)
        assert rows.index((deed, "success")) == len(rows) - 1 or rows[-1][1] == "denied", rows
        if deed == "agent.stop":
            world.do("admin", "agent.resume", agent="helper")
    whole(world)


def test_a_policy_counts_from_its_place_in_the_trail(world: World) -> None:
    nobody = '@id("none") forbid (principal, action == Action::"task.set", resource);\npermit (principal, action, resource);'
    answers = overtaken(
        world,
        of_task(world),
        lambda: world.call("ana", "task.set", task=world.ids["task"], priority=2),
        lambda: world.call("admin", "policy.apply", text=nobody),
    )
    assert answers[1].ok, answers
    rows = trail(world, "task.set", "policy.apply")
    assert rows[-1] in (("policy.apply", "success"), ("task.set", "denied")), rows
    whole(world)


def test_a_key_that_waits_outlives_no_revocation(world: World) -> None:
    """The grant ends while the call waits for its idempotency key."""
    lock = (
        "INSERT INTO idempotency (actor, key, command, body_hash, answer, created_at_ms) VALUES"
        f" ('{world.people['agent'].org_id}/{world.people['agent'].actor}/{world.ids['grant']}', 'k', '', '', '{{}}',"
        " 9999999999999)"
    )
    answers = overtaken(
        world,
        lock,
        lambda: world.run("agent", "task.create", {"title": "late"}, idempotency_key="k"),
        lambda: world.call("admin", "grant.revoke", grant=world.ids["grant"]),
    )
    assert answers[1].ok
    rows = trail(world, "task.create", "grant.revoke")
    rows = rows[next(place for place, row in enumerate(rows) if row[0] == "grant.revoke") :]
    assert ("task.create", "success") not in rows, rows
    whole(world)


def test_an_agent_is_told_nothing_after_its_stop(world: World) -> None:
    answers = overtaken(
        world,
        f"SELECT 1 FROM grants WHERE id = '{world.ids['grant']}' FOR UPDATE",
        lambda: world.call("agent", "task.list"),
        lambda: world.call("admin", "agent.stop", agent="helper"),
    )
    assert answers[1].ok
    rows = trail(world, "task.list", "agent.stop")
    assert rows[-1] in (("agent.stop", "success"), ("task.list", "denied")), rows
    whole(world)


def test_children_take_no_more_than_the_grant_above_has(world: World) -> None:
    above = world.do(
        "admin", "grant.create", agent="helper", commands=["*"], effects=["read", "write"], budget=7
    )
    lent = {"agent": "helper", "commands": ["*"], "effects": ["read", "write"], "parent": above["id"]}
    keys = [world.do("admin", "grant.create", **lent)["key"] for _ in range(4)]
    with world.database.read("hub") as connection:
        agents = [authenticate(connection, key) for key in keys]
    answers = together(
        *(
            lambda one=one, n=n: world.call(one, "task.create", title=f"{n}")
            for one in agents
            for n in range(3)
        )
    )
    counted = Counter(map(told, answers))
    assert counted == {"success": 7, "grant_used_up": 5}, counted
    with world.database.read("hub") as connection:
        assert chain(connection, above["id"])[0].cost_used == 7
    whole(world)


def test_whoever_was_let_in_before_their_key_ended_does_nothing_after(world: World) -> None:
    """The key was read at the door of HTTP; the command comes to its turn a moment later."""
    for deed, raw, who in (
        ("user.disable", {"user": "bob"}, "bob"),
        ("key.revoke", {"key": world.people["ana"].key_id}, "ana"),
    ):
        answers = overtaken(
            world,
            "SELECT 1 FROM audit_head FOR UPDATE",
            lambda deed=deed, raw=raw: world.call("admin", deed, **raw),
            lambda who=who: world.call(who, "task.create", title="late"),
        )
        assert answers[0].ok, answers
        rows = trail(world, deed, "task.create")
        assert ("task.create", "success") not in rows[-rows[::-1].index((deed, "success")) - 1 :], rows
        for name, more in (("task.create", {"title": "later"}), ("task.list", {})):
            refused = world.call(who, name, **more)
            assert refused.error is not None and refused.error.status == 401, (name, refused)
    whole(world)


def test_a_yes_helps_nobody_whose_grant_ended_meanwhile(world: World) -> None:
    gate, grant = world.ids["asked_by_run"], world.ids["grant"]
    answers = overtaken(
        world,
        f"SELECT 1 FROM gates WHERE id = '{gate}' FOR UPDATE",
        lambda: world.call("admin", "gate.approve", gate=gate),
        lambda: world.call("admin", "agent.stop", agent="helper"),
        lambda: world.call("agent", "key.revoke", key=world.ids["turned"]),
    )
    assert answers[0].ok and answers[1].ok, answers
    done = answers[2].ok and answers[2].status == "success"
    rows = trail(world, "gate.approve", "agent.stop", "key.revoke")
    if done:  # only where it came in before the stop, and after the yes
        assert rows.index(("key.revoke", "success")) < rows.index(("agent.stop", "success")), rows
    assert told(world.call("agent", "key.revoke", key=world.ids["turned"])) == "agent_stopped"
    world.do("admin", "agent.resume", agent="helper")
    world.do("admin", "grant.revoke", grant=grant)
    assert told(world.call("agent", "key.revoke", key=world.ids["turned"])) == "grant_ended"
    whole(world)
