"""Server-sent events: format, keep-alive, and the answer that carries them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from fastapi.responses import StreamingResponse

KEEP_ALIVE_S = 15.0
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def event(data: object, *, name: str = "", id: str = "") -> bytes:
    """One event; `data` becomes JSON. `id` is what a browser sends back as `Last-Event-ID`."""
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


def sse_response(events: AsyncIterator[bytes], *, keep_alive_s: float = KEEP_ALIVE_S) -> StreamingResponse:
    """Stream events as they come; a comment line while nothing comes, so that proxies keep the line open."""
    return StreamingResponse(
        keep_alive(events, every_s=keep_alive_s), media_type="text/event-stream", headers=_HEADERS
    )


async def keep_alive(events: AsyncIterator[bytes], *, every_s: float) -> AsyncIterator[bytes]:
    """The events, with `: keep-alive` after every `every_s` seconds of silence.

    Closes `events` when its own reader goes away, so a generator's `finally` runs at once.
    """
    ended = object()
    waiting: asyncio.Task[object] | None = None

    async def following() -> object:
        return await anext(events, ended)

    try:
        while True:
            waiting = waiting or asyncio.create_task(following())
            done, _ = await asyncio.wait({waiting}, timeout=every_s)
            if not done:
                yield b": keep-alive\n\n"
                continue
            item, waiting = waiting.result(), None
            if item is ended:
                return
            assert isinstance(item, bytes)
            yield item
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
