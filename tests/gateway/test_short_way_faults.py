"""Where the short way differs from the long one: a client that does not read, odd answers, bounds, attempts."""

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.client import chat, request
from tests.gateway.conftest import Hub, running
from tests.gateway.test_hostile import set_price
from tests.gateway.upstream import ANSWER, Call, json_answer, plain
from tokenhub.clearing.cells import Hold, Path
from tokenhub.config import Settings
from tokenhub.ledger.types import Unit
from tokenhub.maas.gateway import turn as turns

LARGE = json_answer({**ANSWER, "padding": "x" * 8_000_000})


async def stalled(hub: Hub) -> tuple[socket.socket, bytes]:
    """A client with a small window that has asked for a large answer and reads nothing of it."""
    sent = request(body=chat())
    await hub.ask(body=chat())  # known head, open path, kept upstream connection

    async def large(call: Call) -> None:
        hub.upstream.script = plain
        call.writer.write(LARGE)

    hub.upstream.script = large
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", hub.port))
    await loop.sock_sendall(raw, sent)
    for _ in range(300):
        await asyncio.sleep(0.01)
        if any(one.write_paused for one in hub.server.connections):
            return raw, sent
    raise AssertionError("the server never had to wait for the client")


@pytest.mark.parametrize("again", [False, True])
async def test_a_client_that_reads_nothing_is_cut_though_it_asks_again(hub: Hub, again: bool) -> None:
    raw, sent = await stalled(hub)
    with raw:
        if again:
            taken = hub.server.fast_path.taken
            await asyncio.get_running_loop().sock_sendall(raw, sent)
            for _ in range(100):
                await asyncio.sleep(0.01)
                if hub.server.fast_path.taken > taken:
                    break
            assert hub.server.fast_path.taken == taken + 1
        await asyncio.sleep(4)  # write_timeout_s is 1
        assert not hub.server.connections


async def test_a_client_that_reads_on_keeps_its_next_request(sqlite_settings: Settings) -> None:
    """The idle time-out is not for a connection with a request on its way."""
    short = replace(sqlite_settings, idle_timeout_s=1.0, write_timeout_s=20.0)
    async with running(short) as hub:
        raw, sent = await stalled(hub)
        loop = asyncio.get_running_loop()

        async def slow(call: Call) -> None:
            await asyncio.sleep(3)
            await plain(call)

        hub.upstream.script = slow
        taken = hub.server.fast_path.taken
        with raw:
            await loop.sock_sendall(raw, sent)
            await asyncio.sleep(0.2)
            assert hub.server.fast_path.taken == taken + 1
            found, tail = 0, b""
            while found < 2:
                part = await asyncio.wait_for(loop.sock_recv(raw, 2**20), 8)
                assert part, f"closed after {found} of 2 answers"
                tail += part
                found += tail.count(b"HTTP/1.1 200")
                tail = tail[-11:]


async def test_the_limit_of_a_body_holds_on_both_ways(sqlite_settings: Settings) -> None:
    async with running(replace(sqlite_settings, body_bytes_max=1024)) as hub:
        await hub.ask(body=chat())
        body = chat(messages=[{"role": "user", "content": "x" * 3000}])
        async with await hub.open() as client:
            client.send(request(body=chat()))
            assert (await client.answer()).status == 200
            client.send(request(body=body))
            short = await client.answer()
        hub.server.fast_path.forget()
        long = await hub.ask(body=body)
        assert (short.status, long.status) == (413, 413)


@pytest.mark.parametrize(
    "reasons", [["length", None], ["length", ""], [None, "length"], ["stop", "length"], [None]]
)
async def test_both_ways_book_the_same_finish(hub: Hub, reasons: list[Any]) -> None:
    choices = [{**ANSWER["choices"][0], "finish_reason": reason} for reason in reasons]

    async def script(call: Call) -> None:
        call.writer.write(json_answer({**ANSWER, "choices": choices}))

    hub.upstream.script = script
    async with await hub.open() as client:
        for _ in range(2):
            client.send(request(body=chat()))
            assert (await client.answer()).status == 200
    assert hub.server.fast_path.taken == 1
    first, second = await hub.settled()
    assert first["finish"] == second["finish"]


@pytest.mark.parametrize("way", ["short", "long"])
async def test_a_pipelined_request_whose_body_comes_while_another_is_answered(hub: Hub, way: str) -> None:
    """What came of it before and what came meanwhile are one body: it is neither lost nor left lying."""
    await hub.ask(body=chat())
    if way == "long":
        hub.server.fast_path.forget()
    go = asyncio.Event()

    async def slow(call: Call) -> None:
        await go.wait()
        await plain(call)

    hub.upstream.script = slow
    sent = request(body=chat())
    async with await hub.open() as client:
        client.send(sent + sent[:-20])
        await asyncio.sleep(0.1)
        client.send(sent[-20:])
        await asyncio.sleep(0.1)
        go.set()
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_the_buffer_of_a_client_that_reads_nothing_is_bounded(hub: Hub) -> None:
    """However much it asks: its answers are not gathered in memory for longer than `write_timeout_s`."""
    raw, sent = await stalled(hub)
    loop = asyncio.get_running_loop()
    [connection] = [one for one in hub.server.connections if one.write_paused]
    with raw:
        began = loop.time()
        try:
            while loop.time() - began < 6 and not connection.closed:
                await asyncio.wait_for(loop.sock_sendall(raw, sent), 1)
                await asyncio.sleep(0.05)
        except (ConnectionError, TimeoutError):
            pass
        assert connection.closed, "it was served for six seconds; write_timeout_s is 1"


async def test_a_price_without_a_rate_for_answers_is_told_each_time(hub: Hub) -> None:
    """The short way leaves it to the long one to say so."""
    await set_price(hub, input=1_000_000)
    async with await hub.open() as client:
        for _ in range(3):
            client.send(request(body=chat()))
            answer = await client.answer()
            assert (answer.status, answer.code) == (400, "unpriced_dimension")
    assert await hub.settled() == []


async def test_the_next_request_of_a_connection_begins_when_the_one_before_is_closed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that one held is free again: nothing makes the next one wait, and none of its faults harms others."""
    await hub.limit(1, unit=Unit.CONCURRENCY)
    await hub.ask(body=chat())
    monkeypatch.setattr(turns, "APART_S", 0.0)
    free, real = list[int](), hub.server.clerk.try_authorize

    def noted(path: Path, *rest: Any) -> Hold | None:
        free.extend(cell.free for cell in path.cells)
        return real(path, *rest)

    monkeypatch.setattr(hub.server.clerk, "try_authorize", noted)

    async def slow(call: Call) -> None:
        await asyncio.sleep(0.05)
        await plain(call)

    hub.upstream.script = slow
    taken = hub.server.fast_path.taken
    async with await hub.open() as client:
        client.send(request(body=chat()))
        await asyncio.sleep(0.02)
        client.send(request(body=chat()))
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    assert (free, hub.server.fast_path.taken) == ([1, 1], taken + 1)
