"""Two workers, or two processes, at the same work: it is done once."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from tests.work.racing import together, whole
from tests.work.test_approvals import HOUR_MS, Later, kinds
from tests.work.world import MODEL, World
from tokenhub.agents import journal, runs, schedules, spending
from tokenhub.agents.tables import agent_runs, agent_schedules
from tokenhub.bootstrap.commands import registry
from tokenhub.identity.tables import grants
from tokenhub.kernel.clock import now_ms
from tokenhub.work.clockwork import Clockwork

ROOT = Path(__file__).resolve().parents[2]


def test_a_schedule_fires_once(world: World) -> None:
    with world.database.write("hub") as connection:
        due = agent_schedules.c.id == world.ids["schedule"]
        connection.execute(update(agent_schedules).where(due).values(next_at_ms=1))

    def fire() -> int:
        with world.database.write("hub") as connection:
            return schedules.fire_due(connection, at_ms=now_ms())

    assert sorted(together(fire, fire, fire)) == [0, 0, 1]
    with world.database.read("hub") as connection:
        begun = select(func.count()).where(agent_runs.c.origin == f"schedule:{world.ids['schedule']}")
        assert connection.execute(begun).scalar_one() == 1


def test_reminders_and_calls_for_reports_come_once(world: World) -> None:
    clock = Later()
    many = [Clockwork(world.database, world.settings, registry(), clock=clock) for _ in range(3)]
    clock.ahead_ms = HOUR_MS + 120_000
    many[0].run()  # what else is due by then, at some times of the day
    before = kinds(world, "bob")
    start = datetime.fromtimestamp((now_ms() + 2 * HOUR_MS) / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
    world.do("ana", "event.create", title="Gym", start=start, people=["bob"], remind="1h")
    form: dict[str, Any] = {"fields": {"done": "text"}, "period": "day", "authors": ["bob"], "tz": "UTC"}
    due = datetime.fromtimestamp((now_ms() + HOUR_MS) / 1000, UTC).strftime("%H:%M")
    world.do("admin", "report-form.create", name="evening", due=due, **form)
    together(*(one.run for one in many))
    for kind in ("reminder", "report_due"):
        assert kinds(world, "bob").count(kind) == before.count(kind) + 1
    whole(world)


def test_children_of_a_run_share_the_last_tokens(world: World) -> None:
    """Four children reserve at once what fits only twice: what is held never passes what the first run may use."""
    made = world.call("admin", "agent.run", request="Split it", model=MODEL, max_tokens=10_000).data
    assert made is not None
    with world.database.write("hub") as connection:
        row = connection.execute(select(agent_runs).where(agent_runs.c.id == made["id"])).mappings().one()
        lent = connection.execute(select(grants).where(grants.c.id == made["id"])).mappings().one()
        for number in range(4):
            mine = {"id": f"run_child{number}", "parent_id": row["id"]}
            connection.execute(insert(grants).values(**{**lent, **mine}))
            connection.execute(insert(agent_runs).values(**{**row, **mine, "tokens_max": 9_000}))

    def reserve(number: int) -> int:
        with world.database.write("hub") as connection:
            run = runs.load_run(connection, f"run_child{number}")
            assert run is not None
            found = spending.room(connection, run, prompt_bound=3_000, lost_tokens=0, at_ms=2)
            if not found.answer_tokens:
                return 0
            held = 3_000 + found.answer_tokens
            journal.open_model(connection, run.id, 1, model=MODEL, body="{}", held_tokens=held, at_ms=2)
            return held

    held = together(*(lambda number=number: reserve(number) for number in range(4)))
    assert sum(held) <= 10_000 and sum(one > 0 for one in held) == 2, held


PROGRAM = """
import json, sys
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.door import Runtime, execute
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.keys import authenticate

asked = json.loads(sys.argv[1])
settings = Settings(home=asked["home"], database_url=asked["url"])
database = Database(settings)
with database.read("hub") as connection:
    principal = authenticate(connection, asked["key"])
registry()
print("ready", flush=True)
sys.stdin.readline()
told = []
for name, raw, key in asked["calls"]:
    answer = execute(registry(), Runtime(database, settings), principal, name, raw, idempotency_key=key)
    told.append([answer.error.code if answer.error else answer.status, answer.replayed, (answer.data or {}).get("id")])
print(json.dumps(told), flush=True)
"""


@pytest.mark.slow
def test_two_processes_are_as_two_threads(world: World) -> None:
    """The same keys and the same rooms from two processes at once, ten times each."""
    calls: list[Any] = [["task.create", {"title": f"{number}"}, f"k{number}"] for number in range(10)]
    calls += [
        ["event.create", {"title": "x", "start": f"2027-04-{day:02}T10:00", "room": "attic"}, ""]
        for day in range(1, 11)
    ]
    asked = {"home": str(world.settings.home), "url": world.settings.database_url, "key": world.keys["ana"]}
    command = [sys.executable, "-c", PROGRAM, json.dumps({**asked, "calls": calls})]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for one in both:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    told = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    for here, there in zip(told[0][:10], told[1][:10], strict=True):
        assert here[0] == there[0] == "success" and here[2] == there[2] and here[1] != there[1], (here, there)
    for here, there in zip(told[0][10:], told[1][10:], strict=True):
        assert Counter((here[0], there[0])) == {"success": 1, "room_taken": 1}, (here, there)
    whole(world)
