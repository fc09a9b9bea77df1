"""Whatever is said, every option is a valid command; what is said outright becomes its arguments."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenhub.agents.intent.choice import chosen_from, request_for
from tokenhub.agents.intent.options import OPTIONS_MAX, options_of
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.parsing import parse

MONDAY = datetime(2026, 11, 23, 9, 0)
PEOPLE = ["Zita", "Anna Lee", "吴敏"]


def _first(text: str) -> tuple[str, dict[str, Any]]:
    best = options_of(registry(), text, people=PEOPLE, now=MONDAY)[0]
    return best.command, best.arguments


@pytest.mark.parametrize(
    ("text", "command", "arguments"),
    [
        (
            "Make a task for Zita: oil the hinges, due tomorrow",
            "task.create",
            {"title": "oil the hinges", "assignee": "Zita", "due": "2026-11-24"},
        ),
        ("message Anna “see you there”", "message.send", {"text": "see you there", "to": "Anna Lee"}),
        ("把文档“菜单”分享给吴敏", "doc.share", {"doc": "菜单", "user": "吴敏"}),
        ("approve req_01ABCDEF", "request.approve", {"request": "req_01ABCDEF"}),
        ("list my tasks", "task.list", {"assignee": "me"}),
        ("show file plan-b.pdf", "file.show", {"file": "plan-b.pdf"}),
        (
            "create a budget for user:Zita of 3 million tokens per week",
            "budget.create",
            {"scope": "user:Zita", "cap": "3M", "window": "week"},
        ),
    ],
)
def test_arguments_are_what_was_said(text: str, command: str, arguments: dict[str, Any]) -> None:
    assert _first(text) == (command, arguments)


def test_a_name_within_quotes_is_content() -> None:
    command, arguments = _first('comment on the task "Zita\'s desk": needs a lamp')
    assert command == "task.comment" and arguments["task"] == "Zita's desk"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                [
                    "task",
                    "share",
                    "Zita",
                    '"a b"',
                    "task_01ABCDEF",
                    "tomorrow",
                    "把",
                    "任务",
                    "删除",
                    "5M",
                    "doc.share",
                ]
            ),
        ),
        max_size=10,
    )
)
def test_every_option_is_valid_whatever_is_said(words: list[str]) -> None:
    options = options_of(registry(), " ".join(words), people=PEOPLE, now=MONDAY)
    assert 1 <= len(options) <= OPTIONS_MAX
    for option in options:
        parse(registry().get(option.command), option.arguments)
        assert chosen_from(option.line(), options) is not None


def test_only_what_the_caller_may_run_is_offered() -> None:
    options = options_of(
        registry(), "delete the task list", now=MONDAY, allows=lambda command: command.effect == "read"
    )
    assert all(option.effect == "read" for option in options)


def test_an_answer_that_is_no_option_is_none() -> None:
    options = options_of(registry(), "list my tasks", now=MONDAY)
    for content in (
        None,
        "",
        "task.list",
        "[]",
        '{"command": "task.list"}',
        options[0].line()[:-1],
        "[" * 10_000,
    ):
        assert chosen_from(content, options) is None


def test_the_answer_always_has_room() -> None:
    options = options_of(registry(), f"make a task: {'长' * 150}", now=MONDAY)
    body = request_for("x", options)
    assert body["max_tokens"] > max(len(option.line().encode()) for option in options)
    assert body["response_format"]["json_schema"]["schema"]["enum"][0] == options[0].to_dict()


@pytest.mark.parametrize("sentence", ["{}", "show {}", "what is {} about", "close {} please"])
@pytest.mark.parametrize("prefix", ["room", "doc", "file", "form", "note", "task", "event", "user", "key"])
def test_an_id_is_never_torn(sentence: str, prefix: str) -> None:
    """`room` is a word for a channel too, but not within `room_01…`."""
    tail = "01M8NTZTX703QNN47TW1EWTJKQ"
    found = options_of(registry(), sentence.format(f"{prefix}_{tail}"), now=MONDAY)
    torn = [one for one in found if tail in str(one.arguments).replace(f"{prefix}_{tail}", "")]
    assert torn == []
