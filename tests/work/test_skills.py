"""The allow-list, what an agent is shown, how a skill narrows its run, and scripts from the question to the result."""

import base64
import threading
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.work.world import SUM, World, skill_zip
from tokenhub.adapters.sandbox.bubblewrap import Bubblewrap
from tokenhub.agents.sandbox import Sandbox
from tokenhub.identity.keys import authenticate
from tokenhub.jobs import store as jobs
from tokenhub.jobs.runner import run_job
from tokenhub.work.skills.jobs import RUN, run_handler
from tokenhub.work.skills.tables import skill_blobs, skill_files, skill_runs, skills

needs_bubblewrap = pytest.mark.skipif(bool(Bubblewrap().missing()), reason="no bubblewrap on this machine")


def add(world: World, name: str, *, by: str = "admin", allow: bool = True, **more: Any) -> dict[str, Any]:
    shown = world.do(by, "skill.add", folder=skill_zip(name, **more))
    if allow:
        world.do("admin", "skill.allow", skill=name, digest=shown["digest"][:12])
    return shown


def agent(world: World, *, commands: list[str] | None = None) -> str:
    """A person of the world that is a fresh agent of admin's."""
    made = world.do("admin", "grant.create", agent="helper", commands=commands or ["*"], vouched=["sums"])
    name = f"agent {made['id']}"
    with world.database.read("hub") as connection:
        world.people[name] = authenticate(connection, made["key"])
    world.ids[name] = made["id"]
    return name


def code(answer: Any) -> str:
    return answer.error.code if answer.error else ""


def work_off(world: World, sandbox: Sandbox | None = None) -> None:
    """Run the scripts that wait."""
    handler = run_handler(world.database, sandbox or Bubblewrap())
    while True:
        with world.database.write("hub") as connection:
            job = jobs.take(connection, kinds=[RUN], runner="test")
        if job is None:
            return
        run_job(world.database, job, handler, runner="test", stop=threading.Event())


def test_a_skill_is_refused_until_it_is_allowed_and_again_after_any_byte_changed(world: World) -> None:
    one = agent(world)
    first = add(world, "notes", by="ana", allow=False)
    assert first["state"] == "proposed"
    assert code(world.call(one, "skill.use", skill="notes")) == "skill_not_found"
    assert code(world.call("bob", "skill.show", skill="notes")) == "skill_not_found"
    assert code(world.call("ana", "skill.use", skill="notes")) == "skill_not_allowed"
    assert (
        code(world.call("ana", "skill.allow", skill="notes", digest=first["digest"])) == "permission_denied"
    )
    world.do("admin", "skill.allow", skill="notes", digest=first["digest"])
    assert world.do(one, "skill.use", skill="notes")["body"] == "Run scripts/sum.py."
    changed = add(world, "notes", by="ana", allow=False, files={"more.txt": b"x"})
    assert changed["state"] == "changed" and changed["digest"] != first["digest"]
    assert code(world.call(one, "skill.use", skill="notes")) == "skill_not_found"
    assert code(world.call("ana", "skill.use", skill="notes")) == "skill_not_allowed"
    assert code(world.call("admin", "skill.allow", skill="notes", digest=first["digest"])) == "skill_changed"
    back = add(world, "notes", by="ana", allow=False)
    assert back["state"] == "allowed"  # the same bytes as were allowed
    world.do("admin", "skill.deny", skill="notes", reason="asks for passwords")
    refused = world.call("ana", "skill.use", skill="notes")
    assert refused.error is not None and "asks for passwords" in refused.error.message


def test_only_who_added_it_or_an_administrator_replaces_or_removes_it(world: World) -> None:
    add(world, "notes", by="ana")
    answer = world.call("bob", "skill.add", folder=skill_zip("notes", files={"x": b""}))
    assert code(answer) == "permission_denied"
    assert code(world.call("bob", "skill.remove", skill="notes")) == "permission_denied"
    world.do("ana", "skill.remove", skill="notes")
    assert code(world.call("ana", "skill.show", skill="notes")) == "skill_not_found"
    assert add(world, "notes", by="bob", allow=False)["state"] == "proposed"  # put away is forgotten


