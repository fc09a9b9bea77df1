"""The short way of a plain request says, does and books exactly what the long way does.

Each case goes through both: on a fresh gateway the first request with a head takes the long way and makes the head
known; the same request again takes the short way where the case is a plain one.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.client import Answer, Client, chat, request
from tests.gateway.conftest import Hub
from tests.gateway.upstream import ANSWER, Call, framed, json_answer, plain
from tokenhub.adapters.engines import gateway_adapters
from tokenhub.db import revision
from tokenhub.identity.keys import revoke_key
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.gateway.upstream_adapter import ConformingAdapter

MESSAGE = [{"role": "user", "content": "hi"}]
PLAIN: list[Any] = [
    chat(),
    chat(max_tokens=7),
    chat(max_completion_tokens=7, n=2, temperature=0.5, seed=4, stop=["a", "b"]),
    chat(stream=False),
    chat(max_tokens=None, n=None),
    chat(response_format={"type": "json_object"}),
    json.dumps(chat(messages=[{"role": "user", "content": "世界"}]), ensure_ascii=False).encode(),
    chat(messages=[{"role": "user", "content": 'say "stop" and "model"'}]),
]
NOT_PLAIN: list[Any] = [
    {"messages": [{"role": "user", "content": "Grüße, 世界 😀"}], "model": "m"},
    json.dumps(chat(messages=[{"role": "user", "content": '世界 \n\t"'}]), indent=2).encode(),
    json.dumps(chat(messages=[{"role": "user", "content": "\u0fb9" * 9}]), ensure_ascii=False).encode(),
    chat(max_tokens=7, max_completion_tokens=9),
    chat(top_k=4),
    chat(user="me"),
    chat(tools=[{"type": "function", "function": {"name": "f"}}]),
    chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]),
    chat(messages=[{"role": "user", "content": "x" * 40_000}]),
]
REFUSED: list[Any] = [
    chat(temperature=9),
    chat(model="nobody"),
    chat(messages=[]),
    chat(tool_choice="required"),
    chat(stream_options={"include_usage": True}),
    b'{"model":"m","model":"m","messages":[{"role":"user","content":"hi"}]}',
    b'{"model":"m","mod\\u0065l":"x","messages":[{"role":"user","content":"hi"}]}',
    b'{"model":"m","messages":[{"role":"user","content":"hi"}]',
    b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"response_format":'
    b'{"type":"json_schema","json_schema":{"name":"a","schema":{"title":"\xff"}}}}',
    b'\xef\xbb\xbf{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    b'{"model":"m","messages":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    b"[]",
]
_IDS = re.compile(rb"req_[0-9A-Z]{26}")


def said(answer: Answer) -> tuple[Any, ...]:
    """What a client sees, without what differs from request to request."""
    moving = re.compile(r"x-request-id|date|x-ath-quota-.*|x-ratelimit-.*")
    headers = {name: value for name, value in answer.headers.items() if not moving.fullmatch(name)}
    assert answer.headers["x-request-id"].startswith("req_") and answer.headers["date"].endswith("GMT")
    return answer.status, headers, answer.body


def heard(call: Call) -> tuple[bytes, bytes]:
    """What the upstream was sent, without the request's id."""
    return _IDS.sub(b"", call.head), call.body


