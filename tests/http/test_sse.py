"""Server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from tokenhub.http.sse import event, keep_alive


def test_an_event_is_one_frame() -> None:
    assert event({"a": "x\ny"}, name="delta", id="7") == b'id: 7\nevent: delta\ndata: {"a":"x\\ny"}\n\n'
    assert event([1]) == b"data: [1]\n\n"


async def test_silence_is_filled_and_the_source_is_closed() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await asyncio.sleep(0.05)
            yield b"2"
        finally:
            closed.set()

    got = [item async for item in keep_alive(source(), every_s=0.02)]
    assert got[0] == b"1" and got[-1] == b"2" and b": keep-alive\n\n" in got and closed.is_set()


async def test_a_reader_that_leaves_ends_the_source_at_once() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await asyncio.sleep(60)
        finally:
            closed.set()

    reading = keep_alive(source(), every_s=10)
    assert await anext(reading) == b"1"
    task = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(closed.wait(), 1)