def test_another_organisation_sees_nothing_of_it(world: World) -> None:
    add(world, "notes")
    for name, more in (("skill.show", {}), ("skill.use", {}), ("skill.read", {"path": "SKILL.md"}), ("skill.verify", {}),
                       ("skill.deny", {}), ("skill.remove", {})):  # fmt: skip
        unknown = world.call("eve", name, skill="none", **more)
        foreign = world.call("eve", name, skill="notes", **more)
        assert code(unknown) == code(foreign) == "skill_not_found", name
    assert world.do("eve", "skill.list")["items"] == []
    assert code(world.call("eve", "skill.result", run=world.ids["run"])) == "skill_run_not_found"
    for listed in (world.do("eve", "job.list")["items"], world.do("admin", "job.list")["items"]):
        assert "skill.run" not in {job["kind"] for job in listed}
    with world.database.read("hub") as connection:
        job = connection.execute(select(skill_runs.c.job_id)).scalars().first()
    assert code(world.call("eve", "job.show", job=job)) == "job_not_found"
    assert code(world.call("eve", "job.cancel", job=job)) == "job_not_found"


@pytest.mark.parametrize("table", [skill_blobs, skill_files, skills], ids=lambda table: table.name)
def test_a_byte_changed_in_the_database_is_found_at_every_use(world: World, table: Any) -> None:
    values = {
        "skill_blobs": {"data": b"evil"},
        "skill_files": {"path": "evil"},
        "skills": {"digest": "0" * 64},
    }
    change = update(table).values(**values[table.name])
    if table is skill_files:
        change = change.where(table.c.path == "data.txt")
    if table is skills:
        change = update(table).where(table.c.name == "sums").values(decided_digest="0" * 64)
    with world.database.write("hub") as connection:
        connection.execute(change)
    found = code(world.call("admin", "skill.use", skill="sums"))
    assert found == ("skill_not_allowed" if table is skills else "skill_changed")
    if table is not skills:
        assert world.do("admin", "skill.verify", skill="sums")["sound"] is False
        assert code(world.call("admin", "skill.read", skill="sums", path="SKILL.md")) == "skill_changed"


def test_disclosure_goes_by_steps(world: World) -> None:
    one = agent(world)
    listed = world.do(one, "skill.list")["items"]
    assert [(item["name"], sorted(item)) for item in listed] == [
        ("sums", ["description", "id", "name", "state"])
    ]
    used = world.do(one, "skill.use", skill="sums")
    assert [file["path"] for file in used["files"]] == ["SKILL.md", "data.txt", "scripts/sum.py"]
    assert world.do(one, "skill.read", skill="sums", path="data.txt")["text"] == "1 2 3"
    assert code(world.call(one, "skill.read", skill="sums", path="../data.txt")) == "skill_not_found"
    assert used["commands"] is None
    world.do(one, "task.create", title="not narrowed")


def test_allowed_tools_narrow_the_run_that_uses_it_and_never_widen(world: World) -> None:
    add(world, "tasks", head="allowed-tools: task.* Read Teleport\n")
    add(world, "docs", head="allowed-tools: doc.* task.list\n")
    one = agent(world, commands=["task.*", "skill.*", "user.list", "audit.undo"])
    other = agent(world)
    world.do(one, "user.list")
    used = world.do(one, "skill.use", skill="tasks")
    assert used["unknown_tools"] == ["Teleport"] and "task.*" in used["commands"]
    world.do(one, "task.create", title="still")
    refused = world.call(one, "user.list")
    assert code(refused) == "skill_narrowed" and refused.error and "'tasks'" in refused.error.message
    assert code(world.call(one, "file.get", file="plan.txt")) == "policy_denied"  # never lent, so not got
    assert code(world.call(one, "audit.undo", audit=world.ids["last"])) == "skill_narrowed"
    world.do(other, "user.list")  # another run is not bound
    world.do(one, "skill.use", skill="docs")
    assert code(world.call(one, "task.create", title="no more")) == "skill_narrowed"
    assert world.call(one, "task.list").ok  # what both leave
    assert not world.call(one, "doc.list").ok  # never lent
    world.do(one, "skill.list")
    world.do("admin", "user.list")  # a person is not bound by what they read


def test_a_grant_below_a_narrowed_one_is_narrowed_too(world: World) -> None:
    add(world, "tasks", head="allowed-tools: task.*\n")
    one = agent(world)
    child = world.do(one, "grant.create", agent="helper", commands=["*"])
    with world.database.read("hub") as connection:
        world.people["child"] = authenticate(connection, child["key"])
    world.do("child", "user.list")
    world.do(one, "skill.use", skill="tasks")
    assert code(world.call("child", "user.list")) == "skill_narrowed"


def test_an_agent_allows_nothing(world: World) -> None:
    one = agent(world)
    answer = world.call(one, "skill.allow", skill="proposal", digest=world.ids["proposal_digest"])
    assert code(answer) == "policy_denied"


