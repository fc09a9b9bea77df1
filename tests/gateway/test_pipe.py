"""A gate counts and passes what is usual, in C as in Python; a pipe's count reaches the books when its stream is cut."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenhub.maas.gateway import pipe
from tokenhub.maas.gateway.chunks import plain_events
from tokenhub.maas.gateway.pipe import Gate, PlainGate

compiled = pytest.mark.skipif(not pipe.compiled, reason="the core is not compiled here")
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


BLOCK = st.sampled_from(
    [
        chunk(EVENT),
        chunk(EVENT * 3),
        chunk(EVENT) * 2,
        chunk(LAST),
        chunk(EVENT)[:-1],
        chunk(b'data: {"usage":{}}\n\n'),
        b"0\r\n\r\n",
        b"",
        b"}\n\n\r\n",
    ]
)
STEP = (
    st.tuples(st.just("open"), st.integers(0, 9))
    | st.tuples(st.just("data"), BLOCK | st.binary(max_size=30))
    | st.tuples(st.sampled_from(["close", "take"]), st.none())
)


def run(made: Callable[..., Any], steps: list[tuple[str, Any]]) -> list[object]:
    seen: list[object] = []
    gate = made(lambda data: seen.append(("rest", data)), lambda data: seen.append(("write", data)))
    for what, value in steps:
        if what == "data":
            gate.data_received(value)
        else:
            seen.append(getattr(gate, what)(*([] if value is None else [value])))
    return [*seen, gate.take()]


@compiled
@given(st.lists(STEP, max_size=12))
def test_a_gate_is_the_same_in_c(steps: list[tuple[str, Any]]) -> None:
    assert run(Gate, steps) == run(PlainGate, steps)


@given(st.lists(STEP, max_size=12))
def test_what_passes_is_counted_and_never_more_than_was_opened(steps: list[tuple[str, Any]]) -> None:
    for made in (Gate, PlainGate):
        seen: list[bytes] = []
        gate = made(lambda _: None, seen.append)
        opened = counted = 0
        for what, value in steps:
            if what == "open":
                opened += value
                gate.open(value)
            elif what == "data":
                gate.data_received(value)
            else:
                counted += gate.take()
        counted += gate.take()
        assert counted == sum(map(plain_events, seen)) <= opened


def test_an_error_of_who_takes_a_block_is_passed_on() -> None:
    def fails(_data: bytes) -> None:
        raise ValueError("full")

    for made in (Gate, PlainGate):
        gate = made(fails, fails)
        with pytest.raises(ValueError, match="full"):
            gate.data_received(b"x")
        gate.open(1)
        with pytest.raises(ValueError, match="full"):
            gate.data_received(chunk(EVENT))


@compiled
def test_a_gate_that_was_not_made_leads_nowhere() -> None:
    made: Any = Gate
    gate = made.__new__(made)
    with pytest.raises(RuntimeError):
        gate.data_received(b"x")
    for wrong in ((), (1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            made(*wrong)
    with pytest.raises(TypeError):
        gate.open("x")
    with pytest.raises(OverflowError):
        gate.open(2**63)


def passed(block: Any) -> int:
    """How many events of this block a gate in C lets pass."""
    gate = Gate(lambda _: None, lambda _: None)
    gate.open(1000)
    gate.data_received(block)
    return gate.take()


PARTS = st.sampled_from(
    [
        b'data: {"a":1}\n\n',
        b'data: {"usage":{"x":1}}\n\n',
        b'{"usage": {}}\n\n',
        b'{"finish_reason":"stop"}\n\n',
        b"\n",
        b"x",
    ]
)


CHUNK = st.tuples(
    st.lists(PARTS, max_size=3),
    st.sampled_from([b"%x", b"%x", b"%x", b"%X", b"0%x", b"000000000%x", b"%x;a=b"]),
    st.sampled_from([0, 0, 0, 0, 1, -1, 100]),
)


@compiled
@given(st.lists(CHUNK, max_size=4), st.sampled_from([b"", b"", b"0\r\n\r\n", b"\n", b"5"]))
@example([([b'data: {"a":1}\n\n'] * 3, b"%x", 0)], b"")
@example([([b'data: {"a":1}\n\n'], b"%x", 0)] * 3, b"")
@example([([b"\n", b'data: {"a":1}\n\n'], b"%x", 0)], b"")
@example([([], b"1", 0), ([b'data: {"a":1}\n\n'], b"%x", 0)], b"")
def test_a_block_of_events_is_counted_as_in_python(
    chunks: list[tuple[list[bytes], bytes, int]], tail: bytes
) -> None:
    block = b""
    for parts, size, wrong in chunks:
        inside = b"".join(parts)
        line = size % max(len(inside) + wrong, 0) if b"%" in size else size
        block += line + b"\r\n" + inside + b"\r\n"
    block += tail
    assert passed(block) == plain_events(block)


@compiled
def test_the_usual_blocks_are_answered_for() -> None:
    event = b'data: {"a":1}\n\n'
    assert passed(b"%x\r\n%b\r\n" % (len(event), event)) == 1
    assert passed(b"%x\r\n%b\r\n" % (2 * len(event), 2 * event) * 2) == 4


@compiled
def test_what_is_no_bytes_does_not_pass() -> None:
    assert passed("text") == 0
