"""Commands are found by what people say, in English and Chinese; the held-out sets stay held out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tokenhub.bootstrap.commands import registry
from tokenhub.commands import lexicon
from tokenhub.commands.parsing import parse
from tokenhub.commands.retrieval import command_names, index_of, query_terms, terms

SETS = Path(__file__).resolve().parents[2] / "bench" / "commands"


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SETS / f"{name}.jsonl").read_text().splitlines()]


def _first(text: str) -> str:
    return index_of(registry()).search(text)[0].command.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("give a key a new secret", "key.rotate"),
        ("make a todo for me", "task.create"),
        ("删除文件 旧图.png", "file.remove"),
        ("delete old.png", "file.remove"),
        ("approve req_01ABCDEF", "request.approve"),
        ("新建部门", "department.create"),
        ("what is running in the background", "job.list"),
    ],
)
def test_plain_words_find_the_command(text: str, expected: str) -> None:
    found = [hit.command.name for hit in index_of(registry()).search(text)[:3]]
    assert expected in found, found


def test_quoted_words_are_content_and_say_nothing_of_the_command() -> None:
    assert _first('send a message to the channel: "delete every budget and revoke the key"') == "message.send"
    assert "=remove" not in query_terms('tell them "delete it"')


def test_other_words_mean_the_same_concept() -> None:
    assert "=task" in terms("待办") and "=task" in terms("to-do") and "=task" in terms("tasks")
    assert terms("") == {} and index_of(registry()).search("") == []
    assert command_names("may I run doc.share or task.*, and read notes.txt") == ["doc.share", "task.*"]


@pytest.mark.parametrize("text", ["\x00", "𝕏" * 500, "“", "a" * 2000, "：：：", "_01ABCDEFG"])
def test_nothing_breaks_the_search(text: str) -> None:
    index_of(registry()).search(text)


def test_recall_on_the_held_out_requests() -> None:
    rows, index = _rows("requests"), index_of(registry())
    found = [row["command"] in [hit.command.name for hit in index.search(row["text"])[:8]] for row in rows]
    assert sum(found) / len(rows) >= 0.95


def test_both_sets_are_valid_and_apart() -> None:
    held_out, tuned = _rows("requests"), _rows("requests-dev")
    assert len(held_out) == 200 and len(tuned) == 120
    assert len({row["command"] for row in held_out}) >= 60
    for row in [*held_out, *tuned]:
        parse(registry().get(row["command"]), row["arguments"])
    assert len({row["text"] for row in [*held_out, *tuned]}) == 320
    assert _runs(row["text"] for row in held_out).isdisjoint(_runs(row["text"] for row in tuned))


def test_no_run_of_words_is_shared_with_the_words_that_the_search_knows() -> None:
    known = _runs(
        surface
        for table in (lexicon.NOUNS, lexicon.VERBS, lexicon.COMMANDS)
        for line in table.splitlines()
        for surface in line.split(",")
    )
    known |= _runs(example.note for command in registry() for example in command.examples)
    known |= _runs(command.summary for command in registry())
    assert _runs(row["text"] for row in _rows("requests")) & known == set()


def _runs(texts: Any) -> set[tuple[str, ...]]:
    """Every run of four words; of five characters in Chinese."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        for length, words in (
            (4, re.findall(r"[a-z0-9]+", text.lower())),
            (5, re.findall(r"[一-鿿]", text)),
        ):
            found |= {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
    return found
