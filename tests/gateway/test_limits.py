"""Budgets at the door: refused in the right words, usable to the last token, never passed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.gateway.client import chat
from tests.gateway.conftest import Hub, running
from tests.gateway.upstream import STREAM_HEAD, Call, chunk, framed, sse, usage_chunk
from tokenhub.budgets.types import Window
from tokenhub.config import Settings
from tokenhub.ledger.types import Unit
from tokenhub.maas.gateway.request import ParsedRequest, upstream_fields
from tokenhub.maas.gateway.upstream_adapter import PreparedRequest

PROMPT = 12


class Engine:
    """An engine of ours, as far as sizing goes: it counts prompts exactly and always streams counted tokens."""

    def prepare(self, request: ParsedRequest) -> PreparedRequest:
        request.upstream_stream = True
        return PreparedRequest(msgspec.json.encode(upstream_fields(request)), stream=True)

    async def count(self, deployment: Any, request: ParsedRequest) -> int:
        return PROMPT


async def tokens(call: Call) -> None:
    """`max_tokens` (or 100000) tokens, one an event, with llama.cpp's counts."""
    most = call.fields.get("max_tokens") or 100_000
    call.writer.write(STREAM_HEAD)
    for number in range(1, most + 1):
        timings = {"prompt_n": PROMPT, "cache_n": 0, "predicted_n": number}
        call.writer.write(framed(sse(chunk("t", timings=timings))))
        if number % 50 == 0:
            await call.writer.drain()
            await asyncio.sleep(0)
    call.writer.write(framed(sse(chunk(finish="length"))) + framed(sse(usage_chunk(PROMPT, most))))
    call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Hub]:
    """A hub whose provider counts like an engine of ours, on both databases."""
    adapter = Engine()
    quick = replace(settings, hold_wait_s=0.3)
    async with running(quick, adapters={"engine": adapter}, adapter="engine", prompt_counter=adapter) as made:
        made.upstream.script = tokens
        yield made


async def used(hub: Hub) -> tuple[int, int]:
    """(used, held by open requests) of the one bucket."""
    [bucket] = [bucket for bucket in await hub.buckets() if bucket["unit"] == int(Unit.TOKENS)]
    return bucket["used"], bucket["cap"]


async def test_a_stream_grows_to_the_last_token_and_ends_with_length(engine: Hub) -> None:
    await engine.limit(1000)
    answer = await engine.ask(body=chat(stream=True, stream_options={"include_usage": True}))
    events = answer.events
    assert events[-1] == "[DONE]" and events[-2]["usage"]["total_tokens"] == 1000
    assert events[-3]["choices"][0]["finish_reason"] == "length"
    assert (
        len([e for e in events[:-1] if e["choices"] and e["choices"][0]["delta"].get("content")])
        == 1000 - PROMPT
    )
    await asyncio.wait_for(engine.upstream.calls[0].closed.wait(), 1)
    assert await used(engine) == (1000, 1000)
    [event] = await engine.settled()
    assert event["finish"] == "length" and event["source"] == "engine"
    assert event["output_tokens"] == 1000 - PROMPT
    assert event["created_tokens"] == event["output_tokens"] + event["undelivered_tokens"]


