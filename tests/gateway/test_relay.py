"""Answers pass through untouched and are booked to the token."""

import asyncio
import json

from tests.gateway.client import chat, request
from tests.gateway.conftest import Hub
from tests.gateway.upstream import ANSWER, STREAM_HEAD, Call, chunk, framed, json_answer, sse, usage_chunk
from tokenhub.clearing.journal import draft_of


async def test_an_answer_is_relayed_byte_for_byte_and_booked(hub: Hub) -> None:
    raw = b'{"id":"x" , "choices":[{"finish_reason":"stop"}],\n "usage":{"prompt_tokens":12,"completion_tokens":3}, "odd": 1e2}'

    async def script(call: Call) -> None:
        call.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(raw), raw)
        )

    hub.upstream.script = script
    answer = await hub.ask(body=chat())
    assert answer.status == 200 and answer.body == raw
    assert answer.headers["x-request-id"].startswith("req_")
    [event] = await hub.settled()
    assert event["request_id"] == answer.headers["x-request-id"]
    assert (event["input_tokens"], event["output_tokens"], event["finish"], event["source"]) == (
        12,
        3,
        "stop",
        "provider",
    )
    assert await hub.held() == 0


async def test_fields_go_upstream_untouched_but_for_those_the_hub_owns(hub: Hub) -> None:
    await hub.ask(body=chat(temperature=0.5, top_k=7, seed=5, metadata={"a": "b"}))
    sent = hub.upstream.calls[0].fields
    assert sent == {**chat(temperature=0.5, top_k=7, seed=5, metadata={"a": "b"}), "model": "up"}
    assert b"authorization: bearer sk-up" in hub.upstream.calls[0].head.lower()


async def test_a_stream_without_usage_wish_is_metered_and_gets_no_usage_chunk(hub: Hub) -> None:
    answer = await hub.ask(body=chat(stream=True))
    assert hub.upstream.calls[0].fields["stream_options"] == {"include_usage": True}
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.events[-1] == "[DONE]" and not any("usage" in event for event in answer.events[:-1])
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in answer.events[:-1]) == "abc"
    [event] = await hub.settled()
    assert (event["input_tokens"], event["output_tokens"], event["stream"]) == (12, 3, 1)


async def test_a_stream_with_usage_wish_is_the_upstreams_bytes(hub: Hub) -> None:
    answer = await hub.ask(body=chat(stream=True, stream_options={"include_usage": True}))
    events = (chunk("a"), chunk("b"), chunk("c"), chunk(finish="stop"), usage_chunk(), "[DONE]")
    assert answer.body == b"".join(map(sse, events))


async def test_events_split_at_any_byte_arrive_whole(hub: Hub) -> None:
    events = (chunk("a"), chunk("ü" * 40), chunk("c"), chunk(finish="stop"), usage_chunk(), "[DONE]")
    payload = b"".join(map(sse, events))

    async def script(call: Call) -> None:
        size = call.fields["seed"]
        wire = b"".join(framed(payload[at : at + size]) for at in range(0, len(payload), size)) + b"0\r\n\r\n"
        call.writer.write(STREAM_HEAD)
        for at in range(0, len(wire), 7 * size):
            call.writer.write(wire[at : at + 7 * size])
            await asyncio.sleep(0)

    hub.upstream.script = script
    for size in (1, 2, 3, 17, 64, 300):
        answer = await hub.ask(body=chat(stream=True, seed=size, stream_options={"include_usage": True}))
        assert answer.body == payload, size
    answer = await hub.ask(body=chat(stream=True, seed=5))
    assert answer.body == payload.replace(sse(usage_chunk()), b"")
    assert all(event["output_tokens"] == 3 for event in await hub.settled())


