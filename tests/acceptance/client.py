"""A small HTTP client that counts every token it receives, also of an answer that breaks off."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What came back, as far as it came."""

    status: int = 0
    """0 if not even a status line arrived."""
    headers: dict[str, str] = field(default_factory=dict)
    tokens: int = 0
    """Tokens received: events with content of a stream, or the usage of a whole answer that arrived whole."""
    text: str = ""
    finish: str = ""
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    complete: bool = False
    """The answer ended as it should: `[DONE]`, or all of the body."""
    first_event_s: float = 0.0
    seconds: float = 0.0

    @property
    def request_id(self) -> str:
        """The hub's id of the request."""
        return self.headers.get("x-request-id", "")


async def complete(
    url: str,
    key: str,
    body: dict[str, Any],
    *,
    timeout_s: float = 120.0,
    stop_after: int = 0,
    path: str = "/chat/completions",
) -> Answer:
    """One completion on a connection of its own. Never raises for what the network does.

    `url` ends in `/v1`; `stop_after` closes the connection after so many tokens.
    """
    answer = Answer()
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(timeout_s):
            await _exchange(answer, url, key, body, path, stop_after, started)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        pass
    answer.seconds = loop.time() - started
    return answer


async def _exchange(
    answer: Answer, url: str, key: str, body: dict[str, Any], path: str, stop_after: int, started: float
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
    try:
        data = json.dumps(body).encode()
        head = (
            f"POST {parts.path}{path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + data)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer.status = int(lines[0].split()[1])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name:
                answer.headers[name.lower()] = value.strip()
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            await _read_events(answer, reader, stop_after, started)
        else:
            _read_whole(answer, await _body(answer, reader))
    finally:
        writer.close()


async def _read_events(answer: Answer, reader: asyncio.StreamReader, stop_after: int, started: float) -> None:
    rest = b""
    async for piece in _pieces(answer, reader):
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            _read_event(answer, block.removeprefix(b"data: "))
            if answer.tokens == 1 and not answer.first_event_s:
                answer.first_event_s = asyncio.get_running_loop().time() - started
            if stop_after and answer.tokens >= stop_after:
                return


def _read_event(answer: Answer, data: bytes) -> None:
    if data == b"[DONE]":
        answer.complete = True
        return
    event = json.loads(data)
    if "error" in event:
        answer.error = event["error"]
        return
    answer.usage = event.get("usage") or answer.usage
    for choice in event.get("choices", []):
        content = choice["delta"].get("content")
        if content:
            answer.tokens += 1
            answer.text += content
        answer.finish = choice.get("finish_reason") or answer.finish


def _read_whole(answer: Answer, body: bytes) -> None:
    value = json.loads(body)
    answer.error = value.get("error")
    answer.usage = value.get("usage")
    answer.complete = True
    if answer.usage and value.get("choices"):
        answer.tokens = int(answer.usage["completion_tokens"])
        answer.finish = value["choices"][0]["finish_reason"]
        answer.text = value["choices"][0].get("message", {}).get("content") or ""


async def _body(answer: Answer, reader: asyncio.StreamReader) -> bytes:
    if "content-length" in answer.headers:
        return await reader.readexactly(int(answer.headers["content-length"]))
    return b"".join([piece async for piece in _pieces(answer, reader)])


async def _pieces(answer: Answer, reader: asyncio.StreamReader) -> Any:
    if answer.headers.get("transfer-encoding") != "chunked":
        while piece := await reader.read(65536):
            yield piece
        return
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            return
        data = await reader.readexactly(size + 2)
        yield data[:-2]
