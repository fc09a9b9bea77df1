"""Models, embeddings and legacy completions."""

import math
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import TINY, Hub
from tests.contract.conftest import EMBEDDING
from tests.contract.schema import check_completion, check_embeddings, check_model, sse_events, strict


def test_models(client: openai.OpenAI, wire: httpx.Client) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {TINY, EMBEDDING} <= set(listed)
    raw = wire.get("/v1/models").json()
    assert raw["object"] == "list"
    for one in raw["data"]:
        check_model(one)
    assert client.models.retrieve(TINY).id == TINY
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_models_need_a_key(hub: Hub) -> None:
    answer = httpx.get(f"{hub.url}/v1/models")
    assert answer.status_code == 401


def test_embeddings(client: openai.OpenAI, wire: httpx.Client) -> None:
    one = client.embeddings.create(model=EMBEDDING, input="hello")  # asks for base64 and decodes it
    several = client.embeddings.create(
        model=EMBEDDING, input=["hello", "goodbye", "世界"], encoding_format="float"
    )
    assert len(several.data) == 3
    length = math.sqrt(sum(value * value for value in one.data[0].embedding))
    assert 0.9 < length < 1.1
    near = sum(a * b for a, b in zip(one.data[0].embedding, several.data[0].embedding, strict=True))
    assert near > 0.98
    raw = wire.post("/v1/embeddings", json={"model": EMBEDDING, "input": ["a", "b"]}).json()
    check_embeddings(raw)


async def test_embeddings_async(aclient: openai.AsyncOpenAI) -> None:
    made = await aclient.embeddings.create(model=EMBEDDING, input="hello")
    assert made.data[0].embedding


def test_embedding_of_tokens(wire: httpx.Client) -> None:
    answer = wire.post("/v1/embeddings", json={"model": EMBEDDING, "input": [[9906, 11, 1917], [1, 2]]})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2


def test_embeddings_are_booked(hub: Hub, client: openai.OpenAI) -> None:
    reply = client.embeddings.with_raw_response.create(model=EMBEDDING, input="count these tokens, please")
    event = hub.event(reply.headers["x-request-id"])
    assert event["endpoint"] == "embeddings"
    assert event["output_tokens"] == 0
    assert event["input_tokens"] + event["cache_read_tokens"] == reply.parse().usage.prompt_tokens


@pytest.mark.parametrize("value", ["", [], [""], 5, None, ["a", 1]])
def test_embedding_inputs_that_are_none(wire: httpx.Client, value: Any) -> None:
    answer = wire.post("/v1/embeddings", json={"model": EMBEDDING, "input": value})
    assert answer.status_code == 400, answer.text


def test_a_model_of_another_kind(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=TINY, input="x")
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=EMBEDDING, messages=[{"role": "user", "content": "x"}])


def test_completions(client: openai.OpenAI, wire: httpx.Client) -> None:
    done = client.completions.create(model=TINY, prompt="Once upon a time", max_tokens=8)
    assert done.choices[0].text
    body = {"model": TINY, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    check_completion(wire.post("/v1/completions", json=body).json())


def test_completions_streamed(wire: httpx.Client) -> None:
    body = {
        "model": TINY,
        "prompt": "Once upon a time",
        "max_tokens": 8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    events = sse_events(wire.post("/v1/completions", json=body).text)
    assert len({event["id"] for event in events}) == len({event["created"] for event in events}) == 1
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] <= 8
    for event in events:
        assert event["object"] == "text_completion"
        for choice in event["choices"]:
            assert {"text", "index", "logprobs", "finish_reason"} <= set(choice)
    from openai.types import CompletionUsage

    strict(CompletionUsage, events[-1]["usage"])


def test_completions_of_several_prompts(wire: httpx.Client) -> None:
    body = {"model": TINY, "prompt": ["One", "Two"], "max_tokens": 3}
    answer = wire.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1]
