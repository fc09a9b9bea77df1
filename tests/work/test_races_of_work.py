"""Two who decide, book, save, share, send or name the same at once: one after the other, never half."""

import base64
from collections import Counter

from sqlalchemy import func, select

from tests.work.racing import overtaken, together, told, whole
from tests.work.test_approvals import ask, kinds, states
from tests.work.world import World
from tokenhub.commands import Envelope
from tokenhub.db import outbox
from tokenhub.work.tables import blobs, file_versions, files


def of_request(request: str) -> str:
    return f"SELECT 1 FROM requests WHERE id = '{request}' FOR UPDATE"


def test_one_of_several_who_decide_at_once_is_enough(world: World) -> None:
    one = ask(world, ["any:bob+zoe", "all:admin"])
    answers = together(
        lambda: world.call("bob", "request.approve", request=one),
        lambda: world.call(
            "admin", "request.approve", request=one
        ),  # whose stage is not open yet, or just is
        lambda: world.call("bob", "request.approve", request=one),
    )
    assert Counter(map(told, (answers[0], answers[2]))) == {"success": 1, "permission_denied": 1}
    assert [state for _, _, state in states(world, "ana", one)][:2] == ["approved", "passed"]
    assert told(answers[1]) in ("success", "permission_denied", "request_not_found")
    whole(world)


def test_what_is_decided_and_withdrawn_at_once_is_one_of_both(world: World) -> None:
    """In the order in which they came: what was decided cannot be withdrawn, what was withdrawn not be decided."""
    for deed in ("approve", "reject", "return"):
        more = {"comment": "no"} if deed == "return" else {}
        for decided_first in (True, False):
            one = ask(world, ["bob"])
            calls = [
                lambda one=one, deed=deed, more=more: world.call(
                    "bob", f"request.{deed}", request=one, **more
                ),
                lambda one=one: world.call("ana", "request.withdraw", request=one),
            ]
            answers = overtaken(world, of_request(one), *(calls if decided_first else calls[::-1]))
            decided, withdrawn = answers if decided_first else answers[::-1]
            shown = world.do("ana", "request.show", request=one)
            assert (shown["state"] == "withdrawn") == withdrawn.ok, (deed, shown, answers)
            assert decided.ok != withdrawn.ok or (deed == "return" and withdrawn.ok), (deed, answers)
            assert not [step for step in shown["steps"] if step["state"] == "open"], shown
    whole(world)


def test_what_was_returned_is_handed_in_again_or_withdrawn(world: World) -> None:
    for withdrawn_first in (True, False):
        one = ask(world, ["bob"])
        world.do("bob", "request.return", request=one, comment="which?")
        calls = [
            lambda one=one: world.call("ana", "request.withdraw", request=one),
            lambda one=one: world.call("ana", "request.resubmit", request=one),
        ]
        answers = overtaken(world, of_request(one), *(calls if withdrawn_first else calls[::-1]))
        shown = world.do("ana", "request.show", request=one)
        assert shown["state"] == "withdrawn" and shown["ended_at_ms"], (shown, answers)
        assert not [step for step in shown["steps"] if step["state"] == "open"], shown
    whole(world)


def test_a_room_is_booked_by_one_of_two(world: World) -> None:
    def book(start: str) -> Envelope:
        return world.call("ana", "event.create", title=start, start=start, length="1h", room="attic")

    for day in (1, 2, 3):
        answers = together(
            *(lambda at=at: book(f"2027-03-0{day}T{at}") for at in ("10:00", "10:30", "10:59", "11:00"))
        )
        good = {(answer.data or {})["title"][-5:] for answer in answers if answer.ok}
        assert good and {told(answer) for answer in answers} <= {"success", "room_taken"}, answers
        assert good in ({"10:00", "11:00"}, {"10:30"}, {"10:59"}), good
    whole(world)


def test_one_of_two_who_save_the_same_version_is_told(world: World) -> None:
    doc = world.ids["doc"]
    answers = overtaken(
        world,
        f"SELECT 1 FROM docs WHERE id = '{doc}' FOR UPDATE",
        lambda: world.call("admin", "doc.edit", doc=doc, content="one", base=1),
        lambda: world.call("admin", "doc.edit", doc=doc, content="two", base=1),
    )
    codes = sorted(map(told, answers))
    assert codes == ["outdated", "success"], answers
    shown = world.do("admin", "doc.show", doc=doc)
    assert (shown["version"], shown["content"]) == (2, "one" if answers[0].ok else "two")
    without = overtaken(
        world,
        f"SELECT 1 FROM docs WHERE id = '{doc}' FOR UPDATE",
        lambda: world.call("admin", "doc.edit", doc=doc, content="three"),
        lambda: world.call("admin", "doc.edit", doc=doc, content="four"),
    )
    assert all(answer.ok for answer in without), without
    assert world.do("admin", "doc.show", doc=doc)["version"] == 4
    whole(world)


