"""Everything that is not a token path goes to the app's socket, streaming both ways."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.gateway.client import request
from tests.gateway.conftest import Hub
from tests.gateway.upstream import Call, ScriptedUpstream, framed


@pytest.fixture
async def app(hub: Hub) -> AsyncIterator[ScriptedUpstream]:
    hub.settings.run_dir.mkdir(parents=True, exist_ok=True)
    server = ScriptedUpstream()
    await server.start(path=str(hub.settings.app_socket))
    yield server
    await server.stop()


async def test_the_app_is_down(hub: Hub) -> None:
    answer = await hub.ask("/api/me", method="GET")
    assert (
        answer.status == 503 and answer.code == "service_unavailable" and answer.headers["retry-after"] == "1"
    )


async def test_headers_cookies_and_bodies_pass(hub: Hub, app: ScriptedUpstream) -> None:
    async def script(call: Call) -> None:
        body = call.head + call.body
        call.writer.write(
            b"HTTP/1.1 201 Created\r\nSet-Cookie: a=B\r\nSet-Cookie: c=D\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    app.script = script
    async with await hub.open() as client:
        for _ in range(3):
            client.send(
                request("/api/x?y=1", {"a": 1}, headers={"Cookie": "s=1", "X-Forwarded-For": "9.9.9.9"})
            )
            status, _, head = await client.head()
            assert status == 201 and b"set-cookie: a=B\r\nset-cookie: c=D" in head
            seen = await client.reader.readexactly(
                int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
            )
            assert seen.startswith(b"POST /api/x?y=1 HTTP/1.1\r\n") and b"Cookie: s=1" in seen
            assert seen.endswith(b'{"a": 1}') and b"x-request-id: req_" in seen


async def test_server_sent_events_arrive_one_by_one(hub: Hub, app: ScriptedUpstream) -> None:
    async def script(call: Call) -> None:
        call.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(1000):
            call.writer.write(framed(b"data: %d\n\n" % number))
            await asyncio.sleep(0.02)

    app.script = script
    async with await hub.open() as client:
        client.send(request("/api/runs/1/events", method="GET"))
        started = asyncio.get_running_loop().time()
        for _ in range(3):
            await asyncio.wait_for(client.reader.readuntil(b"\n\n"), 2)
        assert asyncio.get_running_loop().time() - started < 1
        client.writer.transport.abort()
        await asyncio.wait_for(app.calls[0].closed.wait(), 1)


async def test_large_uploads_stream_through(hub: Hub, app: ScriptedUpstream) -> None:
    async def script(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%08d" % len(call.body))

    app.script = script
    data = b"x" * 5_000_000
    for sent in (
        request("/api/files", data, headers={"Expect": "100-continue"}),
        b"POST /api/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(framed(data[at : at + 50_000]) for at in range(0, len(data), 50_000))
        + b"0\r\n\r\n",
    ):
        async with await hub.open() as client:
            client.send(sent)
            assert (await client.answer()).body == b"05000000"


async def test_head_and_not_modified_have_no_body(hub: Hub, app: ScriptedUpstream) -> None:
    async def script(call: Call) -> None:
        if call.head.startswith(b"HEAD"):
            call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        else:
            call.writer.write(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")

    app.script = script
    async with await hub.open() as client:
        client.send(request("/page", method="HEAD"))
        assert (await client.answer(method="HEAD")).headers["content-length"] == "500"
        client.send(request("/page", method="GET"))
        assert (await client.answer()).status == 304


async def test_an_app_that_breaks_off_cuts_the_answer(hub: Hub, app: ScriptedUpstream) -> None:
    async def script(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")
        await call.writer.drain()
        call.writer.transport.abort()

    app.script = script
    async with await hub.open() as client:
        client.send(request("/page", method="GET"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
