"""A small organisation at work, another one beside it, and a way to call every command that the hub has.

`SAMPLES` holds arguments for each command; a test fails for a command that has none. `{name}` in an argument stands for
an id of the world.
"""

import asyncio
import atexit
import base64
import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import insert, update

from tests.catalog.test_gguf import gguf, text, u32
from tests.clearing.conftest import an_event, hold, settled
from tests.places import in_memory
from tokenhub.adapters.handlers import job_handlers
from tokenhub.agents.mcp import store as outside
from tokenhub.agents.mcp.types import Seen
from tokenhub.agents.tables import agent_runs
from tokenhub.bootstrap.commands import registry
from tokenhub.budgets.store import load_limits
from tokenhub.clearing.clerk import Clerk
from tokenhub.commands import Envelope
from tokenhub.commands.door import Runtime, execute
from tokenhub.config import Settings
from tokenhub.db import outbox
from tokenhub.db.engine import Database
from tokenhub.identity.first_run import ensure_first_run, local_operator
from tokenhub.identity.keys import authenticate
from tokenhub.identity.tables import organizations, users
from tokenhub.identity.types import Principal
from tokenhub.jobs import store as jobs
from tokenhub.jobs.runner import run_job_inline
from tokenhub.maas.catalog import store as catalog
from tokenhub.maas.deployments import store as deployments
from tokenhub.metering.store import record_engine_count

MODEL = "smollm2-135m-instruct"
TEXT = base64.b64encode(b"a plan").decode()
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Another program//EN
BEGIN:VEVENT
UID:one@example.org
DTSTAMP:20261101T000000Z
DTSTART;TZID=Europe/Berlin:20270105T090000
DTEND;TZID=Europe/Berlin:20270105T100000
RRULE:FREQ=WEEKLY;COUNT=4
EXDATE;TZID=Europe/Berlin:20270112T090000
SUMMARY:Course
END:VEVENT
END:VCALENDAR
"""
POLICIES = '@id("people") permit (principal, action, resource);'


@dataclass
class World:
    """A started hub with people and things; `ids` are named like the samples name them."""

    database: Database
    settings: Settings
    people: dict[str, Principal] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def call(self, by: str | Principal, command: str, /, **raw: Any) -> Envelope:
        """One command by a person of the world."""
        return self.run(by, command, raw)

    def plan(self, by: str | Principal, command: str, /, **raw: Any) -> Envelope:
        """A dry run."""
        return self.run(by, command, raw, dry_run=True)

    def run(self, by: str | Principal, command: str, raw: dict[str, Any], **options: Any) -> Envelope:
        """One command with options of the door."""
        principal = self.people[by] if isinstance(by, str) else by
        return execute(registry(), Runtime(self.database, self.settings), principal, command, raw, **options)

    def do(self, by: str, command: str, /, **raw: Any) -> dict[str, Any]:
        """The same, which must succeed; gives its data and keeps the audit row's id as `last`."""
        answer = self.call(by, command, **raw)
        assert answer.error is None and answer.data is not None, (command, answer)
        self.ids["last"] = answer.audit_id or ""
        return answer.data

    def filled(self, raw: Any) -> Any:
        """A sample's arguments with the ids of this world."""
        if isinstance(raw, str):
            return raw.format_map(self.ids) if raw.startswith("{") and raw.endswith("}") else raw
        if isinstance(raw, list):
            return [self.filled(item) for item in raw]
        if isinstance(raw, dict):
            return {name: self.filled(value) for name, value in cast(dict[str, Any], raw).items()}
        return raw


