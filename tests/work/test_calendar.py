"""Events, rooms, who is free, and what colleagues see of it."""

import threading
from typing import Any

import pytest

from tests.work.world import World

JAN = {"start": "2027-03-01", "end": "2027-03-31"}


def titles(world: World, by: str, **asked: Any) -> list[str]:
    return [
        item["when"] + " " + item["title"] for item in world.do(by, "event.list", **{**JAN, **asked})["items"]
    ]


def test_two_never_have_a_room_at_the_same_time(world: World) -> None:
    world.do("ana", "event.create", title="One", start="2027-03-01T10:00", room="blue")
    world.do("bob", "event.create", title="Next", start="2027-03-01T11:00", room="blue")
    clash = world.call(
        "bob", "event.create", title="Two", start="2027-03-01T10:30", length="15m", room="blue"
    )
    assert clash.error is not None and clash.error.code == "room_taken"
    assert "10:00-11:00" in clash.error.message
    series = world.call(
        "bob", "event.create", title="S", start="2027-02-22T10:30", repeat="FREQ=WEEKLY;COUNT=3", room="blue"
    )
    assert series.error is not None and series.error.code == "room_taken", "its second instance clashes"
    assert titles(world, "bob", user="me") == ["Mon 2027-03-01 11:00-12:00 UTC Next"]
    endless = world.call(
        "bob", "event.create", title="E", start="2027-06-01T10:00", repeat="daily", room="blue"
    )
    assert endless.error is not None and endless.error.code == "room_needs_end"
    crowd = world.call(
        "bob", "event.create", title="C", start="2027-06-01T10:00", people=["ana", "zoe"], room="attic"
    )
    assert crowd.error is not None and crowd.error.code == "room_too_small"


