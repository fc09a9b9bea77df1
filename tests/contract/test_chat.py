"""Chat completions in one piece: the stock client and the raw answer."""

from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import TINY, Hub
from tests.contract.schema import check_chat

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]


def ask(wire: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"model": TINY, "messages": HELLO, "max_tokens": 16, "temperature": 0, **fields}
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_sync_client(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model=TINY, messages=HELLO, max_tokens=16)
    assert done.choices[0].message.content
    assert done.choices[0].message.role == "assistant"
    assert done.usage is not None
    assert done.model == TINY


async def test_async_client(aclient: openai.AsyncOpenAI) -> None:
    done = await aclient.chat.completions.create(model=TINY, messages=HELLO, max_tokens=16)
    assert done.choices[0].message.content
    assert done._request_id


def test_raw_answer_keeps_to_the_schema(wire: httpx.Client) -> None:
    made = check_chat(ask(wire))
    assert made.choices[0].finish_reason in {"stop", "length"}


def test_length_is_the_reason_when_max_tokens_end_it(wire: httpx.Client) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        fields = {"max_tokens": None, name: 3}
        raw = ask(wire, messages=[{"role": "user", "content": "Count from one to fifty in words."}], **fields)
        made = check_chat(raw)
        assert made.choices[0].finish_reason == "length"
        assert raw["usage"]["completion_tokens"] == 3


def test_every_role_and_content_form(wire: httpx.Client) -> None:
    messages = [
        {"role": "system", "content": "You are terse."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}],
            "name": "ann",
        },
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ]
    check_chat(ask(wire, messages=messages))


def test_choices(wire: httpx.Client) -> None:
    raw = ask(wire, n=2, temperature=1, max_tokens=8)
    made = check_chat(raw)
    assert len(made.choices) == 2
    assert 2 <= raw["usage"]["completion_tokens"] <= 16


def test_seed_repeats(wire: httpx.Client) -> None:
    texts = {
        check_chat(ask(wire, seed=7, temperature=1.0, max_tokens=12)).choices[0].message.content
        for _ in range(3)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("stop", ["five", ["seven", "five"]])
def test_stop(wire: httpx.Client, stop: Any) -> None:
    messages = [{"role": "user", "content": "Repeat exactly: one two three four five six seven"}]
    for start in ([], [{"role": "assistant", "content": "one two three four five six seven"}, messages[0]]):
        made = check_chat(ask(wire, messages=messages + start, stop=stop, max_tokens=40))
        text = made.choices[0].message.content or ""
        assert "five" not in text
        assert made.choices[0].finish_reason in {"stop", "length"}


def test_logprobs(wire: httpx.Client) -> None:
    raw = ask(wire, logprobs=True, top_logprobs=3, max_tokens=5)
    made = check_chat(raw)
    logprobs = made.choices[0].logprobs
    assert logprobs is not None and logprobs.content
    assert (
        len(logprobs.content) == raw["usage"]["completion_tokens"] or made.choices[0].finish_reason == "stop"
    )
    for token in logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert "".join(map(chr, token.bytes or [])) is not None
    assert "refusal" in raw["choices"][0]["logprobs"]


def test_without_logprobs_the_field_is_null(wire: httpx.Client) -> None:
    assert ask(wire)["choices"][0]["logprobs"] is None


def test_fields_of_the_published_request_are_accepted(wire: httpx.Client) -> None:
    check_chat(
        ask(
            wire,
            user="u-1",
            metadata={"team": "a"},
            store=False,
            frequency_penalty=0.1,
            presence_penalty=0.1,
            logit_bias={},
            top_p=0.9,
            parallel_tool_calls=None,
            service_tier="auto",
            prompt_cache_key="k",
            safety_identifier="s",
            reasoning_effort=None,
            stream=False,
        )
    )


def test_unicode_both_ways(client: openai.OpenAI) -> None:
    text = "Wiederhole: Grüße, 世界, 🙂👩‍👩‍👧, العربية, \u2028 und \x7f."
    done = client.chat.completions.create(
        model=TINY, messages=[{"role": "user", "content": text}], max_tokens=24
    )
    assert (done.choices[0].message.content or "").encode()
    assert "\ufffd" not in (done.choices[0].message.content or "")[:-1]


def test_many_turns(wire: httpx.Client) -> None:
    turns: list[Any] = []
    for index in range(20):
        turns += [
            {"role": "user", "content": f"Number {index}?"},
            {"role": "assistant", "content": str(index)},
        ]
    raw = ask(wire, messages=[*turns, {"role": "user", "content": "Next?"}], max_tokens=4)
    assert raw["usage"]["prompt_tokens"] > 200


def test_usage_equals_the_ledger(hub: Hub, client: openai.OpenAI) -> None:
    reply = client.chat.completions.with_raw_response.create(model=TINY, messages=HELLO, max_tokens=9)
    usage = reply.parse().usage
    assert usage is not None
    event = hub.event(reply.headers["x-request-id"])
    cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
    assert event["cache_read_tokens"] == cached
    assert event["input_tokens"] + event["cache_read_tokens"] == usage.prompt_tokens
    assert event["output_tokens"] + event["reasoning_tokens"] == usage.completion_tokens
    assert (event["source"], event["status"], event["stream"]) == ("engine", 200, 0)
    nano = event["input_tokens"] * 250 + event["cache_read_tokens"] * 50 + event["output_tokens"] * 1000
    assert event["amount_nano"] == nano
    assert event["price_version_id"].startswith("price_")


def test_a_repeated_prompt_is_read_from_the_cache_and_booked_as_such(hub: Hub, client: openai.OpenAI) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    for _ in range(2):
        reply = client.chat.completions.with_raw_response.create(
            model=TINY, messages=[{"role": "user", "content": text}], max_tokens=2
        )
    usage = reply.parse().usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens or 0) > 100
    assert (
        hub.event(reply.headers["x-request-id"])["cache_read_tokens"]
        == usage.prompt_tokens_details.cached_tokens
    )
