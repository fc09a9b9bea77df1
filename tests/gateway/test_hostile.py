"""Upstreams that lie and clients that leave at the worst moment: the books and the neighbours stay whole."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from tests.gateway.client import Answer, chat, request
from tests.gateway.conftest import Hub, running
from tests.gateway.test_limits import Engine, tokens
from tests.gateway.upstream import (
    ANSWER,
    STREAM_HEAD,
    Call,
    Script,
    ScriptedUpstream,
    chunk,
    framed,
    json_answer,
    plain,
    sse,
    usage_chunk,
)
from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.identity.keys import KeySpec, create_key
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.gateway import answer_store, idempotency
from tokenhub.maas.gateway.strand import Strand
from tokenhub.maas.gateway.validation import parse_request
from tokenhub.pricing.store import add_version
from tokenhub.pricing.types import RateCard, Rates, Rules


def stream_of(*events: Any, done: bool = True, hang_s: float = 0) -> Script:
    async def script(call: Call) -> None:
        data = b"".join(framed(sse(event)) for event in events)
        call.writer.write(STREAM_HEAD + data + (framed(sse("[DONE]")) if done else b""))
        if hang_s:
            await asyncio.sleep(hang_s)
        call.writer.write(b"0\r\n\r\n")

    return script


def answers(body: Any) -> Script:
    async def script(call: Call) -> None:
        call.writer.write(json_answer(body))

    return script


async def set_price(hub: Hub, **rates: int) -> None:
    with hub.database.write("hub") as connection:
        add_version(
            connection,
            sku="m",
            rules=Rules(base=RateCard(rates=Rates(**rates))),
            currency="USD",
            effective_from_ms=now_ms() + 1,
            now_ms=now_ms(),
        )
    await asyncio.sleep(0.01)
    await hub.server.keeper.check()


async def unaccounted(hub: Hub) -> int:
    """Leased tokens that neither an open hold nor the free part of a cell explains: 0, or something leaked."""
    await hub.settled()
    cells = hub.server.clerk._cells
    return sum(
        bucket["held"] - cells[bucket["id"]].free for bucket in await hub.buckets() if bucket["id"] in cells
    )


async def test_usage_in_the_first_event_alone_is_not_the_end_of_counting(hub: Hub) -> None:
    first = chunk("t", usage={"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12})
    hub.upstream.script = stream_of(first, *[chunk("t") for _ in range(600)], chunk(finish="stop"))
    answer = await hub.ask(body=chat(stream=True))
    assert answer.status == 200
    [event] = await hub.settled()
    assert event["input_tokens"] == 12
    assert 600 <= event["output_tokens"] <= 604, event["output_tokens"]
    assert event["source"] == "estimate"


@pytest.mark.parametrize("count", [10**30, 2**63, 2**62, 2**47])
@pytest.mark.parametrize("stream", [False, True])
async def test_absurd_usage_neither_leaks_nor_stops_settlement(hub: Hub, count: int, stream: bool) -> None:
    await set_price(hub, input=75_000_000_000, output=750_000_000_000)
    await hub.limit(1_000_000)
    usage = {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": count + 12}
    script = stream_of(chunk("t"), chunk(finish="stop"), {**chunk(), "choices": [], "usage": usage})
    hub.upstream.script = script if stream else answers({**ANSWER, "usage": usage})
    answer = await hub.ask(body=chat(stream=stream, max_tokens=5))
    assert answer.status == 200
    [event] = await hub.settled()
    assert event["output_tokens"] < 1000 and event["source"] == "estimate"
    hub.upstream.script = plain
    assert (await hub.ask(body=chat(max_tokens=5))).status == 200
    assert len(await hub.settled()) == 2
    assert await unaccounted(hub) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_without_a_rate_is_charged_all_the_same(hub: Hub, stream: bool) -> None:
    await set_price(hub, input=75_000_000_000, output=750_000_000_000)
    await hub.limit(1_000_000)
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    usage["prompt_tokens_details"] = {"audio_tokens": 5}
    script = stream_of(chunk("t"), chunk(finish="stop"), {**chunk(), "choices": [], "usage": usage})
    hub.upstream.script = script if stream else answers({**ANSWER, "usage": usage})
    answer = await hub.ask(body=chat(stream=stream, max_tokens=5))
    assert answer.status == 200 and b"error" not in answer.body
    [event] = await hub.settled()
    assert event["input_tokens"] + event["audio_input_tokens"] == 12 and event["amount_nano"] > 0
    assert await unaccounted(hub) == 0


async def test_an_error_with_status_200_is_an_error_and_costs_nothing(hub: Hub) -> None:
    hub.upstream.script = answers({"error": {"message": "no credit", "code": 402}})
    answer = await hub.ask(body=chat())
    assert answer.status == 502 and "no credit" in answer.json["error"]["message"]
    assert await hub.settled() == []


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 30\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 30\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: br\r\ncontent-length: 30\r\n\r\n",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_no_answer_is_not_passed_on(hub: Hub, head: bytes, stream: bool) -> None:
    async def script(call: Call) -> None:
        call.writer.write(head + b"<" * 30)

    hub.upstream.script = script
    answer = await hub.ask(body=chat(stream=stream))
    assert answer.status == 502, answer
    assert await hub.settled() == []


async def test_a_stream_is_over_with_done(hub: Hub) -> None:
    hub.upstream.script = stream_of(chunk("t"), chunk(finish="stop"), usage_chunk(12, 1), hang_s=8)
    answer = await asyncio.wait_for(hub.ask(body=chat(stream=True)), 4)
    assert answer.events[-1] == "[DONE]"
    [event] = await hub.settled()
    assert event["finish"] == "stop" and event["output_tokens"] == 1


async def test_a_stream_that_came_event_by_event_is_over_with_done(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for event in (chunk("t"), chunk("t"), chunk("t"), chunk(finish="stop"), usage_chunk(12, 3), "[DONE]"):
            await asyncio.sleep(0.02)
            call.writer.write(framed(sse(event)))
        await asyncio.sleep(8)

    hub.upstream.script = script
    answer = await asyncio.wait_for(hub.ask(body=chat(stream=True)), 4)
    assert answer.events[-1] == "[DONE]"
    [event] = await hub.settled()
    assert event["finish"] == "stop" and event["output_tokens"] == 3


async def test_nothing_after_done_is_kept(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD + framed(sse(chunk("t"))) + framed(sse("[DONE]")))
        await asyncio.sleep(0.1)
        for _ in range(3000):
            call.writer.write(framed(sse(chunk("x" * 5000))))
            await call.writer.drain()
            await asyncio.sleep(0)
        call.writer.write(b"0\r\n\r\n")

    hub.upstream.script = script
    answer = await hub.ask(body=chat(stream=True))
    assert len(answer.body) < 100_000


async def test_an_endless_answer_is_cut(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenhub.maas.gateway.answer.ANSWER_BYTES_MAX", 2**20)

    async def script(call: Call) -> None:
        call.writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        while True:
            call.writer.write(framed(b" " * 65536))
            await call.writer.drain()
            await asyncio.sleep(0)

    hub.upstream.script = script
    answer = await asyncio.wait_for(hub.ask(body=chat()), 5)
    assert answer.status == 502


async def test_an_escaped_name_is_an_image_too(hub: Hub) -> None:
    part = b'{"type":"image\\u005furl","image_\\u0075rl":{"url":"http://x/y.png"}}'
    body = b'{"model":"m","messages":[{"role":"user","content":[%b,%b]}]}' % (part, part)
    assert parse_request("chat.completions", body, request_id="r").images >= 2


@pytest.mark.parametrize(
    "bad",
    [
        {"choices": [5]},
        {"choices": 5},
        {"choices": {"a": 1}},
        {"choices": [{"index": "x", "delta": {"content": "t"}, "finish_reason": 7}]},
        {
            "choices": [{"index": [], "delta": 3}],
            "timings": {"predicted_n": 2**70, "prompt_n": -4, "cache_n": -9},
        },
        {"choices": [], "usage": 7},
        {"choices": None, "usage": {"prompt_tokens": -1, "completion_tokens": "x"}},
        {"choices": [], "error": None},
        {
            "choices": [{"index": 0, "delta": {"content": "t"}}],
            "timings": {"predicted_n": -(2**70), "prompt_n": 10**30},
        },
    ],
)
@pytest.mark.parametrize("own", [False, True])
async def test_odd_events_end_in_an_answer_and_leave_no_hold(
    sqlite_settings: Settings, bad: Any, own: bool
) -> None:
    adapter = Engine()
    options: dict[str, Any] = {"adapters": {"engine": adapter}, "adapter": "engine"} if own else {}
    async with running(sqlite_settings, **options) as hub:
        await hub.limit(1_000_000)
        await set_price(hub, input=75_000_000_000, output=750_000_000_000)
        hub.upstream.script = stream_of(chunk("t"), bad, chunk(finish="stop"))
        for stream in (True, False):
            answer = await hub.ask(body=chat(stream=stream, max_tokens=100))
            assert answer.status in (200, 502)
        events = await hub.settled()
        assert all(event["output_tokens"] < 1000 and event["input_tokens"] < 10_000 for event in events), (
            events
        )
        assert all(event["cache_read_tokens"] >= 0 and event["input_tokens"] >= 0 for event in events)
        assert await unaccounted(hub) == 0


async def test_a_finished_upstream_connection_is_its_next_users_alone(sqlite_settings: Settings) -> None:
    """A answers wait for budget although the upstream is done; meanwhile B uses the upstream's connection."""
    adapter = Engine()
    quick = replace(sqlite_settings, hold_wait_s=4.0)
    options: dict[str, Any] = {
        "adapters": {"engine": adapter},
        "adapter": "engine",
        "prompt_counter": adapter,
    }
    async with running(quick, **options) as hub:
        second = asyncio.Event()

        async def script(call: Call) -> None:
            if call.fields["messages"][0]["content"] == "slow":
                second.set()
                call.writer.write(STREAM_HEAD + framed(sse(chunk("a"))))
                await asyncio.sleep(3)
                call.writer.write(framed(sse(chunk("b"))) + framed(sse(chunk(finish="stop"))))
                call.writer.write(framed(sse(usage_chunk(12, 2))) + framed(sse("[DONE]")) + b"0\r\n\r\n")
                return
            data = b"".join(
                framed(sse(chunk("t", timings={"prompt_n": 12, "cache_n": 0, "predicted_n": n})))
                for n in range(1, 301)
            )
            call.writer.write(STREAM_HEAD + data + framed(sse(chunk(finish="stop"))))
            call.writer.write(framed(sse(usage_chunk(12, 300))) + framed(sse("[DONE]")) + b"0\r\n\r\n")

        hub.upstream.script = script
        await hub.limit(150)
        with hub.database.write("hub") as connection:
            spec = KeySpec(hub.org_id, "other", frozenset({"inference"}), user_id=hub.user_id)
            create_key(connection, spec, at_ms=now_ms(), secret="sk-other")
            revision.bump(connection)
        await hub.server.keeper.check()
        slow = {"model": "m", "messages": [{"role": "user", "content": "slow"}], "max_tokens": 20}
        async with await hub.open() as first, await hub.open() as other:
            first.send(request(body=chat(stream=True)))
            await asyncio.sleep(0.3)
            other.send(request(body=slow, key="sk-other"))
            a = await first.answer()
            b = await asyncio.wait_for(other.answer(), 8)
        assert hub.upstream.connections == 1
        assert a.status == 200
        assert b.status == 200
        assert b.json["choices"][0]["message"]["content"] == "ab"


