"""Tables of calendars and reports, in the hub database. Nobody outside this package imports this module."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, UniqueConstraint

from tokenhub.db.metadata import hub_metadata

hours = Table(
    "working_hours",
    hub_metadata,
    Column("user_id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("tz", String, nullable=False),  # name of the IANA database
    Column("opens_minute", BigInteger, nullable=False),  # of the local day
    Column("closes_minute", BigInteger, nullable=False),
    Column("days", String, nullable=False),  # of the week: `12345` = Monday to Friday
)

rooms = Table(
    "rooms",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("place", String, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

events = Table(
    "events",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("uid", String, nullable=False),  # the iCalendar UID; the same for a series and its moved instances
    Column("series_id", String, ForeignKey("events.id")),  # of which series this is one instance
    Column("instance", String, nullable=False),  # its local start as the series had it; empty if it is none
    Column("owner_id", String, nullable=False),
    Column("title", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("place", String, nullable=False),
    Column("room_id", String, ForeignKey("rooms.id")),
    Column("tz", String, nullable=False),
    Column("all_day", Boolean, nullable=False),
    Column("start_local", String, nullable=False),  # 2026-11-23T09:00:00 on the wall of `tz`
    Column(
        "length_s", BigInteger, nullable=False
    ),  # seconds that pass; of an all-day event 86400 for each day
    Column("rule", String, nullable=False),  # RRULE; empty = once
    Column("exceptions", Text, nullable=False),  # JSON list of local starts that are cancelled or moved
    Column("extras", Text, nullable=False),  # JSON list of local starts besides the rule (RDATE)
    Column("start_at_ms", BigInteger, nullable=False),  # of the first instance
    Column("until_at_ms", BigInteger),  # end of the last instance; null = the rule has no end
    Column(
        "everyone", String, nullable=False
    ),  # what colleagues see: empty = that one is busy | read = everything
    Column("busy", Boolean, nullable=False),
    Column("guests", Text, nullable=False),  # JSON list of addresses of people outside the hub
    Column("remind_min", BigInteger),  # minutes before each instance
    Column("sequence", BigInteger, nullable=False),
    Column("state", String, nullable=False),  # confirmed | cancelled
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Index("ix_events_owner_id", "owner_id", "start_at_ms"),
    Index("ix_events_org_id", "org_id", "start_at_ms"),
    Index("ix_events_series_id", "series_id"),
    Index("ix_events_uid", "org_id", "uid"),
)

event_people = Table(
    "event_people",
    hub_metadata,
    Column("event_id", String, ForeignKey("events.id"), primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("answer", String, nullable=False),  # waiting | accepted | declined | tentative
    Column("comment", String, nullable=False),
    Column("answered_at_ms", BigInteger),
    Index("ix_event_people_user_id", "user_id"),
)

bookings = Table(
    "bookings",
    hub_metadata,
    Column("event_id", String, ForeignKey("events.id"), primary_key=True),
    Column("start_at_ms", BigInteger, primary_key=True),
    Column("end_at_ms", BigInteger, nullable=False),
    Column("room_id", String, ForeignKey("rooms.id"), nullable=False),
    Index("ix_bookings_room_id", "room_id", "start_at_ms"),
)
"""One row for each instance in a room; a trigger refuses two that overlap, whoever inserts them."""

reminders = Table(
    "reminders",
    hub_metadata,
    Column("event_id", String, primary_key=True),
    Column("due_at_ms", BigInteger, nullable=False),
    Column("start_at_ms", BigInteger, nullable=False),  # of the instance that it is about
    Index("ix_reminders_due_at_ms", "due_at_ms"),
    info={"undo": "drop"},
)
"""The next reminder of an event."""

report_forms = Table(
    "report_forms",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("fields", Text, nullable=False),  # JSON list of names
    Column("period", String, nullable=False),  # day | week
    Column(
        "authors", Text, nullable=False
    ),  # JSON list: who hands in (ids of people or departments; empty = everyone)
    Column("readers", Text, nullable=False),  # JSON list: `lead` or a user's id
    Column("tz", String, nullable=False),
    Column(
        "due_minute", BigInteger, nullable=False
    ),  # after the period's local midnight (Monday's of a week)
    Column("created_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

report_due = Table(
    "report_due",
    hub_metadata,
    Column("form_id", String, primary_key=True),
    Column("due_at_ms", BigInteger, nullable=False),
    Column("period", String, nullable=False),
    Index("ix_report_due_due_at_ms", "due_at_ms"),
    info={"undo": "drop"},
)
"""When a form's next reminder goes to those who have not handed in."""

reports = Table(
    "reports",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("form_id", String, ForeignKey("report_forms.id"), nullable=False),
    Column("author_id", String, nullable=False),
    Column("period", String, nullable=False),  # 2026-11-23, or 2026-W48
    Column("answers", Text, nullable=False),  # JSON object: field -> text
    Column("state", String, nullable=False),  # draft | sent
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger),
    UniqueConstraint("form_id", "author_id", "period"),
    Index("ix_reports_author_id", "author_id", "id"),
)

report_readers = Table(
    "report_readers",
    hub_metadata,
    Column("report_id", String, ForeignKey("reports.id"), primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("read_at_ms", BigInteger),
    Index("ix_report_readers_user_id", "user_id"),
)

report_comments = Table(
    "report_comments",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("report_id", String, ForeignKey("reports.id"), nullable=False, index=True),
    Column("author_id", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

hooks = Table(
    "hooks",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("owner_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("url", String, nullable=False),
    Column("secret", String, nullable=False, info={"secret": True}),  # signs what is sent
    Column("kinds", Text, nullable=False),  # JSON list: notices of its owner that are passed on; `*` = all
    Column("everyone", Boolean, nullable=False),  # colleagues may send to it
    Column("once", Boolean, nullable=False),  # never sent again after an unknown outcome
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
    Index("ix_hooks_owner_id", "owner_id"),
)