async def test_usage_with_white_space_and_usage_null_chunks(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for event in (chunk("a", usage=None), chunk(finish="stop", usage=None), usage_chunk(7, 9)):
            call.writer.write(framed(f"data: {json.dumps(event)}\n\n".encode()))
        call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")

    hub.upstream.script = script
    answer = await hub.ask(body=chat(stream=True))
    assert len(answer.events) == 3
    [event] = await hub.settled()
    assert (event["input_tokens"], event["output_tokens"]) == (7, 9)


async def test_an_upstream_that_gives_no_usage_is_estimated(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for text in "abcde":
            call.writer.write(framed(sse(chunk(text))))
            await asyncio.sleep(0.005)
        call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")

    hub.upstream.script = script
    await hub.ask(body=chat(stream=True))
    [event] = await hub.settled()
    assert event["source"] == "estimate" and event["output_tokens"] == 5


async def test_connections_are_kept_and_a_stale_one_is_retried_once(hub: Hub) -> None:
    for _ in range(3):
        assert (await hub.ask(body=chat())).status == 200
    assert hub.upstream.connections == 1
    seen = 0

    async def script(call: Call) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            call.writer.transport.abort()
        else:
            call.writer.write(json_answer(ANSWER))

    hub.upstream.script = script
    assert (await hub.ask(body=chat())).status == 200
    assert hub.upstream.connections == 2 and len(await hub.settled()) == 4


async def test_completions_and_embeddings(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(
            json_answer({"object": "list", "data": [], "usage": {"prompt_tokens": 4, "total_tokens": 4}})
        )

    hub.upstream.script = script
    answer = await hub.ask("/v1/embeddings", body={"model": "m", "input": ["a", "b"]})
    assert answer.status == 200 and b"POST /v1/embeddings" in hub.upstream.calls[0].head
    answer = await hub.ask("/v1/completions", body={"model": "m", "prompt": "a"})
    assert answer.status == 200 and b"POST /v1/completions" in hub.upstream.calls[1].head
    events = await hub.settled()
    assert next((e["endpoint"], e["input_tokens"], e["output_tokens"]) for e in events) == (
        "embeddings",
        4,
        0,
    )


async def test_http10_gets_an_unchunked_stream(hub: Hub) -> None:
    async with await hub.open() as client:
        client.send(request(body=chat(stream=True), version="1.0"))
        answer = await client.answer()
    assert "transfer-encoding" not in answer.headers and answer.events[-1] == "[DONE]"


async def test_pipelined_requests_are_answered_in_order(hub: Hub) -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(0.05 if call.fields["seed"] == 0 else 0)
        call.writer.write(json_answer({**ANSWER, "id": str(call.fields["seed"])}))

    hub.upstream.script = script
    async with await hub.open() as client:
        client.send(
            b"".join(request(body=chat(seed=number)) for number in range(8))
            + request("/nope/at/all", method="GET")
        )
        assert [(await client.answer()).json["id"] for _ in range(8)] == [str(number) for number in range(8)]
        assert (await client.answer()).status == 503


async def test_a_slow_reader_stops_the_upstream_and_memory(hub: Hub) -> None:
    sent = 0
    big = framed(sse(chunk("x" * 60_000)))

    async def script(call: Call) -> None:
        nonlocal sent
        call.writer.write(STREAM_HEAD)
        for _ in range(400):
            call.writer.write(big)
            await call.writer.drain()
            sent += 1
        call.writer.write(framed(sse(usage_chunk())) + framed(sse("[DONE]")) + b"0\r\n\r\n")

    hub.upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=2**16)
    writer.write(request(body=chat(stream=True)))
    await asyncio.sleep(0.6)
    assert sent < 350
    total = 0
    while b"[DONE]" not in (part := await asyncio.wait_for(reader.read(2**16), 5)):
        total += len(part)
    writer.close()
    assert total > 400 * 60_000 and sent == 400


async def test_a_checkpoint_covers_no_more_than_the_answer_may_have(hub: Hub) -> None:
    """A gateway killed in mid-stream books at most what the request could have used."""
    seen: list[list[int]] = []

    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        drafted: list[int] = []
        for number in range(12):
            call.writer.write(framed(sse(chunk(f"w{number}"))))
            await asyncio.sleep(0.01)
            for hold in hub.server.clerk._drafted.values():
                assert hold.draft is not None
                drafted.append(draft_of(hold.draft).output_tokens)
        seen.append(drafted)
        call.writer.write(framed(sse(chunk(finish="length"))) + framed(sse(usage_chunk(12, 12))))
        call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")

    hub.upstream.script = script
    await hub.ask(body=chat(stream=True, max_tokens=12))
    await hub.ask(body=chat(stream=True))
    assert set(seen[0]) == {12}
    assert set(seen[1]) <= {256, 257}
    assert [event["output_tokens"] for event in await hub.settled()] == [12, 12]


async def test_blocks_of_every_shape_arrive_in_order(hub: Hub) -> None:
    """Whole chunks go on as they came; parts of events, several chunks and odd framing between them do not overtake."""
    events = [sse(chunk(f"{number} ")) for number in range(9)]
    half = len(events[3]) // 2
    blocks = [
        framed(events[0]),
        framed(events[1]),
        framed(events[2]) + framed(events[3][:half]),
        framed(events[3][half:]),
        framed(events[4])[:20],
        framed(events[4])[20:],
        b"%X;x=1\r\n%b\r\n" % (len(events[5]), events[5]),
        b"0%x\r\n%b\r\n" % (len(events[6]), events[6]),
        framed(events[7] + events[8]),
        framed(sse(chunk(finish="stop"))),
        framed(sse({**chunk("9 "), "usage": None})),
        framed(sse(usage_chunk(12, 10))) + framed(sse("[DONE]")) + b"0\r\n\r\n",
    ]

    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for block in blocks:
            call.writer.write(block)
            await asyncio.sleep(0.02)

    hub.upstream.script = script
    answer = await hub.ask(body=chat(stream=True))
    said = [event["choices"][0]["delta"].get("content") for event in answer.events[:-1]]
    assert [word for word in said if word] == [f"{number} " for number in range(10)]
    assert answer.events[-1] == "[DONE]"
    assert [(event["output_tokens"], event["finish"]) for event in await hub.settled()] == [(10, "stop")]
