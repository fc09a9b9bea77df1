"""Calendar files of other programs, and our own read by an independent reader."""

import time
from typing import Any

import icalendar
import pytest

from tests.work.world import World
from tokenhub.identity.keys import authenticate

GOOGLE = """BEGIN:VCALENDAR
PRODID:-//Google Inc//Google Calendar 70.9054//EN
VERSION:2.0
CALSCALE:GREGORIAN
METHOD:PUBLISH
X-WR-TIMEZONE:Europe/Berlin
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
TZNAME:CEST
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20270322T090000
DTEND;TZID=Europe/Berlin:20270322T093000
RRULE:FREQ=WEEKLY;UNTIL=20270419T215959Z;BYDAY=MO
EXDATE;TZID=Europe/Berlin:20270405T090000
DTSTAMP:20261101T000000Z
UID:series@google.com
SEQUENCE:2
SUMMARY:Weekly\\, with comma
DESCRIPTION:A long line that is folded by the program that wrote it because
  it has more than seventy-five bytes
ATTENDEE;CUTYPE=INDIVIDUAL;PARTSTAT=ACCEPTED;CN=Ana:mailto:ana@example.org
ORGANIZER;CN=Boss:mailto:boss@example.org
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-P0DT0H10M0S
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20270329T140000
DTEND;TZID=Europe/Berlin:20270329T150000
DTSTAMP:20261101T000000Z
UID:series@google.com
RECURRENCE-ID;TZID=Europe/Berlin:20270329T090000
SUMMARY:Moved
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20270401
DTEND;VALUE=DATE:20270403
DTSTAMP:20261101T000000Z
UID:days@google.com
SUMMARY:Two days
TRANSP:TRANSPARENT
END:VEVENT
BEGIN:VEVENT
DTSTART:20270402T080000Z
DURATION:PT45M
DTSTAMP:20261101T000000Z
UID:utc@google.com
SUMMARY:In UTC
END:VEVENT
END:VCALENDAR
"""
OUTLOOK = """BEGIN:VCALENDAR
PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN
VERSION:2.0
BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16011104T020000
RRULE:FREQ=YEARLY;BYDAY=1SU;BYMONTH=11
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010311T020000
RRULE:FREQ=YEARLY;BYDAY=2SU;BYMONTH=3
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:outlook
DTSTAMP:20261101T000000Z
DTSTART;TZID="Customized Time Zone":20270308T090000
DTEND;TZID="Customized Time Zone":20270308T100000
RRULE:FREQ=WEEKLY;COUNT=3
SUMMARY:Across the change
END:VEVENT
BEGIN:VEVENT
UID:windows
DTSTAMP:20261101T000000Z
DTSTART;TZID=W. Europe Standard Time:20270308T090000
DTEND;TZID=W. Europe Standard Time:20270308T100000
SUMMARY:A Windows zone
END:VEVENT
END:VCALENDAR
"""


def listed(world: World, by: str, start: str = "2027-03-01", end: str = "2027-06-01") -> list[str]:
    return [
        f"{item['when']} {item['title']}"
        for item in world.do(by, "event.list", start=start, end=end, limit=500)["items"]
    ]


def one(lines: str) -> str:
    return (
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:h\nDTSTAMP:20261101T000000Z\n"
        + lines
        + "\nEND:VEVENT\nEND:VCALENDAR\n"
    )