async def test_an_upstream_connection_goes_back_readable(hub: Hub) -> None:
    """The client's socket is full just when the upstream ends: the next user of the connection gets its answer."""
    big = {
        **ANSWER,
        "choices": [{**ANSWER["choices"][0], "message": {"role": "assistant", "content": "x" * 6_000_000}}],
    }

    async def script(call: Call) -> None:
        if call.fields.get("stream"):
            call.writer.write(STREAM_HEAD)
            body = framed(sse(chunk("x" * 300_000)))
            for _ in range(30):
                call.writer.write(body)
            call.writer.write(framed(sse(usage_chunk())) + framed(sse("[DONE]")) + b"0\r\n\r\n")
        else:
            call.writer.write(json_answer(big))

    for fields in ({}, {"stream": True}):
        hub.upstream.script = script
        async with await hub.open() as client:
            client.reader._limit = 2**16
            client.send(request(body=chat(**fields)))
            await asyncio.sleep(0.4)
            await client.answer()
        hub.upstream.script = plain
        answer = await asyncio.wait_for(hub.ask(body=chat()), 3)
        assert answer.status == 200


async def test_connection_options_cannot_unframe_a_body(hub: Hub) -> None:
    hub.settings.run_dir.mkdir(parents=True, exist_ok=True)
    app = ScriptedUpstream()

    async def script(call: Call) -> None:
        call.writer.write(json_answer({"got": call.head.decode(), "body": call.body.decode()}))

    app.script = script
    await app.start(path=str(hub.settings.app_socket))
    smuggled = b"GET /api/admin HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    for method in ("GET", "POST"):
        answer: Answer = await hub.ask(
            "/api/me",
            body=smuggled,
            method=method,
            headers={"Connection": "keep-alive, Content-Length, Host"},
        )
        assert answer.json["body"] == smuggled.decode()
        assert "content-length" in answer.json["got"].lower() and "host: hub" in answer.json["got"].lower()
    await asyncio.sleep(0.1)
    assert len(app.calls) == 2
    await app.stop()


