"""What `uses.c` says of the journal's lines is what its twins in Python say, or nothing."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenhub.metering import uses
from tokenhub.metering.plain import PlainUse

compiled = pytest.mark.skipif(not uses.compiled, reason="the core is not compiled here")
NUMBER = st.integers(0, 10**6) | st.sampled_from([0, 9, 10, 10**13 - 1, 10**13, 10**17, 10**18, 2**63, -1])
ID = st.text("req_-019AZaz", max_size=12) | st.sampled_from(
    ['a"b', "\\", "ü", "", "a\nb", "日本", "x" * 5000]
)
USE: st.SearchStrategy[PlainUse] = st.tuples(NUMBER, ID, *[NUMBER] * 6)  # type: ignore[assignment]
USES = st.lists(USE, max_size=20, unique_by=lambda use: use[1])
PLAIN_USES = st.lists(
    st.tuples(st.integers(0, 3), st.text("req_01Z", max_size=6), *[st.integers(0, 10**12)] * 6),
    min_size=1,
    max_size=200,
    unique_by=lambda use: use[1],
)


def said(lines: bytes) -> list[uses.OneKind] | None:
    found = uses.quick_by_kind(lines)
    return None if found is None else [uses.OneKind(*one) for one in found]


@compiled
@given(USES)
def test_kinds_are_the_twins(some: list[PlainUse]) -> None:
    lines = uses.lines_of(some)
    assert said(lines) in (None, uses.read_by_kind(lines))


@compiled
@given(PLAIN_USES)
def test_usual_lines_are_read_by_the_compiled_form(some: list[Any]) -> None:
    lines = uses.lines_of(some)
    found = said(lines)
    assert found == uses.read_by_kind(lines)
    assert found is not None and sum(one.requests for one in found) == len(some)


@compiled
@given(PLAIN_USES, st.data())
def test_bytes_that_are_no_such_lines_are_left_to_the_twin(some: list[Any], data: st.DataObject) -> None:
    lines = bytearray(uses.lines_of(some))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["cut", "put", "set"])):
            case "cut" if len(lines) > 1:
                del lines[at]
            case "put":
                lines.insert(at, data.draw(st.sampled_from(b'0,[]"\n-.e \x00a')))
            case _:
                lines[at] = data.draw(st.sampled_from(b'0,[]"\n-.e \x00a'))
    found = said(bytes(lines))
    if found is not None:
        try:
            read = uses.read_by_kind(bytes(lines))
        except msgspec.DecodeError:
            pytest.fail(f"the twin reads none of it: {bytes(lines)!r}")
        ids = [use[1] for use in uses.plain_uses(bytes(lines))]
        assert found == read or len(ids) != len(set(ids))


@compiled
@given(USES, st.integers(0, 20), st.integers(0, 20))
def test_values_are_the_twins(some: list[PlainUse], skipped: int, count: int) -> None:
    skipped = min(skipped, len(some))
    count = min(count, len(some) - skipped)
    lines, at = uses.lines_of(some), len(uses.lines_of(some[:skipped]))
    found = uses.quick_values(lines, at, count, "xfer", 7)
    assert found in (None, uses.read_values(lines, at, count, "xfer", 7))


@pytest.mark.parametrize(
    "arguments",
    [
        ("x", 0, 0, None, 0),
        (b"", -1, 0, None, 0),
        (b"", 0, 1, None, 0),
        (b"", 1, 0, None, 0),
        (b"", 0, -1, None, 0),
    ],
)
@compiled
def test_odd_arguments_are_left_to_the_twin(arguments: Any) -> None:
    assert uses.quick_values(*arguments) is None
    assert uses.quick_by_kind("text") is None  # type: ignore[arg-type]


def test_what_was_captured_together_is_settled_together() -> None:
    some = uses.Uses()
    some.add(uses.lines_of([(1, "req_1", 2, 3, 4, 5, 6, 7)]))
    some.add([])
    some.add(uses.lines_of([(0, "req_0", 2, 3, 4, 5, 6, 7), (1, "req_2", 2, 3, 4, 5, 6, 7)]))
    assert some.count == 3
    assert [(one.number, one.requests, one.tokens) for one in uses.by_kind(some.lines())] == [
        (0, 1, 12),
        (1, 2, 24),
    ]
