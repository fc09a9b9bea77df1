"""Reports: drafted from one's own work, read by whom they concern, missed in time."""

from datetime import UTC, datetime

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


def test_a_report_from_ones_own_work(world: World) -> None:
    fields = {"finished": "done", "next": "open", "met": "events", "trouble": "text"}
    world.do("admin", "report-form.create", name="w", fields=fields, due="fri 16:00")
    done = world.do("ana", "task.create", title="Wrote the offer", assignee="me")
    world.do("ana", "task.finish", task=done["id"])
    world.do("bob", "task.create", title="Bob's own", assignee="me")
    today = datetime.now(UTC).strftime("%Y-%m-%dT00:00")
    world.do("bob", "event.create", title="Planning", start=today, people=["ana"])
    draft = world.do("ana", "report.draft", form="w")
    assert draft["values"]["finished"] == "- Wrote the offer"
    assert draft["values"]["next"] == "- Write the report" and draft["values"]["met"].startswith(
        "- Planning, "
    )
    assert "Bob" not in str(draft["values"])
    world.do("ana", "report.set", report=draft["id"], values={"trouble": "none"})
    world.do("ana", "task.finish", task=world.ids["task"])
    again = world.do("ana", "report.draft", form="w")
    assert again["id"] == draft["id"] and again["values"]["trouble"] == "none"
    assert again["values"]["finished"] == "- Wrote the offer\n- Write the report"
    hidden = world.call("bob", "report.show", report=draft["id"])
    assert hidden.error is not None and hidden.error.status == 404, "nobody sees a draft"
    sent = world.do("ana", "report.send", report=draft["id"])
    assert sent["readers"] == ["bob"], "bob leads her department"
    assert world.do("bob", "report.read", report=draft["id"])["readers"] == ["bob (read)"]
    world.do("bob", "report.comment", report=draft["id"], text="good")
    assert world.do("ana", "report.show", report=draft["id"])["comments"][0]["text"] == "good"
    assert world.do("ana", "notice.list")["items"][0]["kind"] == "comment"
    for by in ("admin", "eve"):
        foreign = world.call(by, "report.show", report=draft["id"])
        assert foreign.error is not None and foreign.error.status == 404
    twice = world.call("ana", "report.draft", form="w")
    assert twice.error is not None and twice.error.code == "report_sent"
    changed = world.call("ana", "report.set", report=draft["id"], values={"trouble": "much"})
    assert changed.error is not None and changed.error.status == 403


def test_what_was_handed_in_by_mistake_comes_back(world: World) -> None:
    draft = world.do("ana", "report.draft", form="weekly", period="2026-W30")
    world.do("ana", "report.send", report=draft["id"])
    world.do("ana", "audit.undo", audit=world.ids["last"])
    assert world.do("ana", "report.show", report=draft["id"])["state"] == "draft"
    assert world.call("bob", "report.show", report=draft["id"]).error is not None


def test_whoever_has_not_handed_in_is_reminded_once(world: World) -> None:
    world.do("admin", "report-form.create", name="d", fields={"x": "text"}, period="day", authors=["sales"], readers=["bob"],
             due="17:00", tz="UTC")  # fmt: skip
    clock = Later()
    clockwork = [Clockwork(world.database, world.settings, registry(), clock=clock) for _ in range(2)]

    def reminded(who: str) -> int:
        items = world.do(who, "notice.list", all=True)["items"]
        return sum(item["kind"] == "report_due" and item["text"].startswith("d for") for item in items)

    clock.ahead_ms = 24 * HOUR_MS
    for one in clockwork:
        one.run()
    assert (reminded("ana"), reminded("bob")) == (1, 0), "ana is in sales, bob is not"
    period = datetime.fromtimestamp((clock.now_ms()) / 1000, UTC).date()
    before = world.do("bob", "report.missing", form="d", period=str(period))
    assert [item["user"] for item in before["items"]] == ["ana"]
    draft = world.do("ana", "report.draft", form="d", period=str(period))
    world.do("ana", "report.send", report=draft["id"])
    assert world.do("bob", "report.missing", form="d", period=str(period))["items"] == []
    assert world.do("ana", "report.missing", form="d")["items"] == [], "she reads nobody's"


def test_forms_and_periods_that_are_none(world: World) -> None:
    for wrong in ({"due": "fri 16:00", "period": "day"}, {"due": "16:00"}, {"due": "sometime 25:00"}, {"readers": ["eve"]},
                  {"authors": ["nobody"]}, {"tz": "Mars/Base"}, {"name": "weekly"}):  # fmt: skip
        answer = world.call("admin", "report-form.create", **{"name": "x", "fields": {"a": "text"}, **wrong})
        assert answer.error is not None and answer.error.status in (400, 404, 409), wrong
    for period in ("2026-11-23", "2026-W60", "W1", "2026-W00", "x" * 50, "9999-W52", "1492-W01"):
        answer = world.call("ana", "report.draft", form="weekly", period=period)
        assert answer.error is not None and answer.error.status == 400, period
        assert answer.error.param == "period", period
