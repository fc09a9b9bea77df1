"""Calendars with rooms, reports, an outbox with hooks, approvals with stages, absences and escalation."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"

_OVERLAP = """
    SELECT 1 FROM bookings
    WHERE room_id = NEW.room_id AND start_at_ms < NEW.end_at_ms AND end_at_ms > NEW.start_at_ms
      AND NOT (event_id = NEW.event_id AND start_at_ms = NEW.start_at_ms)
"""


def upgrade() -> None:
    _calendar()
    _event_people()
    _no_two_in_a_room()
    _reports()
    _outbox()
    _approvals()
    _absences()


def _no_two_in_a_room() -> None:
    """Whoever books, a command, an undo or an import: the room's row is locked, then an overlap is refused."""
    if op.get_bind().dialect.name == "sqlite":
        for when in ("INSERT", "UPDATE"):
            op.execute(
                f"CREATE TRIGGER bookings_overlap_{when.lower()} BEFORE {when} ON bookings "
                f"WHEN EXISTS ({_OVERLAP}) BEGIN SELECT RAISE(ABORT, 'room_taken'); END"
            )
        return
    op.execute(
        f"""
        CREATE FUNCTION refuse_overlap() RETURNS trigger AS $$
        BEGIN
            PERFORM 1 FROM rooms WHERE id = NEW.room_id FOR NO KEY UPDATE;
            IF EXISTS ({_OVERLAP}) THEN
                RAISE EXCEPTION 'room_taken' USING ERRCODE = '23P01';
            END IF;
            RETURN NEW;
        END $$ LANGUAGE plpgsql
        """
    )
    op.execute(
        "CREATE TRIGGER bookings_overlap BEFORE INSERT OR UPDATE ON bookings "
        "FOR EACH ROW EXECUTE FUNCTION refuse_overlap()"
    )


def _approvals() -> None:
    op.add_column("forms", sa.Column("escalate", sa.String, nullable=False, server_default=""))
    op.add_column("request_steps", sa.Column("stage", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("request_steps", sa.Column("mode", sa.String, nullable=False, server_default="all"))
    op.add_column("request_steps", sa.Column("added_by", sa.String))
    op.add_column(
        "request_steps", sa.Column("escalations", sa.BigInteger, nullable=False, server_default="0")
    )
    op.execute("UPDATE request_steps SET stage = step")
    op.create_index("ix_request_steps_deadline_at_ms", "request_steps", ["deadline_at_ms"])


def _calendar() -> None:
    op.create_table(
        "working_hours",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("tz", sa.String, nullable=False),
        sa.Column("opens_minute", sa.BigInteger, nullable=False),
        sa.Column("closes_minute", sa.BigInteger, nullable=False),
        sa.Column("days", sa.String, nullable=False),
    )
    op.create_table(
        "rooms",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("uid", sa.String, nullable=False),
        sa.Column("series_id", sa.String, sa.ForeignKey("events.id")),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("owner_id", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("room_id", sa.String, sa.ForeignKey("rooms.id")),
        sa.Column("tz", sa.String, nullable=False),
        sa.Column("all_day", sa.Boolean, nullable=False),
        sa.Column("start_local", sa.String, nullable=False),
        sa.Column("length_s", sa.BigInteger, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("exceptions", sa.Text, nullable=False),
        sa.Column("extras", sa.Text, nullable=False),
        sa.Column("start_at_ms", sa.BigInteger, nullable=False),
        sa.Column("until_at_ms", sa.BigInteger),
        sa.Column("everyone", sa.String, nullable=False),
        sa.Column("busy", sa.Boolean, nullable=False),
        sa.Column("guests", sa.Text, nullable=False),
        sa.Column("remind_min", sa.BigInteger),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_events_org_id", "events", ["org_id", "start_at_ms"])
    op.create_index("ix_events_owner_id", "events", ["owner_id", "start_at_ms"])
    op.create_index("ix_events_series_id", "events", ["series_id"])
    op.create_index("ix_events_uid", "events", ["org_id", "uid"])


def _event_people() -> None:
    op.create_table(
        "event_people",
        sa.Column("event_id", sa.String, sa.ForeignKey("events.id"), primary_key=True),
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("answered_at_ms", sa.BigInteger),
    )
    op.create_index("ix_event_people_user_id", "event_people", ["user_id"])
    op.create_table(
        "bookings",
        sa.Column("event_id", sa.String, sa.ForeignKey("events.id"), primary_key=True),
        sa.Column("start_at_ms", sa.BigInteger, primary_key=True),
        sa.Column("end_at_ms", sa.BigInteger, nullable=False),
        sa.Column("room_id", sa.String, sa.ForeignKey("rooms.id"), nullable=False),
    )
    op.create_index("ix_bookings_room_id", "bookings", ["room_id", "start_at_ms"])
    op.create_table(
        "reminders",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("start_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_reminders_due_at_ms", "reminders", ["due_at_ms"])


def _reports() -> None:
    op.create_table(
        "report_forms",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("period", sa.String, nullable=False),
        sa.Column("authors", sa.Text, nullable=False),
        sa.Column("readers", sa.Text, nullable=False),
        sa.Column("tz", sa.String, nullable=False),
        sa.Column("due_minute", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "report_due",
        sa.Column("form_id", sa.String, primary_key=True),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("period", sa.String, nullable=False),
    )
    op.create_index("ix_report_due_due_at_ms", "report_due", ["due_at_ms"])
    op.create_table(
        "reports",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("form_id", sa.String, sa.ForeignKey("report_forms.id"), nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("period", sa.String, nullable=False),
        sa.Column("answers", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger),
        sa.UniqueConstraint("form_id", "author_id", "period"),
    )
    op.create_index("ix_reports_author_id", "reports", ["author_id", "id"])
    op.create_table(
        "report_readers",
        sa.Column("report_id", sa.String, sa.ForeignKey("reports.id"), primary_key=True),
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("read_at_ms", sa.BigInteger),
    )
    op.create_index("ix_report_readers_user_id", "report_readers", ["user_id"])
    op.create_table(
        "report_comments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("report_id", sa.String, sa.ForeignKey("reports.id"), nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_report_comments_report_id", "report_comments", ["report_id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("actor_id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("send_at_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("unknowns", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("runner", sa.String, nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_outbox_actor_id", "outbox", ["actor_id", "id"])
    op.create_index("ix_outbox_subject", "outbox", ["subject"])
    op.create_index("ix_outbox_state", "outbox", ["state", "send_at_ms"])
    op.create_table(
        "hooks",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("owner_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("everyone", sa.Boolean, nullable=False),
        sa.Column("once", sa.Boolean, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_index("ix_hooks_owner_id", "hooks", ["owner_id"])


def _absences() -> None:
    op.create_table(
        "absences",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("deputy_id", sa.String, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_absences_deputy_id", "absences", ["deputy_id", "until_ms"])
    op.create_index("ix_absences_user_id", "absences", ["user_id", "until_ms"])