def test_the_last_of_a_content_goes_only_if_nobody_came_to_need_it(world: World) -> None:
    content = base64.b64encode(b"the very same").decode()
    made = world.do("admin", "file.put", name="mine.txt", content_base64=content)
    last = world.ids["last"]
    answers = overtaken(
        world,
        "SELECT 1 FROM blobs FOR UPDATE",
        lambda: world.call("admin", "audit.undo", audit=last),
        lambda: world.call("bob", "file.put", name="his.txt", content_base64=content),
        lambda: world.call("admin", "file.share", file=made["id"], user="ana"),
    )
    assert answers[1].ok, answers
    with world.database.read("hub") as connection:
        lost = (
            select(func.count())
            .select_from(files.join(file_versions, file_versions.c.file_id == files.c.id))
            .outerjoin(blobs, (blobs.c.sha256 == file_versions.c.sha256) & (blobs.c.org_id == files.c.org_id))
            .where(blobs.c.sha256.is_(None))
        )
        assert connection.execute(lost).scalar_one() == 0
    assert world.do("bob", "file.get", file="his.txt")["content_base64"] == content
    shared = world.call("ana", "file.get", file=made["id"])
    undone = told(answers[0])
    assert undone in ("success", "changed_since") and shared.ok == (undone != "success"), (answers, shared)
    whole(world)


def test_a_letter_is_sent_or_withdrawn(world: World) -> None:
    for number in range(3):
        letter = world.do("admin", "hook.send", hook="chat", text=f"{number}")["id"]
        with world.database.read("hub") as connection:
            found = outbox.listing(connection, outbox.named(letter), states=(), after=None, limit=1)[0]

        def send(letter: str = letter, at_ms: int = found.send_at_ms) -> Envelope:
            with world.database.write("hub") as connection:
                claimed = outbox.claim(connection, runner="one", at_ms=at_ms + number)
            return Envelope("success" if claimed is not None and claimed.id == letter else "failure")

        with world.database.write("hub") as connection:  # what is older is not in the way
            outbox.withdraw(
                connection, outbox.of_actor(found.org_id, None) & (~outbox.named(letter)), at_ms=1
            )
        lock = f"SELECT 1 FROM outbox WHERE id = '{letter}' FOR UPDATE"
        calls = [lambda letter=letter: world.call("admin", "outbox.unsend", letter=letter), send]
        answers = overtaken(world, lock, *(calls if number % 2 else calls[::-1]))
        unsent, sent = answers if number % 2 else answers[::-1]
        state = world.do("admin", "outbox.show", letter=letter)["state"]
        assert (unsent.ok, sent.status == "success") in ((True, False), (False, True)), answers
        assert state == ("withdrawn" if unsent.ok else "sending")
    whole(world)


def test_what_waits_is_undone_or_carried_out(world: World) -> None:
    sent = 0
    for undo_first in (True, False):
        with world.database.write("hub") as connection:
            outbox.withdraw(connection, outbox.of_actor(world.people["admin"].org_id, None), at_ms=1)
        world.do(
            "admin",
            "hook.create",
            name=f"mine{undo_first}",
            url="https://a.example.org/x",
            kinds=["assigned"],
        )
        world.do("bob", "task.create", title="For admin", assignee="admin")
        undoable = world.ids["last"]

        def carry() -> Envelope:
            with world.database.write("hub") as connection:
                claimed = outbox.claim(connection, runner="one", at_ms=99_999_999_999_999)
            return Envelope("success" if claimed is not None else "failure")

        calls = [lambda undoable=undoable: world.call("bob", "audit.undo", audit=undoable), carry]
        answers = overtaken(
            world,
            "SELECT 1 FROM outbox WHERE state = 'waiting' FOR UPDATE",
            *(calls if undo_first else calls[::-1]),
        )
        undone, carried = answers if undo_first else answers[::-1]
        assert undone.ok, undone
        sent += carried.status == "success"
        left = Counter(item["state"] for item in world.do("bob", "outbox.list")["items"])
        assert (left["sending"], left["waiting"]) == (sent, 0), (left, answers)
    whole(world)


def test_names_that_are_taken_at_the_same_moment_are_refused_in_words(world: World) -> None:
    for command, raw in (
        ("room.create", {"name": "same", "capacity": 1}),
        ("team.create", {"name": "same"}),
        ("user.create", {"name": "same"}),
        ("agent.create", {"name": "same"}),
        ("channel.create", {"name": "same", "members": ["ana"]}),
    ):
        answers = overtaken(
            world,
            "SELECT 1 FROM audit_head FOR UPDATE",
            *(lambda command=command, raw=raw: world.run("admin", command, raw) for _ in range(2)),
        )
        assert sorted(map(told, answers)) == ["name_taken", "success"], (command, answers)
    whole(world)


def test_notices_of_a_decision_are_told_once(world: World) -> None:
    one = ask(world, ["all:bob,admin"])
    before = kinds(world, "ana").count("decided")
    together(
        lambda: world.call("bob", "request.approve", request=one),
        lambda: world.call("admin", "request.approve", request=one),
    )
    assert kinds(world, "ana").count("decided") == before + 1
