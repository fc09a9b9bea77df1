"""What `leaves.c` says is what its twins in Python say, or nothing: for bodies, answers and heads of any kind."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenhub import native
from tokenhub.kernel.errors import HubError
from tokenhub.maas.gateway import leaves
from tokenhub.maas.gateway.answer import read_plain_answer
from tokenhub.maas.gateway.fast_path import known_head, write_answer, write_request
from tokenhub.maas.gateway.request_ids import make_identifier
from tokenhub.maas.gateway.validation import parse_request, plain_chat, read_plain_chat
from tokenhub.maas.gateway.whole_answer import is_whole

compiled = pytest.mark.skipif(not leaves.compiled, reason="the core is not compiled here")
TEXT = st.text(max_size=12) | st.sampled_from(
    ["image_url", "model", "ü", "日本", "\\", '"', "\n", "\x7f", "\U0001f600"]
)
NUMBER = (
    st.integers(-3, 200)
    | st.floats(-3, 3)
    | st.sampled_from([2**31 - 1, 2**31, 10**9, 1e-7, 2.0000000001, -0.0])
)
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
ROLE = st.sampled_from(["user", "assistant", "system", "developer", "tool", "function", "nobody"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLE, "content": TEXT}, optional={"name": TEXT, "tool_calls": SCALAR, "x": SCALAR}
)
CHAT = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "a-b", ""]) | TEXT, "messages": st.lists(MESSAGE, max_size=3) | SCALAR},
    optional={
        "stream": st.none() | st.booleans(),
        "n": SCALAR,
        "max_tokens": SCALAR,
        "max_completion_tokens": SCALAR,
        "temperature": SCALAR,
        "top_p": SCALAR,
        "presence_penalty": SCALAR,
        "frequency_penalty": SCALAR,
        "seed": SCALAR,
        "stop": SCALAR | st.lists(TEXT, max_size=5),
        "user": SCALAR,
        "tools": st.just([]),
        "odd": SCALAR,
    },
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
COUNT = st.none() | st.integers(-1, 50) | st.just(10**9) | st.just(1.5)
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(
        ["cached_tokens", "audio_tokens", "image_tokens", "cache_write_tokens", "reasoning_tokens", "x"]
    ),
    st.none() | st.integers(0, 2),
    max_size=3,
)
USAGE = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "prompt_cache_hit_tokens": COUNT,
        "odd": VALUE,
    },
)
CHOICE = st.fixed_dictionaries(
    {"index": st.just(0), "message": VALUE},
    optional={"finish_reason": st.none() | st.sampled_from(["stop", "length", ""]) | TEXT, "logprobs": VALUE},
)
ANSWER = st.fixed_dictionaries(
    {"id": TEXT, "object": st.just("chat.completion")},
    optional={
        "usage": USAGE | SCALAR,
        "choices": st.lists(CHOICE, max_size=2) | SCALAR,
        "error": st.none() | VALUE,
        "timings": st.none() | VALUE,
        "odd": VALUE,
    },
)


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """JSON in one of the ways clients write it, and sometimes damaged."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\t"), (",\r\n ", ":")]))
    text = json.dumps(draw(values), separators=separators, ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "surrogatepass"
    )
    text = (
        draw(st.sampled_from([b"", b" ", b"\n"]))
        + text
        + draw(st.sampled_from([b"", b"", b"  ", b"x", b"\0"]))
    )
    if draw(st.integers(0, 3)) == 0 and text:
        at = draw(st.integers(0, len(text) - 1))
        piece = draw(
            st.sampled_from([b"", b",", b'"', b"}", b"\\", b"\x00", b"\xff", b"01", b"-", b"e5", b" "])
        )
        text = text[:at] + piece + text[at + draw(st.integers(0, 2)) :]
    return text


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@compiled
@given(written(CHAT), st.sampled_from([b"", b"POST / HTTP/1.1\r\n\r\n"]))
@example(b'{"messages":[{"role":"user","content":"hi"}],"model":"m"}', b"")
@example(
    b'{ "model" : "m", "messages" : [ { "content" : "hi" , "role" : "user" } ] , "max_tokens" : 5 } ', b"x"
)
@example(b'{"model":"m","messages":[{"role":"user","content":"image_url"}]}', b"")
@example(b'{"model":"m","model":"m","messages":[{"role":"user","content":"hi"}]}', b"")
@example(b'{"model":"m","messages":[{"role":"user","role":"user","content":"hi"}]}', b"")
@example(b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":2.000000001}', b"")
def test_a_plain_body_is_read_as_in_python(body: bytes, head: bytes) -> None:
    said = leaves.chat(head + body, len(head))
    if said is None or not is_utf8(body):
        return  # who asks has checked the coding
    model, limit, choices, before, after = said
    request = parse_request("chat.completions", body, request_id="r")
    assert not (request.stream or request.images)
    assert (request.model, request.max_tokens or 0, request.choices) == (model, limit, choices)
    assert before + msgspec.json.encode(model) + after == msgspec.json.encode(request.fields)
    twin = read_plain_chat(body)  # it leaves bodies that quote a field's name to the long way
    assert twin is None or twin == said


@given(written(CHAT))
def test_a_plain_body_is_one_for_the_long_way_too(body: bytes) -> None:
    said = plain_chat(body, 0)
    if said is not None:
        request = parse_request("chat.completions", body, request_id="r")
        assert (request.model, request.choices) == (said[0], said[2])
        assert said[3] + msgspec.json.encode(said[0]) + said[4] == msgspec.json.encode(request.fields)


@compiled
def test_the_usual_body_is_answered_for() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi \\"you\\""}],"n":2,"max_tokens":7,"temperature":0.7}'
    assert leaves.chat(body, 0) == ("m", 7, 2, b'{"model":', body[12:])
    assert (
        leaves.chat(body[:-1], 0) is None and leaves.chat(body, 1) is None and leaves.chat(body, 999) is None
    )


@compiled
@given(written(ANSWER))
@example(b'{"choices":[{}],"usage":{"prompt_tokens":1}}')
@example(b'{"choices":[{}],"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}')
@example(b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1e2}}')
@example(b'{"x":' + b"[" * 900 + b"]" * 900 + b',"choices":[{}],"usage":{"prompt_tokens":1}}')
def test_a_plain_answer_is_read_as_in_python(body: bytes) -> None:
    said = leaves.answer(body)
    assert said is None or said == read_plain_answer(body)