def build(database: Database, settings: Settings) -> World:
    """The owner `admin`, the members ana and bob, and eve of another organisation, each with something of theirs."""
    world = World(database, settings)
    with database.write("hub") as connection:
        first = ensure_first_run(connection, settings)
        assert first is not None
        world.keys["admin"] = first.admin_key
        world.people["admin"] = authenticate(connection, first.admin_key)
        world.people["local"] = local_operator(connection)
        _another(world, connection)
        deployments.create_engine_deployment(
            connection, catalog.get_entry(connection, MODEL), model=MODEL, context_tokens=512, slots=1
        )
    for name in ("ana", "bob"):
        world.ids[name] = world.do("admin", "user.create", name=name)["id"]
        made = world.do(
            "admin",
            "key.create",
            name=name,
            user=name,
            scopes=["read", "work", "keys:write", "usage:read", "inference"],
        )
        world.keys[name] = made["key"]
        with database.read("hub") as connection:
            world.people[name] = authenticate(connection, made["key"])
    _things(world)
    return world


def _another(world: World, connection: Any) -> None:
    connection.execute(insert(organizations).values(id="org_other", name="other", created_at_ms=1))
    connection.execute(
        insert(users).values(id="user_eve", org_id="org_other", name="eve", role="owner", created_at_ms=1)
    )
    eve = world.people["local"]
    world.people["eve"] = Principal(
        **{
            **{name: getattr(eve, name) for name in eve.__slots__},
            "key_id": "key_eve",
            "org_id": "org_other",
            "user_id": "user_eve",
            "app": "",
        }
    )


def _things(world: World) -> None:
    ids, do = world.ids, world.do
    ids["spare"] = do("admin", "key.create", name="spare")["id"]
    ids["turned"] = do("admin", "key.create", name="turned")["id"]
    do("admin", "user.create", name="zoe")
    do("admin", "team.create", name="crew")
    for name in ("ana", "admin"):
        do("admin", "team.add", team="crew", user=name)
    do("admin", "project.create", name="launch", team="crew")
    do("admin", "service-account.create", name="robot")
    ids["dept"] = do("admin", "department.create", name="sales", lead="bob")["id"]
    do("admin", "department.create", name="empty")
    do("admin", "department.join", department="sales", user="ana")
    do("admin", "agent.create", name="helper")
    made = do(
        "admin", "grant.create", agent="helper", commands=["*"], effects=["read", "write", "irreversible"]
    )
    ids["grant"], world.keys["agent"] = made["id"], made["key"]
    with world.database.read("hub") as connection:
        world.people["agent"] = authenticate(connection, made["key"])
    for name in ("gate", "gate2"):
        asked = world.call(
            "agent", "user.disable" if name == "gate2" else "key.revoke", **_irreversible(world, name)
        )
        if asked.status == "pending" and asked.data is not None:
            ids[name] = asked.data["gate"]
    _runs(world)
    ids["task"] = do("admin", "task.create", title="Write the report", assignee="ana")["id"]
    ids["undoable"] = ids["last"]
    ids["done"] = do("admin", "task.create", title="Done already")["id"]
    do("admin", "task.finish", task=ids["done"])
    do("admin", "channel.create", name="launch", members=["ana"])
    ids["message"] = do("admin", "message.send", text="Hello @ana", channel="launch")["id"]
    do("ana", "message.send", text="Hello @admin, look at SECRETWORD", to="admin")
    ids["doc"] = do("admin", "doc.create", title="Plan", content="SECRETWORD plan")["id"]
    ids["file"] = do("admin", "file.put", name="plan.txt", content_base64=TEXT)["id"]
    do("admin", "form.create", name="leave", fields={"from": "date"}, route=["admin", "bob"], hours=4)
    ids["request"] = do("ana", "request.create", form="leave", values={"from": "2026-12-21"})["id"]
    do("admin", "form.create", name="expense", fields={"sum": "number"}, route=["bob"])
    ids["own_request"] = do("admin", "request.create", form="expense", values={"sum": 12})["id"]
    do("admin", "room.create", name="blue", capacity=4)
    ids["event"] = do(
        "admin", "event.create", title="Review", start="2027-01-11T10:00", people=["ana"], room="blue"
    )["id"]
    ids["series"] = do("admin", "event.create", title="Standup", start="2027-01-04T09:00", repeat="daily")[
        "id"
    ]
    ids["asked"] = do("ana", "event.create", title="Interview", start="2027-01-12T10:00", people=["admin"])[
        "id"
    ]
    do("admin", "room.create", name="attic", capacity=2)
    _skills(world)
    do("admin", "hook.create", name="chat", url="https://chat.example.org/in", kinds=["*"], everyone=True)
    do("admin", "hook.create", name="old", url="https://old.example.org/in")
    lost = do("admin", "hook.send", hook="chat", text="It may have arrived")["id"]
    with world.database.write("hub") as connection:
        found = outbox.listing(connection, outbox.named(lost), states=(), after=None, limit=1)[0]
        claimed = outbox.claim(connection, runner="carrier", at_ms=found.send_at_ms)
        assert claimed is not None and claimed.id == lost
        outbox.finish(
            connection, claimed, runner="carrier", outcome="unknown", error="cut", at_ms=1, once=True
        )
    ids["lost"] = lost
    ids["letter"] = do("admin", "hook.send", hook="chat", text="The build is done")["id"]
    _approvals(world)
    ids["budget"] = do("admin", "budget.create", scope="org", cap="1M", name="all")["id"]
    job = world.call("admin", "model.pull", name=MODEL)
    assert job.data is not None, job
    ids["job"] = job.data["id"]
    do("admin", "mcp.pin", command="task.show")
    _outside(world)
    tested = do("admin", "provider.add", name="lab", url="http://127.0.0.1:9/v1", model=["m"])
    do("admin", "job.cancel", job=tested["job"])
    do("admin", "deploy.stop", name="lab/m")
    do("admin", "price.set", sku=MODEL, input="3", output="4")
    _served(world)
    _model_of_ones_own(world)
    do("admin", "task.create", title="Too much")