def booked(event: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says, without ids and times."""
    varying = {"request_id", "at_ms", "latency_ms", "ttft_ms", "transfer_id"}
    return {name: value for name, value in event.items() if name not in varying}


async def both(hub: Hub, sent: bytes, *, fast: int = 1) -> tuple[Answer, Answer]:
    """The same bytes twice on one connection (a new one where the server closes); `fast` took the short way."""
    async with await hub.open() as client:  # known head, open path, kept upstream connection
        client.send(request(body=chat(), headers={"X-Other": "1"}))
        await client.answer()
    before = hub.server.fast_path.taken
    answers: list[Answer] = []
    client = await hub.open()
    for _ in range(2):
        client.send(sent)
        answers.append(await client.answer())
        if answers[-1].headers.get("connection") == "close":
            client.writer.close()
            client = await hub.open()
    client.writer.close()
    assert hub.server.fast_path.taken - before == fast
    return answers[0], answers[1]


@pytest.mark.parametrize("body", PLAIN + NOT_PLAIN + REFUSED, ids=lambda body: repr(body)[:48])
async def test_both_ways_say_the_same(hub: Hub, body: Any) -> None:
    refused = body in REFUSED
    first, second = await both(hub, request(body=body), fast=int(body in PLAIN))
    assert said(first) == said(second)
    assert (first.status >= 400) == refused
    if refused:
        assert len(hub.upstream.calls) == 1
    else:
        assert heard(hub.upstream.calls[1]) == heard(hub.upstream.calls[2])
        events = await hub.settled()
        assert booked(events[1]) == booked(events[2])
        assert events[2]["output_tokens"] == 3 and events[2]["request_id"] == second.headers["x-request-id"]
    assert await hub.held() == 0


def usage(**fields: Any) -> bytes:
    return json_answer({**ANSWER, "usage": fields})


ODD_ANSWERS: dict[str, bytes] = {
    "cached": usage(prompt_tokens=12, completion_tokens=3, prompt_tokens_details={"cached_tokens": 8}),
    "hit": usage(prompt_tokens=12, completion_tokens=3, prompt_cache_hit_tokens=4),
    "reasoning": usage(
        prompt_tokens=12, completion_tokens=9, completion_tokens_details={"reasoning_tokens": 5}
    ),
    "lies": usage(prompt_tokens=2, completion_tokens=9, prompt_tokens_details={"cached_tokens": 8}),
    "negative": usage(prompt_tokens=-2, completion_tokens=9),
    "huge": usage(prompt_tokens=10**30, completion_tokens=9),
    "text": usage(prompt_tokens="12", completion_tokens=3),
    "over": usage(prompt_tokens=12, completion_tokens=9000),
    "none": json_answer({key: value for key, value in ANSWER.items() if key != "usage"}),
    "no choices": json_answer({**ANSWER, "choices": []}),
    "timings": json_answer({**ANSWER, "timings": {"prompt_n": 5, "predicted_n": 4}}),
    "error in 200": json_answer({"error": {"message": "no", "type": "x"}}),
    "not json": json_answer({})[:-2] + b"<>",
    "list": json_answer([]),
    "400": json_answer({"error": {"message": "no", "code": "bad", "param": "stop"}}, status=400),
    "429": json_answer({"error": {"message": "slow"}}, status=429, extra=b"retry-after: 3\r\n"),
    "500": json_answer({"error": {"message": "oops"}}, status=500),
    "201": json_answer(ANSWER, status=201),
    "page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>",
    "no type": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<p/>",
    "gzip": json_answer(ANSWER, extra=b"content-encoding: gzip\r\n"),
    "closes": json_answer(ANSWER, extra=b"Connection: close\r\n"),
    "two lengths": json_answer(ANSWER, extra=b"content-length: 9\r\n"),
    "HTTP/1.0": json_answer(ANSWER).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "chunked": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    + framed(json.dumps(ANSWER).encode())
    + b"0\r\n\r\n",
    "and more": json_answer(ANSWER) + b"x",
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
@pytest.mark.parametrize("parts", [1, 3])
async def test_odd_answers_are_treated_alike(hub: Hub, name: str, parts: int) -> None:
    data = ODD_ANSWERS[name]
    first_call = True

    async def script(call: Call) -> None:
        nonlocal first_call
        if first_call:
            first_call = False
            await plain(call)
            return
        step = -(-len(data) // parts)
        for start in range(0, len(data), step):
            call.writer.write(data[start : start + step])
            await asyncio.sleep(0.01 if parts > 1 else 0)

    hub.upstream.script = script
    async with await hub.open() as client:
        client.send(request(body=chat()))
        await client.answer()
        taken = hub.server.fast_path.taken
        client.send(request(body=chat()))  # the short way
        short = await client.answer()
    assert hub.server.fast_path.taken == taken + 1
    hub.server.fast_path.forget()
    long = await hub.ask(body=chat())
    assert hub.server.fast_path.taken == taken + 1
    assert said(short) == said(long)
    events = await hub.settled()
    assert len(events) in (1, 3)
    if len(events) == 3:
        assert booked(events[1]) == booked(events[2])
    assert await hub.held() == 0
    assert hub.server.router.busy() == {hub.server.keeper.current.deployments["m"][0].id: 0}


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[Client]:
    """A connection whose next `request(body=chat())` takes the short way."""
    async with await hub.open() as made:
        made.send(request(body=chat()))
        assert (await made.answer()).status == 200
        yield made


async def test_head_and_body_in_pieces(hub: Hub, client: Client) -> None:
    sent = request(body=chat())
    end = sent.index(b"\r\n\r\n") + 4
    for cuts in ([end], [end - 2], [end + 9], [end, end + 5], [3, end + 1]):
        for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            client.send(sent[start:stop])
            await asyncio.sleep(0.02)
        assert (await client.answer()).status == 200
    assert hub.server.fast_path.taken == 1  # that whose head and whose body came whole
    assert len(await hub.settled()) == 6


async def test_pipelined_requests_are_answered_in_order(hub: Hub, client: Client) -> None:
    client.send(request(body=chat()) + request(body=chat(max_tokens=5)) + request("/v1/models", method="GET"))
    client.send(request(body=chat(max_tokens=6)))
    kinds = [(await client.answer()).json["object"] for _ in range(4)]
    assert kinds == ["chat.completion", "chat.completion", "list", "chat.completion"]
    client.send(request(body=chat()))
    await asyncio.sleep(0)
    client.send(request(body=chat()))
    assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_a_body_that_does_not_come(hub: Hub, client: Client) -> None:
    sent = request(body=chat())
    client.send(sent[: sent.index(b"\r\n\r\n") + 4])
    answer = await client.answer()
    assert answer.status == 408 and answer.headers["connection"] == "close"
    assert await client.closed()


async def test_a_revoked_key_is_known_no_more(hub: Hub, client: Client) -> None:
    with hub.database.write("hub") as connection:
        revoke_key(connection, hub.key_id, org_id=hub.org_id, at_ms=now_ms())
        revision.bump(connection)
    await hub.server.keeper.check()
    client.send(request(body=chat()))
    assert (await client.answer()).status == 401
    assert hub.server.fast_path.taken == 0


async def test_a_client_that_leaves_stops_the_upstream(hub: Hub, client: Client) -> None:
    waiting = asyncio.Event()

    async def script(call: Call) -> None:
        waiting.set()
        await call.closed.wait()

    hub.upstream.script = script
    client.send(request(body=chat()))
    await asyncio.wait_for(waiting.wait(), 5)
    assert hub.server.fast_path.taken == 1
    client.writer.transport.abort()
    await asyncio.wait_for(hub.upstream.calls[-1].closed.wait(), 0.5)
    assert len(await hub.settled()) == 1
    assert all(bucket["held"] == 0 for bucket in await hub.buckets())
    assert set(hub.server.router.busy().values()) == {0}


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"]
)
async def test_an_upstream_that_breaks_off(hub: Hub, client: Client, begun: bytes) -> None:
    """Before its first byte the connection may only have been stale: once more; after it the answer is lost."""

    async def script(call: Call) -> None:
        hub.upstream.script = plain
        call.writer.write(begun)
        await call.writer.drain()
        await asyncio.sleep(0.02)
        call.writer.transport.abort()

    hub.upstream.script = script
    client.send(request(body=chat()))
    answer = await client.answer()
    assert hub.server.fast_path.taken == 1
    assert answer.status == (502 if begun else 200)
    assert len(hub.upstream.calls) == (2 if begun else 3)
    assert len(await hub.settled()) == (1 if begun else 2)


async def test_an_upstream_that_does_not_answer(hub: Hub, client: Client) -> None:
    timeouts = hub.server.keeper.current.deployments["m"][0].timeouts
    object.__setattr__(timeouts, "first_token_s", 0.5)

    async def script(call: Call) -> None:
        await call.closed.wait()

    hub.upstream.script = script
    client.send(request(body=chat()))
    answer = await client.answer()
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert hub.server.fast_path.taken == 1


async def test_near_a_cap_the_long_way_decides(hub: Hub, client: Client) -> None:
    await hub.limit(60)
    client.send(request(body=chat(max_tokens=20)))
    answer = await client.answer()
    assert (answer.status, answer.code) == (402, "insufficient_quota")
    assert hub.server.fast_path.taken == 0


async def test_a_drain_waits_for_the_answer(hub: Hub, client: Client) -> None:
    waiting = asyncio.Event()

    async def script(call: Call) -> None:
        waiting.set()
        await asyncio.sleep(0.3)
        await plain(call)

    hub.upstream.script = script
    client.send(request(body=chat()))
    await asyncio.wait_for(waiting.wait(), 5)
    drain = asyncio.create_task(hub.server.drain(5))
    assert (await client.answer()).status == 200
    assert await client.closed()
    await drain
    assert hub.server.fast_path.taken == 1


def head_with(*lines: str, body: bytes) -> bytes:
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines]).encode() + b"\r\n\r\n" + body


async def test_heads_that_are_never_known(hub: Hub) -> None:
    """A head is known only if the parser and a plain reading of its bytes agree on every line of it."""
    body = json.dumps(chat()).encode()
    key, length = "Authorization: Bearer sk-test", f"Content-Length: {len(body)}"
    heads = [
        head_with("Host: hub", key, length, length, body=body),
        head_with("Host: hub", key, length, "Transfer-Encoding: chunked", body=body),
        head_with("Host: hub", key, length, "Connection: close", body=body),
        head_with("Host: hub", key, length, "X-Client-Request-Id: mine", body=body),
        head_with("Host: hub", "Authorization: Bearer unknown", length, body=body),
        head_with(key, length, body=body),
        head_with("Host: hub", key, length, "Idempotency-Key: a", body=body),
        head_with("Host: hub", key, "Content-Length: 5\n", "X: y", body=body),
        head_with("Host: hub", key, length, "X: a", " folded", body=body),
    ]
    await hub.ask(body=chat())
    for head in heads:
        for _ in range(2):
            async with await hub.open() as client:
                client.send(head)
                await client.answer()
    assert hub.server.fast_path.taken == 0


async def test_only_the_digits_of_a_length_may_differ(hub: Hub, client: Client) -> None:
    body = json.dumps(chat(max_tokens=9)).encode()
    good = request(body=body)
    client.send(good)
    assert (await client.answer()).status == 200
    for text in (b"+%d", b"0x%d", b"%d, 3", b"-%d", b"%d;"):
        async with await hub.open() as other:
            other.send(good.replace(b"Length: %d" % len(body), b"Length: " + text % len(body)))
            assert (await other.answer()).status == 400, text
    assert hub.server.fast_path.taken == 1


def test_the_adapter_of_providers_is_one_that_may_go_the_short_way() -> None:
    assert isinstance(gateway_adapters()["openai"], ConformingAdapter)