async def test_a_result_that_nobody_takes_is_given_back() -> None:
    loop = asyncio.get_running_loop()
    given_back: list[str] = []
    box: list[Strand] = []

    async def hold() -> str:
        loop.call_soon(box[0].cancel, ConnectionError())
        return "hold"

    async def conduct() -> None:
        try:
            await Strand.wait(hold(), given_back.append)
        except ConnectionError:
            pass

    box.append(Strand(conduct()))
    box[0].start()
    await asyncio.sleep(0.05)
    assert given_back == ["hold"]


async def test_a_client_that_leaves_in_its_claim_frees_the_key(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "ALIVE_EVERY_S", 0.1)
    claim = answer_store.claim

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return claim(*args, **options)

    monkeypatch.setattr(answer_store, "claim", slow)
    headers = {"Idempotency-Key": "one"}
    async with await hub.open() as client:
        client.send(request(body=chat(), headers=headers))
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.6)
    monkeypatch.setattr(answer_store, "claim", claim)
    assert (await hub.ask(body=chat(), headers=headers)).status == 200


async def test_a_slow_body_does_not_outlive_its_key(hub: Hub) -> None:
    data = request(body=chat())
    async with await hub.open() as client:
        client.send(data[:-5])
        await asyncio.sleep(0.05)
        with hub.database.write("hub") as connection:
            connection.execute(
                text("UPDATE api_keys SET revoked_at_ms = 1 WHERE id = :id"), {"id": hub.key_id}
            )
            revision.bump(connection)
        await hub.server.keeper.check()
        client.send(data[-5:])
        assert (await client.answer()).status == 401
    assert hub.upstream.calls == []