def skill_zip(name: str, *, head: str = "", files: dict[str, bytes] | None = None) -> str:
    """A skill as `skill.add` takes it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        words = f"---\nname: {name}\ndescription: Sums numbers up.\n{head}---\nRun scripts/sum.py.\n"
        archive.writestr("SKILL.md", words)
        for path, content in (files or {}).items():
            archive.writestr(path, content)
    return base64.b64encode(packed.getvalue()).decode()


SUM = b"import sys\nprint(sum(int(one) for one in sys.argv[1:]))\nopen('sum.txt', 'w').write('done')\n"


def _skills(world: World) -> None:
    """`sums` is allowed, `proposal` is not."""
    folder = skill_zip("sums", files={"scripts/sum.py": SUM, "data.txt": b"1 2 3"})
    shown = world.do("admin", "skill.add", folder=folder)
    world.ids["skill_digest"] = shown["digest"]
    world.do("admin", "skill.allow", skill="sums", digest=shown["digest"])
    shown = world.do("admin", "skill.add", folder=skill_zip("proposal"))
    world.ids["proposal_digest"] = shown["digest"]
    world.ids["run"] = world.do("admin", "skill.run", skill="sums", script="scripts/sum.py")["id"]


def _runs(world: World) -> None:
    """One that asks, one that has ended, and a schedule."""
    asked = world.call("agent", "key.revoke", key=world.ids["turned"])
    assert asked.data is not None
    world.ids["asked_by_run"] = asked.data["gate"]
    for name, values in (
        ("asking", {"state": "waiting", "waits_for": asked.data["gate"]}),
        ("ended", {"state": "done", "code": "answered"}),
    ):
        made = world.call("admin", "agent.run", request="Make a task", model=MODEL).data
        assert made is not None
        world.ids[name] = made["id"]
        with world.database.write("hub") as connection:
            connection.execute(update(agent_runs).where(agent_runs.c.id == made["id"]).values(**values))
    made = world.do("admin", "schedule.create", request="Report", cron="0 9 * * mon", model=MODEL)
    world.ids["schedule"] = made["id"]


def _outside(world: World) -> None:
    """A server that was seen once and is not reached any more, one of its tools allowed, and a call that waits."""
    made = world.do("admin", "mcp.add", name="lab", target="http://127.0.0.1:9/mcp")
    world.do("admin", "job.cancel", job=made["job"])
    org_id = world.people["admin"].org_id
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    with world.database.write("hub") as connection:
        server = outside.get_server(connection, org_id, "lab")
        outside.record(connection, server, [Seen("act", "Do it.", schema, {})], at_ms=1)
    world.do("admin", "mcp.allow", name="lab")
    world.ids["call"] = world.do("admin", "mcp.lab.act", to="x")["call"]


def _approvals(world: World) -> None:
    """Requests at different points of their way, one of them late."""
    ids, do = world.ids, world.do
    for name in ("two", "late", "back", "mended"):
        ids[name] = do("ana", "request.create", form="leave", values={"from": "2026-12-21"})["id"]
    with world.database.write("hub") as connection:
        connection.exec_driver_sql(
            f"UPDATE request_steps SET deadline_at_ms = 1 WHERE request_id = '{ids['late']}' AND state = 'open'"
        )
    ids["returned"] = do("admin", "request.create", form="expense", values={"sum": 12})["id"]
    do("bob", "request.return", request=ids["returned"], comment="which project?")
    fields = {"done": "done", "trouble": "text"}
    do("admin", "report-form.create", name="weekly", fields=fields, readers=["lead", "admin"], tz="UTC")
    do("admin", "report-form.create", name="daily", fields=fields, period="day", readers=["bob"])
    for name, period in (("draft", "2026-W40"), ("sent", "2026-W41")):
        ids[f"{name}_report"] = do("ana", "report.draft", form="weekly", period=period)["id"]
    do("ana", "report.send", report=ids["sent_report"])
    ids["own_report"] = do("admin", "report.draft", form="daily", period="2026-10-01")["id"]
    ids["away"] = do("admin", "absence.create", start="2027-08-01", end="2027-08-14", deputy="bob")["id"]


def _served(world: World) -> None:
    """One request of the owner in the books, and three tokens more that its engine says it made."""
    admin = world.people["admin"]
    event = an_event(
        "req_served", 200, org_id=admin.org_id, user_id=admin.user_id, key_id=admin.key_id, model=MODEL
    )

    async def serve() -> None:
        with world.database.read("ledger") as connection:
            limits = load_limits(connection)
        clerk = Clerk(world.database, world.settings, owner_name="world", loop=asyncio.get_running_loop())
        await clerk.start()
        held = await hold(clerk, clerk.path(limits), 500, request_id="req_served")
        clerk.capture(held, event)
        await settled(clerk)
        await clerk.close()

    asyncio.run(serve())
    with world.database.write("ledger") as connection:
        record_engine_count(connection, event.engine_boot, at_ms=1, prompt_tokens=0, output_tokens=203)


@cache
def _files() -> Path:
    """A folder that outlives every world of this process: copies of a world name the files of the first."""
    folder = Path(tempfile.mkdtemp(prefix="th-files-", dir=in_memory()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _model_of_ones_own(world: World) -> None:
    """A file beside the hub, added as `own` by the worker's job, and another one that is only there."""
    for name in ("own", "other"):
        path = _files() / f"{name}.gguf"
        values = {
            "general.architecture": text("llama"),
            "llama.context_length": u32(4096),
            "general.name": text(name),
        }
        path.write_bytes(gguf(values))
        world.ids[name] = str(path)
    world.do("admin", "model.add", path=world.ids["own"], name="own")
    handlers = job_handlers(world.database, world.settings)
    with world.database.read("hub") as connection:
        job = next(one for one in jobs.list_jobs(connection) if one.subject == "own")
    run_job_inline(world.database, job.kind, handlers[job.kind], subject=job.subject, arguments=job.arguments)


