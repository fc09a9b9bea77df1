"""Strict validation of raw JSON against the published schema, as the stock client's types state it.

The client itself builds its objects without validating; here every required field has to be there with the right
type, no field may be there that the schema does not know, and the fields that the published schema requires but
the types leave optional (`refusal`, `logprobs`) have to be there too.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def strict(kind: type[M], raw: dict[str, Any]) -> M:
    """Validate without coercion and refuse what the schema does not name."""
    made = kind.model_validate(raw, strict=True)
    extras = list(_extras(made, kind.__name__))
    assert not extras, f"fields that the schema does not know: {extras}"
    return made


def check_chat(raw: dict[str, Any]) -> ChatCompletion:
    """A whole chat completion."""
    made = strict(ChatCompletion, raw)
    assert made.id.startswith("chatcmpl-")
    assert made.created > 1_700_000_000
    assert made.choices
    assert [choice.index for choice in made.choices] == list(range(len(made.choices)))
    for choice in raw["choices"]:
        assert "logprobs" in choice, "choices[].logprobs is required (null without)"
        assert {"role", "content", "refusal"} <= set(choice["message"]), choice["message"]
        assert choice["message"]["role"] == "assistant"
        calls = choice["message"].get("tool_calls")
        assert calls is None or len(calls) > 0, "tool_calls must be left out when empty"
        assert choice["finish_reason"] != "tool_calls" or calls
        assert choice["finish_reason"] in {"tool_calls", "length"} or not calls
    _check_usage(raw["usage"])
    return made


def check_stream(
    events: Sequence[dict[str, Any]], *, usage: bool, choices: int = 1
) -> list[ChatCompletionChunk]:
    """All events of a streamed chat completion, in order, without `[DONE]`."""
    made = [strict(ChatCompletionChunk, event) for event in events]
    for name in ("id", "created", "model", "object"):
        assert len({event[name] for event in events}) == 1, f"`{name}` changes inside one stream"
    assert events[0]["id"].startswith("chatcmpl-")
    for index in range(choices):
        mine = [choice for event in events for choice in event["choices"] if choice["index"] == index]
        assert mine[0]["delta"].get("role") == "assistant", mine[0]
        assert all("role" not in choice["delta"] for choice in mine[1:]), "the role comes once, first"
        finished = [choice["finish_reason"] for choice in mine if choice["finish_reason"] is not None]
        assert len(finished) == 1, finished
        assert mine[-1]["finish_reason"] is not None, "nothing follows the finish reason"
        assert all("finish_reason" in choice for choice in mine)
    with_usage = [event for event in events if event.get("usage") is not None]
    if usage:
        assert len(with_usage) == 1
        assert with_usage[0] is events[-1]
        assert with_usage[0]["choices"] == []
        assert all("usage" in event for event in events), "with include_usage every other chunk says null"
        _check_usage(with_usage[0]["usage"])
    else:
        assert not with_usage
        assert all(event["choices"] for event in events)
    return made


def check_completion(raw: dict[str, Any]) -> Completion:
    """A whole legacy completion."""
    made = strict(Completion, raw)
    assert made.id.startswith("cmpl-")
    for choice in raw["choices"]:
        assert {"text", "index", "logprobs", "finish_reason"} <= set(choice), choice
        assert choice["finish_reason"] in {"stop", "length"}
    _check_usage(raw["usage"])
    return made


def check_embeddings(raw: dict[str, Any]) -> CreateEmbeddingResponse:
    """An answer with vectors as lists of numbers."""
    made = strict(CreateEmbeddingResponse, raw)
    assert [one.index for one in made.data] == list(range(len(made.data)))
    assert made.usage.total_tokens == made.usage.prompt_tokens > 0
    return made


def check_model(raw: dict[str, Any]) -> Model:
    """One entry of the model list."""
    return strict(Model, raw)


def check_error(raw: Any) -> dict[str, Any]:
    """The error object; returns what is inside."""
    assert set(raw) == {"error"}, raw
    error = raw["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str) and len(error["message"]) > 10, error
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


def sse_events(text: str) -> list[dict[str, Any]]:
    """Decode a whole event stream; it must end with `[DONE]`, once."""
    assert text.endswith("data: [DONE]\n\n"), text[-200:]
    assert text.count("data: [DONE]") == 1
    return [json.loads(block[len("data: ") :]) for block in text.split("\n\n")[:-2]]


def _check_usage(usage: dict[str, Any]) -> None:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    assert 0 <= cached <= usage["prompt_tokens"]


def _extras(value: object, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in (value.__pydantic_extra__ or {}))
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _extras(item, f"{path}[]")
