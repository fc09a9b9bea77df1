"""The process itself: start, drain, TLS upstreams."""

import asyncio
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.databases import migrated
from tests.gateway.client import Client, chat, request
from tests.gateway.conftest import Hub, add_provider, seed
from tests.gateway.upstream import STREAM_HEAD, Call, ScriptedUpstream, chunk, framed, sse, usage_chunk
from tokenhub.config import Settings
from tokenhub.maas.gateway.server import listen, serve


async def test_serve_drains_open_streams_and_settles(sqlite_settings: Settings) -> None:
    upstream = ScriptedUpstream()

    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for _ in range(20):
            call.writer.write(framed(sse(chunk("t"))))
            await asyncio.sleep(0.03)
        call.writer.write(framed(sse(usage_chunk(12, 20))) + framed(sse("[DONE]")) + b"0\r\n\r\n")

    upstream.script = script
    settings = replace(sqlite_settings, drain_timeout_s=5.0)
    database = migrated(settings)
    seed(database, settings, await upstream.start())
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    sock = listen("127.0.0.1", 0)
    work = asyncio.ensure_future(
        serve(
            settings,
            database,
            index=0,
            adapters={},
            prompt_counter=None,
            stop=stop,
            sock=sock,
            on_ready=ready.set_result,
        )
    )
    port = await asyncio.wait_for(ready, 10)
    async with await Client.open(port) as busy, await Client.open(port) as idle:
        busy.send(request(body=chat(stream=True)))
        await asyncio.wait_for(busy.reader.readuntil(b"\n\n"), 5)
        stop.set()
        assert await idle.closed()
        with pytest.raises(OSError):
            await Client.open(port)
        rest = await asyncio.wait_for(busy.reader.read(), 5)
        assert rest.count(b'"content":"t"') >= 19 and b"[DONE]" in rest
    await asyncio.wait_for(work, 10)
    with database.read("ledger") as connection:
        rows = connection.exec_driver_sql("SELECT output_tokens, finish FROM usage_event").all()
        held = connection.exec_driver_sql("SELECT COALESCE(SUM(held), 0) FROM bucket").scalar()
    assert [tuple(row) for row in rows] == [(20, "stop")] and held == 0
    assert not list(settings.journal_dir.glob("*.jsonl"))
    database.close()
    await upstream.stop()


async def test_what_does_not_finish_in_time_is_cut_and_settled(sqlite_settings: Settings) -> None:
    upstream = ScriptedUpstream()

    async def script(call: Call) -> None:
        call.writer.write(STREAM_HEAD)
        for _ in range(1000):
            call.writer.write(framed(sse(chunk("t"))))
            await asyncio.sleep(0.02)

    upstream.script = script
    settings = replace(sqlite_settings, drain_timeout_s=0.3)
    database = migrated(settings)
    seed(database, settings, await upstream.start())
    stop, sock = asyncio.Event(), listen("127.0.0.1", 0)
    ready = asyncio.get_running_loop().create_future()
    work = asyncio.ensure_future(
        serve(
            settings,
            database,
            index=0,
            adapters={},
            prompt_counter=None,
            stop=stop,
            sock=sock,
            on_ready=ready.set_result,
        )
    )
    async with await Client.open(await ready) as busy:
        busy.send(request(body=chat(stream=True)))
        await asyncio.wait_for(busy.reader.readuntil(b"\n\n"), 5)
        stop.set()
        await asyncio.wait_for(work, 10)
    with database.read("ledger") as connection:
        [row] = connection.exec_driver_sql("SELECT output_tokens, finish FROM usage_event").all()
    assert row[0] > 0 and row[1] == "cancelled"
    database.close()
    await upstream.stop()


async def test_a_request_that_was_on_its_way_when_the_drain_began_is_served(hub: Hub) -> None:
    async with await hub.open() as fresh, await hub.open() as idle:
        idle.send(request(body=chat()))
        assert (await idle.answer()).headers.get("connection") != "close"
        await asyncio.sleep(0.05)
        drained = asyncio.ensure_future(hub.server.drain(5.0))
        await asyncio.sleep(0.1)
        fresh.send(request(body=chat()))
        answer = await fresh.answer()
        assert answer.status == 200 and answer.headers["connection"] == "close"
        assert await idle.closed() and await fresh.closed()
        await asyncio.wait_for(drained, 5)


async def test_a_tls_upstream_is_verified(hub: Hub, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    upstream = ScriptedUpstream()
    port = await upstream.start(ssl=context)
    with hub.database.write("hub") as connection:
        add_provider(connection, 0, models=["tls"], url=f"https://localhost:{port}/v1")
    await hub.server.keeper.check()
    refused = await hub.ask(body={**chat(), "model": "tls"})
    assert refused.status == 502 and "TLS" in refused.json["error"]["message"]
    hub.server.pool.ssl_context().load_verify_locations(cert)
    answer = await hub.ask(body={**chat(stream=True), "model": "tls"})
    assert answer.status == 200 and answer.events[-1] == "[DONE]"
    await upstream.stop()