@needs_bubblewrap
def test_a_script_runs_after_the_command_and_its_result_taints(world: World) -> None:
    work_off(world)
    one = agent(world)
    asked = world.call(one, "skill.run", skill="sums", script="scripts/sum.py", arguments=["1", "41"])
    assert asked.status == "pending" and asked.data is not None, asked
    run_id = asked.data["id"]
    assert world.do("admin", "skill.result", run=run_id)["state"] == "queued"
    assert code(world.call("ana", "skill.result", run=run_id)) == "skill_run_not_found"
    work_off(world)
    assert world.do("admin", "grant.show", grant=world.ids[one])["tainted"] is False
    result = world.do(one, "skill.result", run=run_id, file="sum.txt")
    assert (result["state"], result["exit_code"], result["stdout"]) == ("done", 0, "42\n")
    assert result["files"] == [{"path": "sum.txt", "size_bytes": 4}]
    assert base64.b64decode(result["content_base64"]) == b"done"
    assert world.do("admin", "grant.show", grant=world.ids[one])["tainted"] is True
    assert code(world.call(one, "skill.result", run=run_id, file="../x")) == "skill_run_not_found"


@needs_bubblewrap
def test_a_script_gets_files_that_its_caller_may_read_and_no_others(world: World) -> None:
    add(world, "cat", files={"cat.sh": b"cat *.txt"})
    asked = world.call("admin", "skill.run", skill="cat", script="cat.sh", files=["plan.txt"])
    assert asked.data is not None, asked
    work_off(world)
    assert world.do("admin", "skill.result", run=asked.data["id"])["stdout"] == "a plan"
    assert (
        code(world.call("bob", "skill.run", skill="cat", script="cat.sh", files=["plan.txt"]))
        == "file_not_found"
    )
    narrow = agent(world, commands=["skill.*"])
    answer = world.call(narrow, "skill.run", skill="cat", script="cat.sh", files=["plan.txt"])
    assert code(answer) == "permission_denied" and answer.error and "file.get" in answer.error.message


def test_a_run_that_may_not_start_any_more_says_why(world: World) -> None:
    def started(by: str) -> str:
        answer = world.call(by, "skill.run", skill="sums", script="scripts/sum.py")
        assert answer.data is not None, answer
        return answer.data["id"]

    one, two = agent(world), agent(world)
    revoked, stopped, denied, missing = started(one), started(two), started("ana"), started("admin")
    world.do("admin", "grant.revoke", grant=world.ids[one])
    work_off(world, Bubblewrap("no-such-program"))
    assert "ended" in world.do("admin", "skill.result", run=revoked)["stopped"]
    assert "bubblewrap" in world.do("admin", "skill.result", run=missing)["stopped"]
    assert world.do("admin", "skill.result", run=missing)["state"] == "failed"
    assert world.do("admin", "skill.result", run=stopped)["state"] == "failed"
    denied = started("ana")
    world.do("admin", "skill.deny", skill="sums")
    work_off(world)
    assert "not allowed any more" in world.do("ana", "skill.result", run=denied)["stopped"]


def test_a_run_is_cancelled_by_its_undo_and_only_by_its_person(world: World) -> None:
    answer = world.call("ana", "skill.run", skill="sums", script="scripts/sum.py")
    assert answer.data is not None
    run_id = answer.data["id"]
    assert code(world.call("bob", "skill.cancel", run=run_id)) == "skill_run_not_found"
    undone = world.call("ana", "audit.undo", audit=answer.audit_id)
    assert undone.ok, undone
    assert world.do("ana", "skill.result", run=run_id)["state"] == "cancelled"
    work_off(world)
    assert world.do("ana", "skill.cancel", run=run_id)["state"] == "cancelled"


def test_too_many_runs_and_scripts_that_are_not_there_are_refused(world: World) -> None:
    assert code(world.call("ana", "skill.run", skill="sums", script="scripts/none.py")) == "skill_not_found"
    assert code(world.call("ana", "skill.run", skill="sums", script="scripts/sum.py", arguments=["x" * 5000]))
    for _ in range(20):
        assert world.call("ana", "skill.run", skill="sums", script="scripts/sum.py").status == "pending"
    assert code(world.call("ana", "skill.run", skill="sums", script="scripts/sum.py")) == "too_many_runs"


def test_a_bad_skill_writes_nothing(world: World) -> None:
    for folder in (
        "",
        "!",
        base64.b64encode(b"no zip").decode(),
        skill_zip("UPPER"),
        skill_zip("a", files={"../x": b""}),
    ):
        answer = world.call("admin", "skill.add", folder=folder)
        assert answer.error is not None and answer.error.status == 400, folder
        assert answer.audit_id is None
    assert [item["name"] for item in world.do("admin", "skill.list")["items"]] == ["proposal", "sums"]
    assert SUM
