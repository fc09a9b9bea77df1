"""Random mutations of recorded requests and answers against a live gateway.

    python -m tests.gateway.fuzz_protocol [SECONDS] [SEED]        (default 600 s)

Nothing may hang, leak or die: each connection ends in well-formed answers or a close, and afterwards a good request
is answered, no connection is open and no hold is left.
"""

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.gateway.client import Client, chat, request
from tests.gateway.conftest import Hub, running
from tests.gateway.upstream import ANSWER, STREAM_HEAD, Call, chunk, framed, json_answer, sse, usage_chunk
from tokenhub.config import Settings

REQUESTS = [
    request(body=chat(seed=0)),
    request(body=chat(stream=True, stream_options={"include_usage": True}, temperature=0.5)),
    request(
        body=chat(stream=True, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    ),
    request("/v1/models", method="GET"),
    request("/v1/quota", method="GET"),
    request("/v1/embeddings", body={"model": "m", "input": ["a", "b"]}),
    request("/api/x", body={"a": 1}, headers={"Idempotency-Key": "k"}),
    request(body=chat(seed=3), headers={"Idempotency-Key": "k", "Expect": "100-continue"}),
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nx-api-key: sk-test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'10\r\n{"model":"m","pr\r\n0d\r\nompt":"hello"}\r\n0\r\n\r\n',
]
ANSWERS = [
    json_answer(ANSWER),
    STREAM_HEAD
    + b"".join(
        framed(sse(event)) for event in (chunk("a"), chunk("b", finish="stop"), usage_chunk(), "[DONE]")
    )
    + b"0\r\n\r\n",
    json_answer({"error": {"message": "no", "code": 5}}, 500),
]
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"{", b"}", b"[", b'"', b"\\", b"\xff", b"\\ud800", b"1e999", b"99999999999999999999", b"null", b"data: ", b"\n\n",
    b"HTTP/1.1", b"GET / HTTP/1.1\r\n", b"Connection: close\r\n", b"Host: b\r\n", b"ffffffff\r\n", b'"model":"m",', b"[DONE]",
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few random edits."""
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + rng.randrange(1, 9) :]
            case 2 | 3:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 4:
                end = min(len(data), at + rng.randrange(1, 60))
                data = data[:end] + data[at:end] * rng.choice((1, 2, 50)) + data[end:]
            case 5:
                data = data[:at]
            case _:
                other = rng.choice(REQUESTS)
                data = data[:at] + other[rng.randrange(len(other)) :]
        if not data:
            return b"\r\n"
    return data


async def one(hub: Hub, rng: random.Random) -> None:
    """One connection: mutated requests in random pieces, then whatever comes back, or leave early."""
    client = await Client.open(hub.port)
    data = b"".join(mutate(rng.choice(REQUESTS), rng) for _ in range(rng.choice((1, 1, 2, 5))))
    try:
        while data:
            size = rng.choice((1, 7, 100, 10_000, 10_000))
            client.send(data[:size])
            data = data[size:]
            await asyncio.sleep(0)
        match rng.randrange(4):
            case 0:
                client.writer.transport.abort()
            case 1:
                client.send(b"")  # raises if it is closed
                client.writer.write_eof()
                await asyncio.wait_for(client.reader.read(), 10)
            case _:
                try:
                    first = await asyncio.wait_for(client.reader.read(2**20), 0.3)
                    assert not first or first.startswith(b"HTTP/1.1 "), first[:80]
                except TimeoutError:
                    pass
    except ConnectionError:
        pass
    finally:
        client.writer.close()


async def fuzz(hub: Hub, *, seconds: float, seed: int) -> int:
    """Connections made. Raises: AssertionError with the seed of the round that broke something."""
    rng = random.Random(seed)

    async def script(call: Call) -> None:
        call.writer.write(mutate(rng.choice(ANSWERS), rng))
        await call.writer.drain()
        if rng.random() < 0.3:
            call.writer.transport.abort()
        elif rng.random() < 0.1:
            await asyncio.sleep(0.05)

    async def good(call: Call) -> None:
        call.writer.write(json_answer(ANSWER))

    until, made = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        hub.upstream.script = script
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(one(hub, random.Random(rng.random())))
        made += 16
        if made % 160 == 0 or time.monotonic() >= until:
            hub.upstream.script = good
            hub.upstream.cut()
            await asyncio.sleep(0.05)
            answer = await hub.ask(body=chat())
            assert answer.status == 200, (seed, made, answer)
    for _ in range(100):
        if not hub.server.connections:
            break
        await asyncio.sleep(0.1)
    assert not hub.server.connections, f"seed {seed}: connections leaked"
    assert await hub.held() == 0, f"seed {seed}: holds leaked"
    assert not any(hub.server.router.busy().values()), f"seed {seed}: deployments look busy"
    return made


async def main(seconds: float, seed: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="th-fuzz-"))
    settings = replace(
        Settings(home=home), header_timeout_s=1, body_timeout_s=1, idle_timeout_s=2, write_timeout_s=2
    )
    async with running(settings, first=500, idle=500) as hub:
        made = await fuzz(hub, seconds=seconds, seed=seed)
        print(
            f"{made} connections, {len(hub.upstream.calls)} reached the upstream, {len(await hub.settled())} booked; seed {seed}"
        )


if __name__ == "__main__":
    uvloop.run(
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    )
