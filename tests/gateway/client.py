"""A raw HTTP client: exact bytes out, parsed answers in."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

from tests.gateway.upstream import read_body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    header_list: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        return error["code"]

    @property
    def events(self) -> list[Any]:
        found = [part[6:] for part in self.body.decode().split("\n\n") if part.startswith("data: ")]
        return [json.loads(part) if part != "[DONE]" else part for part in found]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def send(self, data: bytes) -> None:
        """Raises: ConnectionResetError once the gateway has closed (uvloop's transport says RuntimeError)."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str], bytes]:
        while True:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
            status = int(head[9:12])
            if status >= 200 or status == 101:
                break
        headers = {}
        for line in head.decode("latin-1").split("\r\n")[1:-2]:
            name, _, value = line.partition(": ")
            headers[name] = value
        return status, headers, head

    async def answer(self, *, method: str = "POST") -> Answer:
        status, headers, head = await self.head()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "content-length" in headers or "transfer-encoding" in headers:
            body = await asyncio.wait_for(read_body(head, self.reader), 10)
        else:
            body = await asyncio.wait_for(self.reader.read(), 10)
        return Answer(status, headers, body)

    async def closed(self, timeout_s: float = 5) -> bool:
        """True if the server closes the connection; whatever it still sends is dropped."""
        try:
            await asyncio.wait_for(self.reader.read(), timeout_s)
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return self.reader.at_eof()


def request(
    path: str = "/v1/chat/completions",
    body: Any = None,
    *,
    key: str | None = "sk-test",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    version: str = "1.1",
) -> bytes:
    """Request bytes; `body` is JSON unless it is bytes."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/{version}", "Host: hub"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