def _irreversible(world: World, name: str) -> dict[str, str]:
    return {"key": world.ids["spare"]} if name == "gate" else {"user": "zoe"}


SAMPLES: Mapping[str, dict[str, Any]] = {
    "agent.approve": {"run": "{asking}", "question": "{asked_by_run}", "comment": "fine"},
    "absence.create": {
        "start": "2027-07-01",
        "end": "2027-07-14",
        "deputy": "ana",
        "note": "keys are in the drawer",
    },
    "absence.end": {"absence": "{away}"},
    "absence.list": {},
    "agent.create": {"name": "second"},
    "agent.deny": {"run": "{asking}"},
    "agent.list": {},
    "agent.resume": {"agent": "helper"},
    "agent.run": {"request": "Make a task", "model": MODEL, "agent": "helper", "max_tokens": 1000},
    "agent.runs": {},
    "agent.show": {"run": "{asking}"},
    "agent.stop": {"agent": "helper", "reason": "enough"},
    "agent.undo": {"run": "{ended}"},
    "audit.export": {"limit": 5},
    "audit.list": {"limit": 5},
    "audit.show": {"audit": "{undoable}"},
    "audit.undo": {"audit": "{last}"},
    "audit.verify": {},
    "budget.create": {"scope": "user:ana", "cap": "5k"},
    "budget.list": {},
    "budget.remove": {"budget": "{budget}"},
    "budget.set": {"budget": "{budget}", "cap": "2M"},
    "budget.show": {"budget": "{budget}"},
    "calendar.free": {"people": ["me", "ana"], "start": "2027-01-11", "end": "2027-01-12", "rooms": ["any"]},
    "calendar.set": {"tz": "Europe/Berlin", "opens": "08:30", "days": ["mon", "tue"]},
    "calendar.show": {"user": "ana"},
    "channel.add": {"channel": "launch", "user": "bob"},
    "channel.create": {"name": "lunch", "members": ["ana", "bob"]},
    "channel.leave": {"channel": "launch"},
    "channel.list": {},
    "channel.show": {"channel": "launch"},
    "commands.describe": {"name": "task.create"},
    "commands.offer": {"text": "make a task"},
    "commands.search": {"text": "make a task"},
    "department.create": {"name": "north", "parent": "sales", "lead": "ana"},
    "department.join": {"department": "sales", "user": "zoe", "title": "Guest"},
    "department.leave": {"department": "sales", "user": "ana"},
    "department.list": {},
    "department.remove": {"department": "empty"},
    "department.set": {"department": "sales", "name": "trade", "lead": "none"},
    "department.show": {"department": "sales"},
    "deploy.create": {"model": "m2", "provider": "lab"},
    "deploy.list": {},
    "deploy.remove": {"name": "lab/m"},
    "deploy.show": {"name": MODEL},
    "deploy.start": {"name": "lab/m"},
    "deploy.stop": {"name": MODEL},
    "doc.comment": {"doc": "Plan", "text": "Which Monday?"},
    "doc.create": {"title": "Second", "content": "words", "everyone": "read"},
    "doc.edit": {"doc": "Plan", "content": "other words", "title": "Plan B", "base": 1},
    "doc.history": {"doc": "{doc}"},
    "doc.list": {"match": "plan"},
    "doc.remove": {"doc": "{doc}"},
    "doc.share": {"doc": "{doc}", "user": "ana", "rights": "write"},
    "doc.show": {"doc": "{doc}"},
    "event.answer": {"event": "{asked}", "answer": "accepted", "comment": "with pleasure"},
    "event.cancel": {"event": "{event}"},
    "event.create": {
        "title": "Kick-off",
        "start": "2027-02-01T10:00",
        "length": "45m",
        "tz": "Europe/Berlin",
        "people": ["ana", "bob"],
        "room": "blue",
        "repeat": "FREQ=WEEKLY;COUNT=3",
        "remind": "15m",
    },
    "event.export": {},
    "event.import": {"content": CALENDAR},
    "event.invite": {"event": "{event}", "people": ["bob"]},
    "event.list": {"start": "2027-01-04", "end": "2027-01-13"},
    "event.set": {"event": "{event}", "start": "2027-01-11T14:00", "title": "Second review"},
    "event.show": {"event": "{event}"},
    "file.get": {"file": "{file}"},
    "file.list": {},
    "file.move": {"file": "{file}", "folder": "plans/old", "name": "p.txt"},
    "file.put": {"name": "new.txt", "content_base64": base64.b64encode(b"new").decode(), "folder": "plans"},
    "file.remove": {"file": "plan.txt"},
    "file.share": {"file": "{file}", "user": "bob"},
    "file.show": {"file": "{file}"},
    "form.create": {
        "name": "travel",
        "fields": {"to": "text"},
        "route": ["lead", "any:ana+role:owner"],
        "hours": 8,
        "escalate": "lead",
    },
    "form.list": {},
    "gate.answer": {"approve": ["{gate}"], "comment": "fine"},
    "gate.approve": {"gate": "{gate}", "comment": "fine"},
    "gate.deny": {"gate": "{gate}"},
    "gate.list": {},
    "gate.show": {"gate": "{gate}"},
    "grant.create": {"agent": "helper", "commands": ["task.*"], "vouched": ["ana"], "budget": 5},
    "grant.list": {},
    "grant.revoke": {"grant": "{grant}"},
    "grant.show": {"grant": "{grant}"},
    "hook.create": {"name": "second", "url": "https://example.org/x", "kinds": ["to_decide"]},
    "hook.list": {},
    "hook.remove": {"hook": "old"},
    "hook.send": {"hook": "chat", "text": "hello"},
    "job.cancel": {"job": "{job}"},
    "job.list": {},
    "job.show": {"job": "{job}"},
    "key.create": {"name": "laptop", "user": "ana", "scopes": ["read"]},
    "key.list": {},
    "key.revoke": {"key": "{spare}"},
    "key.rotate": {"key": "{turned}"},
    "key.show": {"key": "{spare}"},
    "ledger.correct": {"request_id": "req_served", "reason": "a test"},
    "ledger.post-residual": {"engine_boot": "boot_1"},
    "ledger.reconcile": {},
    "ledger.show": {"request_id": "req_served"},
    "ledger.statement": {},
    "ledger.verify": {},
    "login-link.create": {"user": "ana"},
    "mcp.add": {"name": "files", "target": "http://127.0.0.1:9/mcp", "token": "tok"},
    "mcp.allow": {"name": "lab", "effect": "read"},
    "mcp.calls": {},
    "mcp.forbid": {"name": "lab", "tool": ["act"]},
    "mcp.list": {},
    "mcp.pin": {"command": "task.list"},
    "mcp.refresh": {"name": "lab"},
    "mcp.remove": {"name": "lab"},
    "mcp.result": {"call": "{call}"},
    "mcp.show": {"name": "lab"},
    "mcp.tools": {},
    "mcp.unpin": {"command": "task.show"},
    "mcp.withdraw": {"call": "{call}"},
    "message.edit": {"message": "{message}", "text": "Hello @ana and all"},
    "message.list": {"channel": "launch"},
    "message.recall": {"message": "{message}"},
    "message.send": {"text": "Lunch? @bob", "to": "bob", "files": ["{file}"]},
    "message.show": {"message": "{message}"},
    "model.add": {"path": "{other}", "name": "other"},
    "model.list": {},
    "model.pull": {"name": "qwen2.5-coder-0.5b-instruct"},
    "model.remove": {"name": "own"},
    "model.show": {"name": MODEL},
    "notice.list": {},
    "notice.read": {},
    "org.show": {},
    "outbox.list": {},
    "outbox.resend": {"letter": "{lost}"},
    "outbox.show": {"letter": "{letter}"},
    "outbox.unsend": {"letter": "{letter}"},
    "policy.apply": {"text": POLICIES, "note": "a test"},
    "policy.list": {},
    "policy.why": {"command": "task.create", "arguments": {"title": "x"}, "user": "ana"},
    "price.history": {"sku": MODEL},
    "price.import": {"provider": "openai", "model": "gpt-4o-mini"},
    "price.list": {},
    "price.set": {"sku": MODEL, "input": "1", "output": "2"},
    "price.show": {"sku": MODEL},
    "price.simulate": {},
    "project.create": {"name": "second", "team": "crew"},
    "project.list": {},
    "provider.add": {"name": "lab2", "url": "http://127.0.0.1:9/v1", "model": ["m"]},
    "provider.list": {},
    "provider.remove": {"name": "lab"},
    "provider.test": {"name": "lab"},
    "report-form.close": {"form": "weekly"},
    "report-form.create": {
        "name": "monthly",
        "fields": {"done": "done", "next": "open", "met": "events"},
        "authors": ["ana", "sales"],
        "due": "fri 16:00",
    },
    "report-form.list": {},
    "report.comment": {"report": "{sent_report}", "text": "Well done"},
    "report.draft": {"form": "weekly", "period": "2026-W39"},
    "report.list": {},
    "report.missing": {"form": "weekly", "period": "2026-W41"},
    "report.read": {"report": "{sent_report}"},
    "report.send": {"report": "{own_report}", "to": ["ana"]},
    "report.set": {"report": "{own_report}", "values": {"trouble": "none"}},
    "report.show": {"report": "{sent_report}"},
    "request.add-signer": {"request": "{two}", "user": "zoe", "after": True},
    "request.approve": {"request": "{request}", "comment": "enjoy"},
    "request.create": {"form": "expense", "values": {"sum": 7}},
    "request.delegate": {"request": "{request}", "user": "bob"},
    "request.escalate": {"request": "{late}"},
    "request.list": {},
    "request.reject": {"request": "{request}"},
    "request.resubmit": {"request": "{returned}", "values": {"sum": 13}},
    "request.return": {"request": "{back}", "comment": "from when on?"},
    "request.show": {"request": "{request}"},
    "request.withdraw": {"request": "{own_request}"},
    "room.close": {"room": "attic"},
    "room.create": {"name": "green", "capacity": 6, "place": "third floor"},
    "room.list": {},
    "room.set": {"room": "blue", "capacity": 5},
    "schedule.create": {"request": "Report", "cron": "@daily", "time_zone": "Europe/Paris", "model": MODEL},
    "schedule.list": {},
    "schedule.remove": {"schedule": "{schedule}"},
    "service-account.create": {"name": "second", "team": "crew"},
    "service-account.list": {},
    "skill.add": {"folder": skill_zip("second", head="allowed-tools: Read task.*\n")},
    "skill.allow": {"skill": "proposal", "digest": "{proposal_digest}"},
    "skill.cancel": {"run": "{run}"},
    "skill.deny": {"skill": "proposal", "reason": "a test"},
    "skill.list": {},
    "skill.read": {"skill": "sums", "path": "data.txt"},
    "skill.remove": {"skill": "proposal"},
    "skill.result": {"run": "{run}"},
    "skill.run": {"skill": "sums", "script": "scripts/sum.py", "arguments": ["1", "2"], "files": ["{file}"]},
    "skill.show": {"skill": "sums"},
    "skill.use": {"skill": "sums"},
    "skill.verify": {"skill": "sums"},
    "task.comment": {"task": "{task}", "text": "Waiting"},
    "task.create": {
        "title": "New",
        "assignee": "bob",
        "project": "launch",
        "due": "2026-12-01",
        "priority": 1,
    },
    "task.drop": {"task": "{task}"},
    "task.finish": {"task": "{task}"},
    "task.list": {"assignee": "ana"},
    "task.reopen": {"task": "{done}"},
    "task.set": {"task": "{task}", "title": "Write", "assignee": "bob", "due": "2026-12-24"},
    "task.show": {"task": "{task}"},
    "team.add": {"team": "crew", "user": "bob"},
    "team.create": {"name": "second"},
    "team.list": {},
    "team.remove": {"team": "crew", "user": "ana"},
    "usage.show": {},
    "user.create": {"name": "kim", "team": "crew"},
    "user.disable": {"user": "zoe"},
    "user.list": {},
    "user.show": {"user": "ana"},
    "work.search": {"text": "secretword"},
}
"""Arguments for every command, by its name; the caller is the owner."""
