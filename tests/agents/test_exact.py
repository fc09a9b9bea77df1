"""The exact mind: each sentence one valid command, then the end; through the same door, with the same trace."""

import pytest

from tests.agents.conftest import Office
from tokenhub.agents.exact import ExactMind, sentences
from tokenhub.bootstrap.commands import registry


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ("list my tasks", ["list my tasks"]),
        ("List my tasks. Then show the org", ["List my tasks", "show the org"]),
        (
            'send ana "first this. then that" and then list my tasks',
            ['send ana "first this. then that"', "list my tasks"],
        ),
        ("新建部门“一。二”，然后列出部门。", ["新建部门“一。二”", "列出部门"]),
        (
            "share plan.pdf with bob\nshow price 0.25 of x",
            ["share plan.pdf with bob", "show price 0.25 of x"],
        ),
        ("...", ["..."]),
    ],
)
def test_a_request_is_taken_sentence_by_sentence(request_: str, parts: list[str]) -> None:
    assert sentences(request_) == parts


def test_a_run_does_each_sentence_once_and_ends(office: Office) -> None:
    run = office.run(
        "make a task for bob: count the chairs. then make a task: count the tables", mind="exact"
    )
    assert (run.state, run.code) == ("done", "answered")
    steps = [(step.kind, step.name) for step in office.steps(run.id)]
    assert [name for kind, name in steps if kind == "command"] == ["task.create", "task.create"]
    assert {"count the chairs", "count the tables"} <= set(office.titles())
    made = office.world.do("ana", "task.show", task="count the chairs")
    assert made["assignee"] == "bob"


def test_what_is_no_command_ends_the_run_and_runs_nothing() -> None:
    mind = ExactMind()
    for content in ("Done.", "", None, "[1]", '{"command": "task.create"}', "[" * 5000, '{"x": 1}'):
        assert mind.actions(registry(), {"content": content}) == []
    [action] = mind.actions(registry(), {"content": '{"command": "task.list", "arguments": {"state": ""}}'})
    assert (action.name, action.arguments) == ("task.list", '{"state": ""}')
