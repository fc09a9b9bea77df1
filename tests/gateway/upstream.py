"""A scripted upstream: a real HTTP server whose answers a test writes by hand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


@dataclass
class Call:
    """One request that reached the upstream."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body)


Script = Callable[[Call], Awaitable[None]]


def chunk(
    content: str | None = None, *, finish: str | None = None, index: int = 0, **extra: Any
) -> dict[str, Any]:
    """One conforming chat chunk."""
    delta = {} if content is None else {"content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "up",
        "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}],
        **extra,
    }


def usage_chunk(prompt: int = 12, completion: int = 3) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**chunk(), "choices": [], "usage": usage}


def sse(event: dict[str, Any] | str) -> bytes:
    text = event if isinstance(event, str) else json.dumps(event, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def json_answer(value: Any, status: int = 200, extra: bytes = b"") -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        extra,
        len(body),
        body,
    )


ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "up",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}


async def plain(call: Call) -> None:
    """Answers, streamed or not, with three tokens."""
    if not call.fields.get("stream"):
        call.writer.write(json_answer(ANSWER))
        return
    call.writer.write(STREAM_HEAD)
    for event in (chunk("a"), chunk("b"), chunk("c"), chunk(finish="stop"), usage_chunk()):
        call.writer.write(framed(sse(event)))
    call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")


class ScriptedUpstream:
    """Serves `script` on a port of its own; keeps every call."""

    def __init__(self, script: Script = plain) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.connections = 0
        self.close_after = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, **options: Any) -> int:
        if "path" in options:
            self._server = await asyncio.start_unix_server(self._connected, **options)
            return 0
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", options.pop("port", 0), **options
        )
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Close every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await read_body(head, reader)
                call = Call(head, body, writer)
                self.calls.append(call)
                work = asyncio.ensure_future(self.script(call))
                gone = asyncio.ensure_future(_until_closed(reader, call))
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not work.done():
                    work.cancel()
                    break
                if isinstance(work.exception(), ConnectionError):
                    call.closed.set()
                    break
                work.result()
                await writer.drain()
                if self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def _until_closed(reader: asyncio.StreamReader, call: Call) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.005)
    call.closed.set()


async def read_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        parts: list[bytes] = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
            if size == 0:
                return b"".join(parts)
    for line in lowered.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.split(b":")[1]))
    return b""
