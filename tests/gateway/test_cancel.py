"""A client that leaves: the upstream stops at once, and what was delivered is booked."""

import asyncio
from typing import Any

from tests.gateway.client import chat, request
from tests.gateway.conftest import Hub
from tests.gateway.upstream import STREAM_HEAD, Call, chunk, framed, json_answer, sse


def slow_stream(**extra: Any) -> Any:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for number in range(1, 500):
            more = {name: value(number) for name, value in extra.items()}
            call.writer.write(framed(sse(chunk(f"t{number} ", **more))))
            await asyncio.sleep(0.02)

    return script


async def leave_after(hub: Hub, events: int, body: dict[str, Any]) -> float:
    """Seconds from leaving until the upstream saw its connection closed."""
    async with await hub.open() as client:
        client.send(request(body=body))
        for _ in range(events):
            await asyncio.wait_for(client.reader.readuntil(b"\n\n"), 5)
        client.writer.transport.abort()
        started = asyncio.get_running_loop().time()
        await asyncio.wait_for(hub.upstream.calls[-1].closed.wait(), 5)
        return asyncio.get_running_loop().time() - started


async def test_leaving_a_stream_stops_the_upstream_and_books_the_events(hub: Hub) -> None:
    hub.upstream.script = slow_stream()
    assert await leave_after(hub, 10, chat(stream=True)) < 0.5
    [event] = await hub.settled()
    assert event["finish"] == "cancelled" and event["status"] == 499 and event["source"] == "estimate"
    assert 10 <= event["output_tokens"] <= 12 and event["undelivered_tokens"] == 0
    assert all(bucket["held"] == 0 or bucket["used"] > 0 for bucket in await hub.buckets())


async def test_running_usage_makes_a_cut_stream_exact(hub: Hub) -> None:
    hub.upstream.script = slow_stream(
        usage=lambda number: {
            "prompt_tokens": 30,
            "completion_tokens": 2 * number,
            "total_tokens": 30 + 2 * number,
        }
    )
    await leave_after(hub, 10, chat(stream=True))
    [event] = await hub.settled()
    assert event["source"] == "provider" and event["input_tokens"] == 30
    assert event["output_tokens"] in (20, 22, 24)


async def test_leaving_before_the_answer_costs_nothing(hub: Hub) -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(30)

    hub.upstream.script = script
    async with await hub.open() as client:
        client.send(request(body=chat()))
        while not hub.upstream.calls:
            await asyncio.sleep(0.01)
        client.writer.close()
        await asyncio.wait_for(hub.upstream.calls[0].closed.wait(), 1)
    assert await hub.settled() == []


async def test_an_upstream_that_breaks_in_mid_stream_is_told_and_booked(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for text in "abc":
            call.writer.write(framed(sse(chunk(text))))
        await call.writer.drain()
        await asyncio.sleep(0.05)
        call.writer.transport.abort()

    hub.upstream.script = script
    async with await hub.open() as client:
        client.send(request(body=chat(stream=True)))
        answer = await client.answer()
        assert await client.closed()
    assert answer.events[-1]["error"]["code"] == "upstream_error"
    assert set(answer.events[-1]["error"]) == {"message", "type", "param", "code"}
    [event] = await hub.settled()
    assert event["finish"] == "error" and event["output_tokens"] == 3


async def test_a_pause_of_the_upstream_is_bounded(hub: Hub) -> None:
    from tests.gateway.conftest import add_provider

    with hub.database.write("hub") as connection:
        add_provider(
            connection,
            0,
            models=["slow"],
            url=f"http://127.0.0.1:{hub.port}".replace(
                str(hub.port), str(hub.upstream._server.sockets[0].getsockname()[1])
            )
            + "/v1",
            first=300,
            idle=300,
        )  # type: ignore[union-attr]

    async def script(call: Call) -> None:
        if call.fields.get("stream"):
            call.writer.write(STREAM_HEAD + framed(sse(chunk("a"))))
        await asyncio.sleep(10)

    hub.upstream.script = script
    await hub.server.keeper.check()
    answer = await hub.ask(body={**chat(), "model": "slow"})
    assert answer.status == 504 and answer.code == "upstream_timeout"
    answer = await hub.ask(body={**chat(stream=True), "model": "slow"})
    assert answer.events[-1]["error"]["code"] == "upstream_timeout"


async def test_a_client_that_stops_reading_is_dropped(hub: Hub) -> None:
    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        while True:
            call.writer.write(framed(sse(chunk("x" * 60_000))))
            await call.writer.drain()

    hub.upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=2**16)
    writer.write(request(body=chat(stream=True)))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(hub.upstream.calls[0].closed.wait(), 5)
    [event] = await hub.settled()
    assert event["finish"] == "cancelled"
    writer.close()
    assert reader is not None


async def test_failover_goes_to_another_deployment_before_the_first_byte(hub: Hub) -> None:
    from tests.gateway.conftest import add_provider

    with hub.database.write("hub") as connection:
        add_provider(connection, 1, models=["both"])  # nothing listens on port 1
        add_provider(connection, hub.upstream._server.sockets[0].getsockname()[1], models=["both"])  # type: ignore[union-attr]
    await hub.server.keeper.check()
    for _ in range(4):
        assert (await hub.ask(body={**chat(), "model": "both"})).status == 200
    assert len(await hub.settled()) == 4


async def test_upstream_errors_become_ours(hub: Hub) -> None:
    async def script(call: Call) -> None:
        status = call.fields["seed"]
        call.writer.write(
            json_answer({"error": {"message": "no", "type": "t", "code": 17}}, status, b"retry-after: 7\r\n")
        )

    hub.upstream.script = script
    expected = {400: 400, 401: 502, 403: 502, 404: 502, 413: 413, 422: 400, 429: 429, 500: 502, 503: 503}
    for status, ours in expected.items():
        answer = await hub.ask(body=chat(seed=status))
        assert answer.status == ours, status
        assert answer.json["error"]["message"] and answer.code
        assert answer.headers["x-should-retry"] == ("true" if ours in (429, 502, 503) else "false")
        if ours == 429:
            assert answer.headers["retry-after"] == "7" and answer.headers["retry-after-ms"] == "7000"
    assert await hub.settled() == []
