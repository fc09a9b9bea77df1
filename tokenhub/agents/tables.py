"""Tables of agent runs, in the hub's database. Nobody else imports this module."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, PrimaryKeyConstraint, String, Table, Text

from tokenhub.db.metadata import hub_metadata

agent_runs = Table(
    "agent_runs",
    hub_metadata,
    Column("id", String, ForeignKey("grants.id"), primary_key=True),  # a run is a grant
    Column("org_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("agent_id", String, nullable=False),
    Column("parent_id", String),  # the run that started it
    Column("root_id", String, nullable=False),  # the first of its line: its key and its budget serve all
    Column("key_id", String, nullable=False),  # acts as the person, within the run's grant
    Column("origin", String, nullable=False),  # person | run | schedule:id | undo:run
    Column("request", Text, nullable=False),
    Column("rules", Text, nullable=False),  # JSON list; sent afresh with each call
    Column("tools", Text, nullable=False),  # JSON list of pinned commands
    Column("model", String, nullable=False),
    Column("mind", String, nullable=False),  # how the next action is asked for: tools | exact
    Column("state", String, nullable=False),  # queued | running | waiting | stopped | done | failed
    Column("waits_for", String, nullable=False),  # gate_… | run_… | time | budget; empty = nothing
    Column("wake_at_ms", BigInteger),
    Column("segment", BigInteger, nullable=False),  # one stretch of work, from waking to waiting
    Column("worker", String, nullable=False),  # who advances it
    Column(
        "lease_until_ms", BigInteger, nullable=False
    ),  # a running stretch past it is given to another worker
    Column("failures", BigInteger, nullable=False),  # in a row, of the way to the model
    Column("tokens_max", BigInteger, nullable=False),
    Column("steps_max", BigInteger, nullable=False),
    Column("work_ms_max", BigInteger, nullable=False),  # waiting does not count
    Column("worked_ms", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),  # start of the running stretch
    Column("code", String, nullable=False),  # why it ended or is stopped
    Column("answer", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("ix_agent_runs_state", "state", "wake_at_ms"),
    Index("ix_agent_runs_waits_for", "waits_for"),
    Index("ix_agent_runs_org_id_id", "org_id", "id"),
    Index("ix_agent_runs_root_id", "root_id"),
    Index("ix_agent_runs_parent_id", "parent_id"),
)

agent_steps = Table(
    "agent_steps",
    hub_metadata,
    Column("run_id", String, ForeignKey("agent_runs.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", String, nullable=False),  # model | command
    Column("state", String, nullable=False),  # open | waiting | done | unknown
    Column("name", String, nullable=False),  # model or command
    Column("arguments", Text, nullable=False),  # JSON, as the model gave them
    Column("same", String, nullable=False),  # sha256 of command and arguments: equal calls have equal ones
    Column("call_id", String, nullable=False),  # the model's name for the call
    Column("answer", Text, nullable=False),  # JSON: the reply's message, or the envelope
    Column("body", Text, nullable=False),  # request to the model, while it is open
    Column("attempts", BigInteger, nullable=False),
    Column("request_id", String, nullable=False),  # the gateway's: the line in the books
    Column("tokens", BigInteger, nullable=False),  # of the reply: prompt and completion
    Column("held_tokens", BigInteger, nullable=False),  # bound of an open call
    Column("audit_id", String, nullable=False),
    Column("gate_id", String, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    PrimaryKeyConstraint("run_id", "seq"),
)

agent_schedules = Table(
    "agent_schedules",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("agent_id", String, ForeignKey("agents.id"), nullable=False),
    Column("key_id", String, nullable=False),  # the person's; while it counts, the schedule does
    Column("cron", String, nullable=False),  # empty = it follows an event
    Column("time_zone", String, nullable=False),
    Column("event", String, nullable=False),  # name or pattern of a command; empty = it follows the clock
    Column("request", Text, nullable=False),
    Column("scope", Text, nullable=False),  # JSON: commands, effects, rules, model, bounds
    Column("next_at_ms", BigInteger),  # null = paused, or follows an event
    Column("paused", String, nullable=False),  # why; empty = in force
    Column("fired", BigInteger, nullable=False),
    Column("last_run_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("ix_agent_schedules_next_at_ms", "next_at_ms"),
    Index("ix_agent_schedules_org_id_id", "org_id", "id"),
)

agent_cursors = Table(
    "agent_cursors",
    hub_metadata,
    Column("org_id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # last audit row that was looked at
)