async def test_a_stop_token_without_text_is_paid_for_too(engine: Hub) -> None:
    async def stops(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for number in range(1, 500 - PROMPT + 1):
            timings = {"prompt_n": PROMPT, "cache_n": 0, "predicted_n": number}
            call.writer.write(framed(sse(chunk("t", timings=timings))))
        timings = {"prompt_n": PROMPT, "cache_n": 0, "predicted_n": 500 - PROMPT + 1}
        call.writer.write(framed(sse(chunk(finish="stop", timings=timings))))
        call.writer.write(
            framed(sse(usage_chunk(PROMPT, 500 - PROMPT + 1))) + framed(sse("[DONE]")) + b"0\r\n\r\n"
        )

    engine.upstream.script = stops
    await engine.limit(500)
    answer = await engine.ask(body=chat(stream=True))
    assert answer.status == 200 and answer.events[-1] == "[DONE]"
    [bucket] = [bucket for bucket in await engine.buckets() if bucket["unit"] == int(Unit.TOKENS)]
    assert (bucket["used"], bucket["overage"]) == (500, 0)


async def test_without_stream_the_answer_is_put_together_and_names_the_limit(engine: Hub) -> None:
    await engine.limit(500, name="team-year")
    answer = await engine.ask(body=chat())
    assert answer.status == 200 and answer.headers["x-ath-limited-by"] == "team-year"
    choice = answer.json["choices"][0]
    assert choice["finish_reason"] == "length" and choice["message"]["content"] == "t" * (500 - PROMPT)
    assert answer.json["usage"]["total_tokens"] == 500 and answer.json["object"] == "chat.completion"
    assert await used(engine) == (500, 500)
    refused = await engine.ask(body=chat())
    assert refused.status == 402 and refused.code == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false" and "team-year" in refused.json["error"]["message"]


async def test_max_tokens_that_fits_is_kept(engine: Hub) -> None:
    await engine.limit(500)
    answer = await engine.ask(body=chat(max_tokens=20))
    assert answer.json["usage"]["completion_tokens"] == 20 and "x-ath-limited-by" not in answer.headers
    assert (await used(engine))[0] == 20 + PROMPT


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 200}, {"stream": True}])
async def test_a_race_uses_the_budget_and_never_passes_it(engine: Hub, fields: dict[str, Any]) -> None:
    async def short(call: Call) -> None:
        if not call.fields.get("max_tokens"):
            call.body = msgspec.json.encode({**call.fields, "max_tokens": 100})
        await tokens(call)

    engine.upstream.script = short
    cap = 3000
    await engine.limit(cap)
    for _ in range(8):
        answers = await asyncio.gather(*[engine.ask(body=chat(**fields)) for _ in range(8)])
        assert all(answer.status in (200, 402, 429) for answer in answers)
    spent, _ = await used(engine)
    assert cap * 97 // 100 <= spent <= cap
    assert sum(e["input_tokens"] + e["output_tokens"] for e in await engine.settled()) == spent


async def test_a_window_that_resets_answers_429_with_the_time(hub: Hub) -> None:
    await hub.limit(3, unit=Unit.REQUESTS, name="rpm", window=Window("calendar", "hour"))
    answers = [await hub.ask(body=chat(max_tokens=5)) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    refused = answers[3]
    assert 0 < int(refused.headers["retry-after"]) <= 3600 and "retry-after-ms" in refused.headers
    assert (
        "x-ath-quota-rpm-limit" in answers[0].headers and "x-ratelimit-limit-requests" in answers[0].headers
    )


async def test_quota_can_be_read(hub: Hub) -> None:
    await hub.limit(5000, name="year")
    await hub.ask(body=chat(max_tokens=5))
    await hub.settled()
    await asyncio.sleep(0.2)
    answer = await hub.ask("/v1/quota?model=m", method="GET")
    [quota] = answer.json["data"]
    assert (quota["name"], quota["limit"], quota["unit"]) == ("year", 5000, "tokens")


async def test_a_revoked_key_is_refused_within_a_second(hub: Hub) -> None:
    from tokenhub.identity.keys import revoke_key
    from tokenhub.kernel.clock import now_ms

    assert (await hub.ask(body=chat())).status == 200
    with hub.database.write("hub") as connection:
        revoke_key(connection, hub.key_id, org_id=hub.org_id, at_ms=now_ms())
    await asyncio.sleep(1.0)
    answer = await hub.ask(body=chat())
    assert answer.status == 401 and answer.code == "invalid_api_key"


async def test_a_new_key_works_at_once(hub: Hub) -> None:
    from tokenhub.identity.keys import KeySpec, create_key
    from tokenhub.kernel.clock import now_ms

    with hub.database.write("hub") as connection:
        spec = KeySpec(
            hub.org_id, "new", frozenset({"inference"}), user_id=hub.user_id, models=frozenset({"other"})
        )
        create_key(connection, spec, at_ms=now_ms(), secret="sk-brand-new")
    answer = await hub.ask(body=chat(), key="sk-brand-new")
    assert answer.status == 403 and answer.code == "model_not_allowed"
