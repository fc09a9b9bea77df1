"""Small HTTP/1.1 client for an engine of ours on this machine: one request a connection, plain text or JSON."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

_BODY_BYTES_MAX = 16 * 2**20


async def get_text(url: str, *, api_key: str) -> str:
    """Body of a GET. Raises: OSError; ValueError unless the answer is 200."""
    return (await _request("GET", url, api_key=api_key, body=b"")).decode()


async def post_json(url: str, *, api_key: str, body: bytes) -> dict[str, Any]:
    """JSON object that a POST of a JSON body answers. Raises: OSError; ValueError unless it is 200 and JSON."""
    answer = json.loads(await _request("POST", url, api_key=api_key, body=body))
    if not isinstance(answer, dict):
        raise ValueError(f"{url} answered something else than an object")
    return answer  # pyright: ignore[reportUnknownVariableType]  # JSON objects have string keys


async def _request(method: str, url: str, *, api_key: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        head = (
            f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        raw = await _read_all(reader)
    finally:
        writer.close()
    head_bytes, _, rest = raw.partition(b"\r\n\r\n")
    status = head_bytes.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ValueError(f"{url} answered {status}")
    return _unchunk(rest) if b"transfer-encoding: chunked" in head_bytes.lower() else rest


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while block := await reader.read(1 << 16):
        blocks.append(block)
        size += len(block)
        if size > _BODY_BYTES_MAX:
            raise ValueError("the answer is too long")
    return b"".join(blocks)


def _unchunk(data: bytes) -> bytes:
    parts: list[bytes] = []
    while data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0] or b"0", 16)
        parts.append(data[:size])
        data = data[size + 2 :]
        if size == 0:
            break
    return b"".join(parts)
