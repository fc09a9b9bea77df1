"""What the engine really answered, recorded, against what leaves the hub."""

import json
from pathlib import Path
from typing import Any

import pytest

from tokenhub.adapters.engines.llama_cpp_errors import engine_error
from tokenhub.adapters.engines.llama_cpp_mender import (
    Asked,
    ChatMender,
    CompletionMender,
    EmbeddingMender,
    ToolMender,
)

RECORDED = Path(__file__).parent / "recorded"


def events(name: str) -> list[dict[str, Any]]:
    lines = (RECORDED / f"{name}.sse").read_text().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def mended(mender: ChatMender | CompletionMender, name: str) -> list[dict[str, Any]]:
    out = [made for event in events(name) for made in mender.chunk(event)]
    return out + mender.finish()


def test_chat_chunks() -> None:
    out = mended(ChatMender(Asked("public", include_usage=True)), "chat")
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in out}) == 1
    assert out[0]["model"] == "public" and out[0]["id"].startswith("chatcmpl-")
    assert out[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert sum("role" in choice["delta"] for chunk in out for choice in chunk["choices"]) == 1
    assert all(set(chunk) <= {*out[0], "usage"} for chunk in out)
    assert all(chunk["usage"] is None for chunk in out[:-1])
    assert out[-1]["choices"] == [] and out[-1]["usage"]["completion_tokens"] == 4
    assert out[-2]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}


def test_two_choices_are_one_usage() -> None:
    out = mended(ChatMender(Asked("m", choices_per_prompt=2)), "chat_n2")
    usages = [chunk["usage"] for chunk in out if chunk.get("usage")]
    assert len(usages) == 1 and out[-1]["usage"] == usages[0]
    assert usages[0]["completion_tokens"] == 4
    assert usages[0]["prompt_tokens"] == 32
    assert usages[0]["total_tokens"] == 36
    finished = [c["index"] for chunk in out for c in chunk["choices"] if c["finish_reason"]]
    assert sorted(finished) == [0, 1]


def test_logprobs_have_the_published_keys() -> None:
    out = mended(ChatMender(Asked("m", top_logprobs=1)), "chat_logprobs")
    found = [choice["logprobs"] for chunk in out for choice in chunk["choices"] if choice["logprobs"]]
    assert found
    for logprobs in found:
        assert set(logprobs) == {"content", "refusal"}
        for token in logprobs["content"]:
            assert set(token) == {"token", "bytes", "logprob", "top_logprobs"}
            assert len(token["top_logprobs"]) == 1
            assert set(token["top_logprobs"][0]) == {"token", "bytes", "logprob"}


def test_completions() -> None:
    out = mended(
        CompletionMender(Asked("m", choices_per_prompt=1), echoes=("Hi there", "You")),
        "completion_two_prompts",
    )
    texts = {0: "", 1: ""}
    for chunk in out:
        assert chunk["object"] == "text_completion" and chunk["id"].startswith("cmpl-")
        for choice in chunk["choices"]:
            assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
            texts[choice["index"]] += choice["text"]
    assert texts[0].startswith("Hi there") and texts[1].startswith("You")
    assert out[-1]["choices"] == [] and out[-1]["usage"]["completion_tokens"] == 4
    assert out[-1]["usage"]["prompt_tokens"] == 3


def test_completion_logprobs_are_columns() -> None:
    out = mended(CompletionMender(Asked("m", top_logprobs=2)), "completion_logprobs")
    columns = [choice["logprobs"] for chunk in out for choice in chunk["choices"] if choice["logprobs"]]
    text = ""
    for column in columns:
        assert set(column) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
        assert column["text_offset"] == [len(text)]
        text += "".join(column["tokens"])
        assert all(len(tops) <= 2 for tops in column["top_logprobs"])
    assert text == "".join(choice["text"] for chunk in out for choice in chunk["choices"])


def test_a_tool_call() -> None:
    out = mended(ToolMender(Asked("m"), content_is_json=False), "tool_call")
    deltas = [choice["delta"] for chunk in out for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    call = deltas[1]["tool_calls"][0]
    assert call["id"].startswith("call_") and call["type"] == "function" and call["index"] == 0
    arguments = "".join(
        delta["tool_calls"][0]["function"]["arguments"] for delta in deltas[1:] if "tool_calls" in delta
    )
    assert json.loads(arguments)["city"] == "Paris"
    assert out[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert not any("content" in delta for delta in deltas[1:])


def test_an_embedding_answer() -> None:
    recorded = json.loads((RECORDED / "embedding.json").read_text())
    body = EmbeddingMender("m").body(recorded)
    assert set(body) == {"object", "data", "model", "usage"}
    assert set(body["data"][0]) == {"object", "index", "embedding"}
    assert set(body["usage"]) == {"prompt_tokens", "total_tokens"}


@pytest.mark.parametrize(
    ("status", "message", "kind", "expected", "code", "param"),
    [
        (
            400,
            "request (3031 tokens) exceeds",
            "exceed_context_size_error",
            400,
            "context_length_exceeded",
            "messages",
        ),
        (
            400,
            "Failed to initialize samplers: failed to parse grammar",
            "",
            400,
            "invalid_json_schema",
            "response_format",
        ),
        (
            400,
            "x: JSON schema error at #/a: unrecognized type foo",
            "",
            400,
            "invalid_json_schema",
            "response_format",
        ),
        (400, "Field 'n': Value must be between 1 <= value <= 4, but got 9", "", 400, "invalid_value", "n"),
        (500, "image input is not supported - hint", "server_error", 400, "unsupported_content", "messages"),
        (500, "Failed to parse messages: Missing 'role'", "server_error", 400, "invalid_request", None),
        (501, "This server does not support embeddings.", "", 400, "unsupported", None),
        (503, "Loading model", "unavailable_error", 503, "service_unavailable", None),
        (500, "boom", "server_error", 502, "upstream_error", None),
        (401, "Invalid API Key", "authentication_error", 502, "upstream_error", None),
    ],
)
def test_errors(status: int, message: str, kind: str, expected: int, code: str, param: str | None) -> None:
    body = json.dumps(
        {"error": {"code": status, "message": message, "type": kind, "n_ctx": 2, "n_prompt_tokens": 3}}
    )
    error = engine_error(status, body.encode())
    assert (error.status, error.code, error.param) == (expected, code, param)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "x"}', b"\xff"])
def test_nonsense_is_an_upstream_error(body: bytes) -> None:
    assert engine_error(500, body).status == 502