def test_a_race_for_a_room_has_one_winner(world: World) -> None:
    answers: list[Any] = []
    start = threading.Barrier(6)

    def book(number: int) -> None:
        start.wait()
        answers.append(
            world.call(
                ["ana", "bob"][number % 2],
                "event.create",
                title=f"r{number}",
                start="2027-04-01T10:00",
                room="blue",
            )
        )

    threads = [threading.Thread(target=book, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(answer.status for answer in answers) == ["failure"] * 5 + ["success"]
    assert {answer.error.status for answer in answers if answer.error} == {409}


def test_an_undo_does_not_bring_two_into_a_room(world: World) -> None:
    one = world.do("ana", "event.create", title="One", start="2027-03-01T10:00", room="blue")
    world.do("ana", "event.cancel", event=one["id"])
    cancelled = world.ids["last"]
    world.do("bob", "event.create", title="Two", start="2027-03-01T10:00", room="blue")
    refused = world.call("ana", "audit.undo", audit=cancelled)
    assert refused.error is not None and refused.error.status == 409
    assert world.do("ana", "event.show", event=one["id"])["state"] == "cancelled", "nothing half-done"


def test_a_series_keeps_its_hour_and_its_exceptions(world: World) -> None:
    world.do("ana", "calendar.set", tz="Europe/Berlin")
    series = world.do(
        "ana", "event.create", title="Standup", start="2027-03-25T09:00", repeat="daily", people=["bob"]
    )["id"]
    world.do("ana", "event.cancel", event=series, instance="2027-03-27")
    moved = world.do(
        "ana", "event.set", event=series, instance="2027-03-28T09:00", start="2027-03-28T15:00", title="Late"
    )
    assert moved["instance"] == "2027-03-28T09:00:00" and moved["people"] == ["bob (waiting)"]
    assert titles(world, "ana", end="2027-03-29") == [
        "Thu 2027-03-25 09:00-10:00 CET Standup",
        "Fri 2027-03-26 09:00-10:00 CET Standup",
        "Sun 2027-03-28 15:00-16:00 CEST Late",
        "Mon 2027-03-29 09:00-10:00 CEST Standup",
    ]
    later = world.do("ana", "event.set", event=series, instance="2027-03-30", following=True, length="30m")
    assert later["id"] != series
    assert titles(world, "bob", start="2027-03-28", end="2027-03-31") == [
        "Sun 2027-03-28 15:00-16:00 CEST Late",
        "Mon 2027-03-29 09:00-10:00 CEST Standup",
        "Tue 2027-03-30 09:00-09:30 CEST Standup",
        "Wed 2027-03-31 09:00-09:30 CEST Standup",
    ]
    missing = world.call("ana", "event.cancel", event=series, instance="2027-03-27")
    assert missing.error is not None and "does not take place" in missing.error.message
    world.do("ana", "event.cancel", event=series)
    assert titles(world, "bob", start="2027-03-25", end="2027-03-29") == []


def test_a_series_that_counts_is_split_where_it_stands(world: World) -> None:
    made = world.do(
        "ana",
        "event.create",
        title="Course",
        start="2027-03-01T10:00",
        repeat="FREQ=WEEKLY;COUNT=5",
        room="blue",
    )
    world.do(
        "ana", "event.set", event=made["id"], instance="2027-03-15", following=True, start="2027-03-16T10:00"
    )
    found = [one[:14] for one in titles(world, "ana", end="2027-06-01")]
    assert found == ["Mon 2027-03-01", "Mon 2027-03-08", "Tue 2027-03-16", "Tue 2027-03-23", "Tue 2027-03-30"]
    free = world.do("bob", "event.create", title="Fits", start="2027-03-15T10:00", room="blue")
    assert free["room"] == "blue"


def test_people_answer_and_are_told(world: World) -> None:
    made = world.do("ana", "event.create", title="Lunch", start="2027-03-01T12:00", people=["bob"])
    assert "invited" in [item["kind"] for item in world.do("bob", "notice.list")["items"]]
    world.do("bob", "event.answer", event=made["id"], answer="declined", comment="dentist")
    told = world.do("ana", "notice.list")["items"][0]
    assert (told["kind"], told["text"], told["actor"]) == ("answered", "declined: dentist", "bob")
    assert titles(world, "bob") == [], "what one declined takes none of one's time"
    for by, refused in (("admin", 404), ("eve", 404)):
        answer = world.call(by, "event.answer", event=made["id"], answer="accepted")
        assert answer.error is not None and answer.error.status == refused
    changed = world.call("bob", "event.set", event=made["id"], title="Mine")
    assert changed.error is not None and changed.error.status == 403


def test_colleagues_see_that_one_is_busy_and_no_more(world: World) -> None:
    world.do(
        "ana", "event.create", title="Secret talk", start="2027-03-01T10:00", body="words", place="there"
    )
    world.do("ana", "event.create", title="Open house", start="2027-03-01T14:00", everyone="read")
    world.do("ana", "event.create", title="Birthday", start="2027-03-01", free=True)
    shown = world.do("bob", "event.list", user="ana", **JAN)["items"]
    assert [(item["title"], item["id"] == "") for item in shown] == [("busy", True), ("Open house", False)]
    assert "Secret" not in str(shown) and "words" not in str(shown)
    other = world.call("eve", "event.list", user="ana", **JAN)
    assert other.error is not None and other.error.status == 404
    paged = world.do("bob", "event.list", user="ana", limit=1, **JAN)
    rest = world.do("bob", "event.list", user="ana", limit=1, cursor=paged["next_cursor"], **JAN)
    assert [paged["items"][0]["title"], rest["items"][0]["title"]] == ["busy", "Open house"]
    assert rest["next_cursor"] is None


def test_people_and_rooms_are_free_together(world: World) -> None:
    world.do("ana", "calendar.set", tz="America/New_York", opens="08:00", closes="16:00")
    world.do("bob", "calendar.set", tz="Europe/Berlin", opens="09:00", closes="18:00")
    asked = {"people": ["ana", "bob"], "start": "2027-03-01", "end": "2027-03-01"}
    found = world.do("bob", "calendar.free", **asked)["items"]
    assert found[0]["when"] == "Mon 2027-03-01 14:00-15:00 CET", "eight in New York"
    assert found[-1]["when"] == "Mon 2027-03-01 17:00-18:00 CET"
    world.do("ana", "event.create", title="Busy", start="2027-03-01T08:00", length="3h30m")
    found = world.do("bob", "calendar.free", length="30m", **asked)["items"]
    assert [item["when"] for item in found] == ["Mon 2027-03-01 17:30-18:00 CET"]
    world.do("admin", "event.create", title="Hold", start="2027-03-01T16:30", length="15m", room="blue")
    roomy = world.do("bob", "calendar.free", length="30m", rooms=["any"], **asked)["items"]
    assert roomy[0]["rooms"] == ["attic"]
    assert world.do("bob", "calendar.free", length="30m", rooms=["blue"], **asked)["items"] == []
    for wrong in ({"length": "0m"}, {"people": ["eve"]}, {"end": "2020-01-01"}, {"start": "soon"}):
        refused = world.call("bob", "calendar.free", **wrong)
        assert refused.error is not None and refused.error.status in (400, 404), wrong


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "tomorrow"},
        {"start": "9999-12-31"},
        {"start": "2027-03-01T10:00", "end": "2027-03-01T09:00"},
        {"start": "2027-03-01", "end": "2027-03-01T09:00"},
        {"start": "2027-03-01T10:00", "length": "9999d"},
        {"start": "2027-03-01T10:00", "tz": "Mars/Base"},
        {"start": "2027-03-01T10:00", "tz": "../../etc/passwd"},
        {"start": "2027-03-01T10:00", "repeat": "FREQ=SECONDLY"},
        {"start": "2027-03-01T10:00", "remind": "soon"},
        {"start": "2027-03-01T10:00", "people": ["eve"]},
        {"start": "2027-03-01T10:00", "room": "none"},
    ],
)
def test_what_is_no_event_is_refused(world: World, wrong: dict[str, Any]) -> None:
    answer = world.call("ana", "event.create", title="x", **wrong)
    assert answer.error is not None and answer.error.status in (400, 404), wrong
