"""What wakes runs, and what a death in the middle leaves."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.acceptance.scripted_agent import script
from tests.agents.conftest import Office
from tokenhub.agents import journal, runs, spending
from tokenhub.agents.cron import parse_cron
from tokenhub.agents.runs import Superseded
from tokenhub.kernel.errors import InvalidRequest


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _text(at_ms: int | None) -> str:
    assert at_ms is not None
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def test_cron_follows_the_zone_through_the_year() -> None:
    nine = parse_cron("0 9 * * mon-fri", "Europe/Paris")
    assert (
        _text(nine.after(_ms("2026-03-27T12:00+00:00"))) == "2026-03-30 07:00"
    )  # summer time began on the 29th
    assert _text(nine.after(_ms("2026-10-23T12:00+00:00"))) == "2026-10-26 08:00"
    skipped = parse_cron("30 2 29 3 *", "Europe/Paris")
    assert _text(skipped.after(_ms("2026-01-01T00:00+00:00"))) == "2026-03-29 01:30"
    assert _text(parse_cron("*/20 * * * *", "UTC").after(_ms("2026-01-01T00:05+00:00"))) == "2026-01-01 00:20"
    assert _text(parse_cron("0 0 1 jan *", "UTC").after(_ms("2026-01-01T00:00+00:00"))) == "2027-01-01 00:00"
    either = parse_cron("0 0 13 * fri", "UTC")
    assert _text(either.after(_ms("2026-11-13T00:00+00:00"))) == "2026-11-20 00:00"


@pytest.mark.parametrize(
    "text", ["", "* * * *", "61 * * * *", "0 9 * * funday", "0 0 30 2 *", "*/0 * * * *", "5-1 * * * *"]
)
def test_no_cron(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_cron(text, "UTC")
    with pytest.raises(InvalidRequest):
        parse_cron("@daily", "Mars/Olympus")


def test_a_schedule_begins_one_run_however_long_the_hub_was_down(office: Office) -> None:
    made = office.world.do(
        "ana",
        "schedule.create",
        request=script([["task.create", {"title": "weekly"}]], "Done."),
        cron="* * * * *",
        model="scripted/agent",
    )
    office.work()
    assert "weekly" not in office.titles()
    office.pass_time(3_600_000)
    office.work()
    assert office.titles().count("weekly") == 1
    shown = next(
        item for item in office.world.do("ana", "schedule.list")["items"] if item["id"] == made["id"]
    )
    assert shown["fired"] == 1 and office.look(shown["last_run_id"]).origin == f"schedule:{made['id']}"
    office.world.do("ana", "schedule.remove", schedule=made["id"])
    office.pass_time(7_200_000)
    office.work()
    assert office.titles().count("weekly") == 1


def test_an_event_begins_a_tainted_run_and_not_for_itself(office: Office) -> None:
    office.work()
    made = office.world.do(
        "ana",
        "schedule.create",
        request=script([["task.create", {"title": "answer"}]], "Done."),
        event="task.create",
        model="scripted/agent",
    )
    office.world.do("bob", "task.create", title="something happened", assignee="ana")
    office.work(times=30)
    shown = next(
        item for item in office.world.do("ana", "schedule.list")["items"] if item["id"] == made["id"]
    )
    assert shown["fired"] == 1
    assert office.world.do("ana", "agent.show", run=shown["last_run_id"])["tainted"]
    assert "something happened" in office.look(shown["last_run_id"]).request


def test_a_schedule_ends_with_the_key_that_made_it(office: Office) -> None:
    made = office.world.do("ana", "schedule.create", request="x", cron="* * * * *", model="scripted/agent")
    office.world.do("admin", "key.revoke", key=office.world.people["ana"].key_id)
    office.pass_time(3_600_000)
    office.work()
    shown = next(
        item for item in office.world.do("admin", "schedule.list")["items"] if item["id"] == made["id"]
    )
    assert shown["fired"] == 0 and "revoked" in shown["paused"] and shown["next_at_ms"] is None


def test_a_stretch_that_died_after_the_effect_does_it_once(office: Office) -> None:
    run_id = office.start(script([["task.create", {"title": "once"}]], "Done."))
    office.work()
    # as if the worker had died between the effect and its journal line, before anything after it
    with office.database.write("hub") as connection:
        office_steps = journal.steps_of(connection, run_id)
        connection.exec_driver_sql(f"DELETE FROM agent_steps WHERE run_id = '{run_id}' AND seq > 2")
        connection.exec_driver_sql(
            f"UPDATE agent_steps SET state = 'open', answer = '', audit_id = '' WHERE run_id = '{run_id}' AND seq = 2"
        )
        connection.exec_driver_sql(
            f"UPDATE agent_runs SET state = 'queued', segment = segment + 1, ended_at_ms = NULL WHERE id = '{run_id}'"
        )
        connection.exec_driver_sql(f"UPDATE grants SET revoked_at_ms = NULL WHERE id = '{run_id}'")
        connection.exec_driver_sql(f"UPDATE api_keys SET revoked_at_ms = NULL WHERE grant_id = '{run_id}'")
    office.work()
    assert office.look(run_id).state == "done" and office.titles().count("once") == 1
    again = office.steps(run_id)[1]
    assert (
        again.answer is not None and again.answer["replayed"] and again.audit_id == office_steps[1].audit_id
    )


def test_an_open_call_is_asked_again_under_its_key_and_its_bound_stays_held(office: Office) -> None:
    run_id = office.start(script("Done."))
    with office.database.write("hub") as connection:
        run = runs.claim(connection, run_id, 1, worker="test", at_ms=1)
        assert run is not None
        body = json.dumps(
            {
                "model": "scripted/agent",
                "messages": [{"role": "user", "content": run.request}],
                "max_tokens": 99,
            }
        )
        journal.open_model(connection, run_id, 1, model="m", body=body, held_tokens=1000, at_ms=1)
        assert journal.spent(connection, [run_id], at_ms=2) == (0, 1000)
    office.loop.advance(run_id, 1)
    step = office.steps(run_id)[0]
    assert (step.state, step.attempts, step.held_tokens) == ("done", 2, 1000)
    assert office.model.requests == [json.loads(body)], "the very same request"
    with office.database.read("hub") as connection:
        assert journal.spent(connection, [run_id], at_ms=office.loop.runtime.clock.now_ms())[1] == 1000
        later = office.loop.runtime.clock.now_ms() + journal.BOOKED_MS
        assert journal.spent(connection, [run_id], at_ms=later)[1] == 0


def test_whoever_was_superseded_changes_nothing(office: Office) -> None:
    run_id = office.start(script("Done."))
    with office.database.write("hub") as connection:
        old = runs.claim(connection, run_id, 1, worker="dead", at_ms=1)
        assert old is not None
        assert runs.claim(connection, run_id, 1, worker="other", at_ms=2) is None
    office.pass_time(10 * runs.LEASE_MS)
    with office.database.write("hub") as connection:
        new = runs.claim(connection, run_id, 2, worker="other", at_ms=2)
        assert new is not None
    with pytest.raises(Superseded), office.database.write("hub") as connection:
        runs.end(connection, old, state="done", code="answered", answer="late", at_ms=3)
    assert office.look(run_id).answer == ""


def test_a_child_cannot_spend_what_its_parent_has_not(office: Office) -> None:
    parent_id = office.start(script("Done."), max_tokens=10_000)
    with office.database.write("hub") as connection:
        parent = runs.load_run(connection, parent_id)
        assert parent is not None
        child = replace(parent, id="run_child", parent_id=parent.id, tokens_max=9_000)
        journal.open_model(connection, parent.id, 1, model="m", body="{}", held_tokens=8_000, at_ms=1)
        found = spending.room(connection, child, prompt_bound=1_500, lost_tokens=0, at_ms=2)
        assert found.answer_tokens == 500 and found.held_tokens == 8_000
        assert spending.room(connection, child, prompt_bound=1_990, lost_tokens=0, at_ms=2).answer_tokens == 0
