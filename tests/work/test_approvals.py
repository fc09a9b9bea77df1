"""Routes with stages, deputies, signers, returns and deadlines."""

import threading
from datetime import UTC, datetime
from typing import Any

from tests.work.world import World
from tokenhub.bootstrap.commands import registry
from tokenhub.kernel.clock import now_ms
from tokenhub.work.clockwork import Clockwork

HOUR_MS = 3_600_000


class Later:
    """The machine's clock, moved on."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms


def states(world: World, by: str, request: str) -> list[tuple[int, str, str]]:
    shown = world.do(by, "request.show", request=request)
    return [(one["stage"], one["approver"], one["state"]) for one in shown["steps"]]


def ask(world: World, route: list[str], **more: Any) -> str:
    number = len(world.do("admin", "form.list", limit=500)["items"])
    world.do("admin", "form.create", name=f"f{number}", fields={"sum": "number"}, route=route, **more)
    return str(world.do("ana", "request.create", form=f"f{number}", values={"sum": 1})["id"])


def kinds(world: World, who: str) -> list[str]:
    return [item["kind"] for item in world.do(who, "notice.list", all=True)["items"]]


def test_one_of_several_suffices_or_all_have_to(world: World) -> None:
    one = ask(world, ["any:bob+zoe", "all:bob,admin"])
    assert states(world, "ana", one) == [
        (1, "bob", "open"),
        (1, "zoe", "open"),
        (2, "bob", "waiting"),
        (2, "admin", "waiting"),
    ]
    world.do("bob", "request.approve", request=one)
    assert states(world, "ana", one)[:2] == [(1, "bob", "approved"), (1, "zoe", "passed")]
    assert world.do("bob", "request.approve", request=one)["state"] == "open"
    assert world.do("admin", "request.approve", request=one)["state"] == "approved"
    two = ask(world, ["all:bob,admin"])
    assert world.do("bob", "request.reject", request=two)["state"] == "rejected", "one no is enough"
    assert world.call("admin", "request.approve", request=two).error is not None


def test_two_who_approve_together_leave_nothing_open(world: World) -> None:
    for _ in range(3):
        one = ask(world, ["all:bob,admin"])
        threads = [
            threading.Thread(target=world.do, args=(who, "request.approve"), kwargs={"request": one})
            for who in ("bob", "admin")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert world.do("ana", "request.show", request=one)["state"] == "approved"


def test_a_deputy_decides_while_somebody_is_away(world: World) -> None:
    one = ask(world, ["admin"])
    assert world.call("bob", "request.approve", request=one).error is not None
    away = world.do("admin", "absence.create", start="2026-11-01", end="2027-11-01", deputy="bob")
    assert one in [item["id"] for item in world.do("bob", "request.list", to_decide=True)["items"]]
    done = world.do("bob", "request.approve", request=one, comment="for the boss")
    assert (done["state"], done["steps"][0]["approver"], done["steps"][0]["decided_by"]) == (
        "approved",
        "admin",
        "bob",
    )
    two = ask(world, ["admin"])
    assert kinds(world, "bob")[0] == "to_decide"
    world.do("admin", "absence.end", absence=away["id"])
    assert world.call("bob", "request.approve", request=two).error is not None
    world.do("admin", "form.create", name="toadmin", fields={"sum": "number"}, route=["admin"])
    mine = world.do("bob", "request.create", form="toadmin", values={"sum": 1})
    assert mine["steps"][0]["approver"] == "admin"
    world.do("admin", "absence.create", start="2026-11-01", end="2027-11-01", deputy="bob")
    own = world.call("bob", "request.approve", request=mine["id"])
    assert own.error is not None and own.error.status == 403, "nobody decides their own, also not as a deputy"


def test_another_signer_with_me_or_after_me(world: World) -> None:
    one = ask(world, ["bob", "admin"])
    world.do("bob", "request.add-signer", request=one, user="zoe", after=True)
    assert states(world, "ana", one) == [(1, "bob", "open"), (2, "zoe", "waiting"), (3, "admin", "waiting")]
    two = ask(world, ["any:bob,admin"])
    world.do("bob", "request.add-signer", request=two, user="zoe")
    assert world.do("bob", "request.approve", request=two)["state"] == "open", (
        "the one who was brought in has to, too"
    )
    refused = world.call("ana", "request.add-signer", request=one, user="bob")
    assert refused.error is not None and refused.error.status == 403
    for user, status in (("ana", 403), ("eve", 404)):
        refused = world.call("bob", "request.add-signer", request=one, user=user)
        assert refused.error is not None and refused.error.status == status


def test_back_to_a_stage_or_to_the_requester(world: World) -> None:
    one = ask(world, ["bob", "admin"])
    world.do("bob", "request.approve", request=one)
    world.do("admin", "request.return", request=one, to=1, comment="the sum?")
    assert states(world, "ana", one) == [(1, "bob", "open"), (2, "admin", "waiting")]
    world.do("bob", "request.return", request=one, comment="mend it")
    assert world.do("ana", "request.show", request=one)["state"] == "returned"
    assert world.call("bob", "request.approve", request=one).error is not None
    assert world.call("ana", "request.resubmit", request=one, values={"sum": "much"}).error is not None
    again = world.do("ana", "request.resubmit", request=one, values={"sum": 2})
    assert (again["state"], again["values"]) == ("open", {"sum": 2})
    world.do("bob", "request.approve", request=one)
    assert world.do("admin", "request.approve", request=one)["state"] == "approved"


def test_a_deadline_passes_a_step_on_once(world: World) -> None:
    """ana's step is late: it goes to bob, who leads her department, then above him, at most three times."""
    world.do(
        "admin", "form.create", name="slow", fields={"sum": "number"}, route=["ana"], hours=2, escalate="lead"
    )
    one = world.do("admin", "request.create", form="slow", values={"sum": 1})["id"]
    clock = Later()
    many = [Clockwork(world.database, world.settings, registry(), clock=clock) for _ in range(2)]
    for each in many:
        each.run()
    assert states(world, "admin", one) == [(1, "ana", "open")]
    clock.ahead_ms = 3 * HOUR_MS
    threads = [threading.Thread(target=each.run) for each in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = world.do("admin", "request.show", request=one)["steps"][0]
    assert (shown["approver"], shown["escalations"]) == ("bob", 1)
    assert kinds(world, "ana").count("escalated") == 1
    audited = world.do("admin", "audit.list", command="request.escalate")["items"]
    assert [item["outcome"] for item in audited if item["outcome"] == "success"] == ["success"] * 2, (
        "this one and the world's"
    )
    for hours in (6, 9, 12, 15, 18):
        clock.ahead_ms = hours * HOUR_MS
        for each in many:
            each.run()
    assert world.do("admin", "request.show", request=one)["steps"][0]["escalations"] == 3
    assert world.call("bob", "request.show", request=one).error is None


def test_nothing_is_passed_on_before_its_time_or_by_strangers(world: World) -> None:
    one = ask(world, ["bob"], hours=2, escalate="admin")
    early = world.call("ana", "request.escalate", request=one)
    assert early.error is not None and early.error.code == "not_late"
    foreign = world.call("eve", "request.escalate", request=world.ids["late"])
    assert foreign.error is not None and foreign.error.status == 404


def test_reminders_come_once_and_before_each_instance(world: World) -> None:
    clock = Later()
    clockwork = Clockwork(world.database, world.settings, registry(), clock=clock)
    start = now_ms() + 2 * HOUR_MS
    text = datetime.fromtimestamp(start / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
    made = world.do(
        "ana",
        "event.create",
        title="Gym",
        start=text,
        people=["bob"],
        repeat="FREQ=DAILY;COUNT=3",
        remind="1h",
    )

    def reminded(who: str) -> int:
        return kinds(world, who).count("reminder")

    clockwork.run()
    assert reminded("bob") == 0
    clock.ahead_ms = HOUR_MS + 60_000
    clockwork.run()
    clockwork.run()
    assert (reminded("bob"), reminded("ana")) == (1, 1)
    clock.ahead_ms += 24 * HOUR_MS
    clockwork.run()
    assert reminded("bob") == 2
    world.do("ana", "event.cancel", event=made["id"])
    clock.ahead_ms += 24 * HOUR_MS
    clockwork.run()
    assert reminded("bob") == 2
