"""A scripted OpenAI-compatible provider: says as many tokens as it is told, honours `max_tokens`, counts what it sent.

The last message says what to do: `tag=abc tokens=40`. A prompt has as many tokens as its messages have words; each
event of a stream carries one token. `GET /counts` tells how many tokens were sent for each tag.

    python -m tests.acceptance.upstream --delay-ms 5
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = "scripted"
ROUTED = f"scripted/{MODEL}"
"""Its public name where it is added as provider `scripted`."""
_ASKED = re.compile(r"tag=(\S+) tokens=(\d+)")


@dataclass
class Upstream:
    """The provider as a process of its own."""

    delay_ms: float = 0.0
    process: "subprocess.Popen[str] | None" = field(default=None, init=False)
    url: str = field(default="", init=False)

    def __enter__(self) -> "Upstream":
        command = [sys.executable, "-m", "tests.acceptance.upstream", "--delay-ms", str(self.delay_ms)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None and self.process.stdout is not None
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def counts(self) -> dict[str, int]:
        """Tokens sent, by tag."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            return json.loads(answer.read())


def prompt(tag: str, tokens: int, *, words: int = 30) -> list[dict[str, str]]:
    """Messages that ask the provider for `tokens` tokens."""
    return [{"role": "user", "content": f"{'word ' * (words - 2)}tag={tag} tokens={tokens}"}]


class _Server:
    """HTTP/1.1 on asyncio streams, just enough of it."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.sent: dict[str, int] = {}

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**20)
        port = server.sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}/v1".removesuffix("/v1"), flush=True)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if method == "GET":
            answer = (
                self.sent
                if path == "/counts"
                else {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
            )
            await _json(writer, answer)
            return True
        asked: dict[str, Any] = json.loads(body)
        text = " ".join(str(message["content"]) for message in asked["messages"])
        found = _ASKED.search(text)
        tag, wanted = (found.group(1), int(found.group(2))) if found else ("", 16)
        limits = [asked[name] for name in ("max_tokens", "max_completion_tokens") if asked.get(name)]
        count = min([wanted, *limits])
        finish = "length" if count < wanted else "stop"
        usage = _usage(len(text.split()), count)
        if asked.get("stream"):
            await self._stream(writer, asked, tag, count, finish, usage)
        else:
            await asyncio.sleep(self.delay_s * count)
            self.sent[tag] = self.sent.get(tag, 0) + count
            await _json(writer, _whole(asked, count, finish, usage))
        return True

    async def _stream(
        self,
        writer: asyncio.StreamWriter,
        asked: dict[str, Any],
        tag: str,
        count: int,
        finish: str,
        usage: Any,
    ) -> None:
        options = asked.get("stream_options") or {}
        base = {
            "id": f"chatcmpl-{tag}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": asked["model"],
        }
        nothing = {"usage": None} if options.get("include_usage") else {}
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await _event(writer, {**base, "choices": [_delta({"role": "assistant", "content": ""})], **nothing})
        for index in range(count):
            event = {**base, "choices": [_delta({"content": "tok "})], **nothing}
            if options.get("continuous_usage_stats"):
                event["usage"] = _usage(usage["prompt_tokens"], index + 1)
            self.sent[tag] = self.sent.get(tag, 0) + 1
            await _event(writer, event)
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        await _event(writer, {**base, "choices": [_delta({}, finish)], **nothing})
        if options.get("include_usage"):
            await _event(writer, {**base, "choices": [], "usage": usage})
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def _delta(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _whole(asked: dict[str, Any], count: int, finish: str, usage: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "tok " * count, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }


async def _json(writer: asyncio.StreamWriter, value: object) -> None:
    body = json.dumps(value).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, value: object) -> None:
    writer.write(_chunk(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"))
    await writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-ms", type=float, default=0.0, help="pause after each token")
    asyncio.run(_Server(parser.parse_args().delay_ms / 1000).serve())