async def test_quota_can_be_read_beyond_the_cap(hub: Hub) -> None:
    await hub.limit(20_000)
    usage = {"prompt_tokens": 12, "completion_tokens": 50_000, "total_tokens": 50_012}
    hub.upstream.script = answers({**ANSWER, "usage": usage})
    assert (await hub.ask(body=chat(max_tokens=5))).status == 200
    await hub.settled()
    answer = await hub.ask("/v1/quota", method="GET")
    assert answer.status == 200, answer.body
    assert answer.json["data"][0]["remaining"] == 0


async def test_two_output_limits_are_one(hub: Hub) -> None:
    await hub.ask(body=chat(max_tokens=5, max_completion_tokens=7000))
    await hub.ask(body=chat(max_tokens=7000, max_completion_tokens=5))
    for call in hub.upstream.calls:
        limits = [
            call.fields[name] for name in ("max_tokens", "max_completion_tokens") if name in call.fields
        ]
        assert set(limits) == {5}, call.fields


async def test_a_limits_name_is_no_header(sqlite_settings: Settings) -> None:
    adapter = Engine()
    options: dict[str, Any] = {
        "adapters": {"engine": adapter},
        "adapter": "engine",
        "prompt_counter": adapter,
    }
    async with running(replace(sqlite_settings, hold_wait_s=0.3), **options) as hub:
        hub.upstream.script = tokens
        await hub.limit(100, name="a\r\nx-evil: 1")
        answer = await hub.ask(body=chat())
        assert answer.json["choices"][0]["finish_reason"] == "length"
        assert answer.headers["x-ath-limited-by"] == "a??x-evil: 1" and "x-evil" not in answer.headers