def test_a_file_of_a_common_program(world: World) -> None:
    assert world.do("ana", "event.import", content=GOOGLE) == {"added": 4, "updated": 0, "skipped": []}
    expected = [
        "Mon 2027-03-22 09:00-09:30 CET Weekly, with comma",
        "Mon 2027-03-29 14:00-15:00 CEST Moved",
        "Thu 2027-04-01 - Fri 2027-04-02 Two days",
        "Fri 2027-04-02 08:00-08:45 UTC In UTC",
        "Mon 2027-04-12 09:00-09:30 CEST Weekly, with comma",
        "Mon 2027-04-19 09:00-09:30 CEST Weekly, with comma",
    ]
    assert listed(world, "ana") == expected
    again = world.do("ana", "event.import", content=GOOGLE.replace("Weekly\\, with comma", "Renamed"))
    assert again == {"added": 0, "updated": 4, "skipped": []}
    assert listed(world, "ana")[0].endswith("Renamed") and len(listed(world, "ana")) == 6
    series = next(
        item for item in world.do("ana", "event.list", start="2027-03-22", end="2027-03-23")["items"]
    )
    assert series["guests"] == ["boss@example.org", "ana@example.org"] and series["remind_min"] == 10


def test_zones_that_only_the_file_knows(world: World) -> None:
    assert world.do("ana", "event.import", content=OUTLOOK)["added"] == 2
    assert listed(world, "ana") == [
        "Mon 2027-03-08 09:00-10:00 CET A Windows zone",
        "Mon 2027-03-08 09:00-10:00 EST Across the change",
        "Mon 2027-03-15 09:00-10:00 EDT Across the change",
        "Mon 2027-03-22 09:00-10:00 EDT Across the change",
    ]


def test_what_goes_out_comes_in_again(world: World) -> None:
    world.do("ana", "event.import", content=GOOGLE)
    made = world.do("ana", "event.create", title="Ours", start="2027-03-02T10:00", tz="Asia/Shanghai", repeat="daily",
                    people=["bob"], remind="1h", everyone="read")  # fmt: skip
    world.do("ana", "event.cancel", event=made["id"], instance="2027-03-03")
    world.do("ana", "event.set", event=made["id"], instance="2027-03-04", start="2027-03-04T18:00")
    content = world.do("ana", "event.export")["content"]
    read = icalendar.Calendar.from_ical(content)
    assert {str(zone["TZID"]) for zone in read.walk("VTIMEZONE")} == {"Europe/Berlin", "Asia/Shanghai"}
    parts = [event for event in read.walk("VEVENT") if str(event["SUMMARY"]) == "Ours"]
    assert [("RRULE" in part, "RECURRENCE-ID" in part) for part in parts] == [(True, False), (False, True)]
    assert all(len(line.encode()) <= 75 for line in content.split("\r\n")), "folded"
    before = listed(world, "ana", end="2027-04-20")
    assert world.do("bob", "event.import", content=content)["skipped"] == []
    assert set(before) <= set(listed(world, "bob", end="2027-04-20"))


@pytest.mark.parametrize(
    "lines",
    [
        "DTSTART:20270301T100000Z\nRRULE:FREQ=SECONDLY;COUNT=1000000000\nSUMMARY:s",
        "DTSTART:20270301T100000Z\nRRULE:FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=1,2,3\nSUMMARY:s",
        "DTSTART:20270301T100000Z\nDTEND:20260301T100000Z\nSUMMARY:s",
        "DTSTART;VALUE=DATE:00010101\nSUMMARY:s",
        "DTSTART:99991231T235959Z\nSUMMARY:s",
        "SUMMARY:no start",
        "DTSTART:20270301T100000Z\nDURATION:P9999W\nSUMMARY:s",
        "DTSTART:garbage\nSUMMARY:s",
        "DTSTART:20270301T100000Z\nRRULE:garbage\nSUMMARY:s",
    ],
)
def test_what_cannot_be_taken_is_named_and_the_rest_is_taken(world: World, lines: str) -> None:
    both = one(lines).replace("END:VCALENDAR\n", "") + one("DTSTART:20270401T100000Z\nSUMMARY:good").split("PRODID:x\n")[1].replace("UID:h", "UID:g")  # fmt: skip
    found = world.do("ana", "event.import", content=both)
    assert found["added"] == 1 and len(found["skipped"]) == 1, found
    assert listed(world, "ana") == ["Thu 2027-04-01 10:00-10:00 UTC good"]


