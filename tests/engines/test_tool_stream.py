"""The constrained JSON of tool calls, read in pieces cut anywhere."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenhub.adapters.engines.tool_stream import CallArguments, CallStart, Text, ToolStream


def read(
    text: str, cuts: list[int], *, content_is_json: bool = False
) -> tuple[str, list[tuple[str, str]], ToolStream]:
    """(content, [(name, arguments)], the stream) of `text` fed in pieces."""
    stream = ToolStream(content_is_json=content_is_json)
    content, calls = "", []
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(edges):
        for piece in stream.feed(text[start:end]):
            match piece:
                case Text(text=part):
                    content += part
                case CallStart(index=index, name=name):
                    assert index == len(calls)
                    calls.append((name, ""))
                case CallArguments(index=index, json=part):
                    calls[index] = (calls[index][0], calls[index][1] + part)
    return content, calls, stream


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text("abcdefghijklmnopqrstuvwxyz_-0123456789", min_size=1, max_size=20)
calls = st.lists(st.tuples(names, st.dictionaries(st.text(), values, max_size=4)), min_size=1, max_size=4)
cuts = st.lists(st.integers(0, 10_000), max_size=12)
indents = st.sampled_from([None, 1, 4])


@given(calls, cuts, indents, st.booleans())
def test_calls(wanted: list[tuple[str, dict]], at: list[int], indent: int | None, ascii_only: bool) -> None:  # type: ignore[type-arg]
    text = json.dumps(
        {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in wanted]},
        indent=indent,
        ensure_ascii=ascii_only,
    )
    content, got, stream = read(text, at)
    assert content == "" and stream.complete and stream.calls == len(wanted)
    assert [(name, json.loads(raw)) for name, raw in got] == wanted


@given(st.text(), cuts, indents, st.booleans())
def test_content(wanted: str, at: list[int], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"content": wanted}, indent=indent, ensure_ascii=ascii_only)
    content, got, stream = read(text, at)
    assert content == wanted and got == [] and stream.complete


@given(values, cuts, indents)
def test_content_that_is_json(wanted: object, at: list[int], indent: int | None) -> None:
    text = json.dumps({"content": wanted}, indent=indent)
    content, _, stream = read(text, at, content_is_json=True)
    assert json.loads(content) == wanted and stream.complete


@pytest.mark.parametrize(
    ("text", "content", "got"),
    [
        ('{"content": "Hel', "Hel", []),
        ('{"content": "a\\', "a", []),
        ('{"content": "a\\u00e', "a", []),
        ('{"content": "a\\ud83d', "a", []),
        ('{"content": "\\ud83dx"}', "\ufffdx", []),
        ('{"tool_calls": [{"name": "f", "arguments": {"a": [1, "}', "", [("f", '{"a": [1, "}')]),
        ('{"tool_calls": [{"na', "", []),
        ("", "", []),
    ],
)
def test_an_answer_that_was_cut(text: str, content: str, got: list[tuple[str, str]]) -> None:
    assert read(text, [])[:2] == (content, got)


def test_arguments_stream_as_they_come() -> None:
    stream = ToolStream()
    stream.feed('{"tool_calls":[{"name":"f","arguments":')
    assert stream.feed('{"a":') == [CallArguments(0, '{"a":')]
    assert stream.feed("1") == [CallArguments(0, "1")]
    assert stream.feed("}}") == [CallArguments(0, "}")]