@compiled
def test_the_usual_answer_is_answered_for() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    body = json.dumps(
        {"choices": [{"finish_reason": "length", "message": {"content": "Grüße"}}], "usage": usage}
    )
    assert leaves.answer(body.encode()) == (5, 4, 3, "length")


LINE = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length: 5",
        b"CONTENT-LENGTH: 5",
        b"Content-Length: 6",
        b"Content-Length:5",
        b"Content-Length: 05",
        b"Content-Type: application/json",
        b"content-type: application/json; charset=utf-8",
        b"Content-Type: text/html",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Keep-Alive, close",
        b"Server: x",
        b" folded: 1",
        b"no colon",
        b"X-A: \nContent-Length: 5",
        b"X-B: \0",
        b"",
    ]
)


@compiled
@given(
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 500 X", b"HTTP/1.0 200 OK", b"HTTP/1.1 2000"]
    ),
    st.lists(LINE, max_size=5),
    st.sampled_from([b"hello", b"hell", b"hello!", b""]),
)
@example(b"HTTP/1.1 200 OK", [b"Content-Length: 5", b"Content-Type: application/json"], b"hello")
def test_a_whole_answer_is_one_in_python_too(status: bytes, lines: list[bytes], body: bytes) -> None:
    data = b"\r\n".join([status, *lines, b"", body])
    at, end = leaves.whole(data), data.find(b"\r\n\r\n")
    assert at == -1 or (at == end + 4 and is_whole(data[:end], len(data) - at))
    if lines == [b"Content-Length: 5", b"Content-Type: application/json"] and status == b"HTTP/1.1 200 OK":
        assert (at > 0) == (body == b"hello")


@compiled
@given(st.lists(LINE, max_size=5), st.binary(max_size=6))
@example([b"Content-Length: 5"], b"hello")
def test_a_known_head_is_told_as_in_python(lines: list[bytes], body: bytes) -> None:
    data = b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", *lines, b"", body])
    assert leaves.known(data) == known_head(data)


@compiled
@given(
    st.integers(0, 2**50 - 1) | st.sampled_from([-1, 2**50, 2**64]),
    st.text("0Z9", max_size=9) | st.just("ü"),
    st.integers(0, 2**35 - 1) | st.sampled_from([-1, 2**35, 2**64]),
)
def test_an_identifier_is_the_twins(at_ms: int, middle: str, count: int) -> None:
    said = leaves.identifier(at_ms, middle, count)
    usual = 0 <= at_ms < 2**50 and middle.isascii() and 0 <= count < 2**35
    assert said == (make_identifier(at_ms, middle, count) if usual else None)


@compiled
@given(st.binary(), st.text("req_01Z"), st.binary(), st.binary(max_size=3), st.binary())
def test_what_is_written_is_the_twins(
    first: bytes, name: str, second: bytes, third: bytes, fourth: bytes
) -> None:
    asked, answer = (first, name, second, third, fourth), (first, second, name, third, fourth)
    assert leaves.asked(*asked) == write_request(*asked)
    assert leaves.answered(*answer) == write_answer(*answer)
    odd: Any = None
    assert leaves.asked(first, "ü", second, third, fourth) is None and leaves.asked(odd, *asked[1:]) is None
    assert leaves.answered(first, second, odd, third, fourth) is None


def test_what_is_no_bytes_is_left_alone() -> None:
    odd: Any = "text"
    assert leaves.answer(odd) is None and leaves.chat(odd, 0) is None and leaves.known(odd) is None
    assert leaves.whole(odd) == -1


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "built")
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path))
        assert native.build() == "there is no C compiler" and native.load("leaves") is None
    with monkeypatch.context() as headless:
        headless.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
        assert "compiler" in native.build() or "headers are missing" in native.build()
    if native.build() == "":
        assert native.load("leaves") is not None
        with monkeypatch.context() as pure:
            pure.setenv("TOKENHUB_COMPILED", "no")
            assert native.load("leaves") is None


def test_an_odd_body_is_refused_in_words() -> None:
    with pytest.raises(HubError):
        parse_request("chat.completions", b'{"model":"m","messages":[{"role":"user"}]}', request_id="r")