@pytest.mark.parametrize(
    "lines",
    ["DTSTART:20270301T100000Z\nRRULE:FREQ=DAILY;COUNT=1000000000\nSUMMARY:long",
     "DTSTART:20270301T100000Z\nRRULE:FREQ=DAILY\nSUMMARY:endless",
     "DTSTART:20270301T100000Z\nRRULE:FREQ=DAILY;UNTIL=99991231T235959Z\nSUMMARY:endless in their words",
     "DTSTART:19700101T100000Z\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\nSUMMARY:never"],
)  # fmt: skip
def test_series_without_end_cost_nothing(world: World, lines: str) -> None:
    started = time.monotonic()
    assert world.do("ana", "event.import", content=one(lines))["added"] == 1
    assert (
        len(world.do("bob", "calendar.free", people=["ana"], start="2150-01-01", end="2150-01-08")["items"])
        > 1
    )
    world.do("ana", "event.export")
    assert time.monotonic() - started < 5


def test_files_that_are_none_or_too_large(world: World) -> None:
    for content in (
        "",
        "hello",
        "BEGIN:VCALENDAR",
        "BEGIN:VCALENDAR\nEND:VCALENDAR",
        "BEGIN:VEVENT\n" * 50,
        "\u2028" * 100,
    ):
        refused = world.call("ana", "event.import", content=content)
        assert refused.error is not None and refused.error.status == 400, content[:20]
    many = "BEGIN:VCALENDAR\n" + "BEGIN:VEVENT\nEND:VEVENT\n" * 1001 + "END:VCALENDAR"
    long = "BEGIN:VCALENDAR\n" + "X-A:1\n" * 60_000 + "END:VCALENDAR"
    for content in (many, long):
        refused = world.call("ana", "event.import", content=content)
        assert refused.error is not None and refused.error.status == 413
    assert listed(world, "ana") == []


def test_a_file_never_changes_what_is_not_ones_own(world: World) -> None:
    made: dict[str, Any] = world.do(
        "admin", "event.create", title="Theirs", start="2027-03-02T10:00", people=["ana"], everyone="read"
    )
    uid = f"{made['id']}@tokenhub"
    found = world.do(
        "ana",
        "event.import",
        content=one("DTSTART:20270301T100000Z\nSUMMARY:Taken over").replace("UID:h", f"UID:{uid}"),
    )
    assert found["added"] == 1
    assert world.do("admin", "event.show", event=made["id"])["title"] == "Theirs"


def test_a_file_changes_no_event_that_its_importer_may_not_change(world: World) -> None:
    mine = world.do("admin", "event.create", title="Mine", start="2027-03-02T10:00")
    content = one("DTSTART:20270301T100000Z\nSUMMARY:Taken over").replace(
        "UID:h", f"UID:{mine['id']}@tokenhub"
    )
    lent = world.do("admin", "grant.create", agent="helper", commands=["event.import"], effects=["write"])
    with world.database.read("hub") as connection:
        agent = authenticate(connection, lent["key"])
    found = world.call(agent, "event.import", content=content).data
    assert found is not None and (found["added"], found["updated"]) == (0, 0), found
    assert "may not change" in found["skipped"][0], "within its grant it sets no event"
    stranger = world.call("eve", "event.import", content=content).data
    assert stranger is not None and (stranger["added"], stranger["updated"]) == (1, 0), "her own copy"
    world.do(
        "admin",
        "policy.apply",
        text=f'forbid (principal, action == Action::"event.set", resource == Event::"{mine["id"]}");\n'
        "permit (principal, action, resource);",
    )
    found = world.do("admin", "event.import", content=content)
    assert (found["added"], found["updated"], len(found["skipped"])) == (0, 0, 1), found
    assert world.do("admin", "event.show", event=mine["id"])["title"] == "Mine"
    world.do("admin", "policy.apply", text="permit (principal, action, resource);")
    assert world.do("admin", "event.import", content=content)["updated"] == 1
    assert world.do("admin", "event.show", event=mine["id"])["title"] == "Taken over"
