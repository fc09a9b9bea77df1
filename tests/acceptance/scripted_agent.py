"""A provider whose model follows a script in the request: it calls tools, step by step, and counts what it answered.

The first user message holds the script between `<<` and `>>`: a JSON list in base64. Each item is a reply: a string is a final
answer, a list is tool calls `["task.create", {…}]`. `"$N.field"` in an argument stands for `data.field` of the N-th
tool result so far. The place in the script is the number of replies that the conversation holds already, so the same
request always gets the same reply; under a schema of choices it writes the first. `GET /counts` tells how often each (script, place) was asked.

    python -m tests.acceptance.scripted_agent --delay-ms 5
"""

import argparse
import asyncio
import base64
import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = "agent"
ROUTED = f"scripted/{MODEL}"
_SCRIPT = re.compile(r"<<([A-Za-z0-9+/=]*)>>")
_REFERENCE = re.compile(r"^\$(\d+)\.([\w.]+)$")


def script(*replies: Any, say: str = "Do it.") -> str:
    """A request that makes the model reply so."""
    return f"{say} <<{base64.b64encode(json.dumps(list(replies)).encode()).decode()}>>"


@dataclass
class ScriptedAgent:
    """The provider as a process of its own."""

    delay_ms: float = 0.0
    process: "subprocess.Popen[str] | None" = field(default=None, init=False)
    url: str = field(default="", init=False)

    def __enter__(self) -> "ScriptedAgent":
        command = [sys.executable, "-m", "tests.acceptance.scripted_agent", "--delay-ms", str(self.delay_ms)]
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
        """How often each place of each script was answered: `SCRIPT-HASH:PLACE` -> times."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            return json.loads(answer.read())


def reply_to(messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """(what was asked, the assistant's message)."""
    first = next(str(message["content"]) for message in messages if message["role"] == "user")
    found = _SCRIPT.search(first)
    replies: list[Any] = json.loads(base64.b64decode(found.group(1))) if found else ["Nothing to do."]
    place = sum(message["role"] == "assistant" for message in messages)
    results = [str(message["content"]) for message in messages if message["role"] == "tool"]
    wanted = replies[place] if place < len(replies) else "The script is over."
    asked = f"{first.split(' <<')[0][:80]}:{place}"
    if isinstance(wanted, str):
        return asked, {"role": "assistant", "content": wanted}
    calls = [
        {
            "id": f"call_{place}_{number}",
            "type": "function",
            "function": {
                "name": "call",
                "arguments": json.dumps({"name": name, "arguments": _filled(arguments, results)}),
            },
        }
        for number, (name, arguments) in enumerate(wanted)
    ]
    return asked, {"role": "assistant", "content": None, "tool_calls": calls}


def _filled(value: Any, results: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, results) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, results) for item in value]
    found = _REFERENCE.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    node: Any = json.loads(results[int(found.group(1))])["data"]
    for part in found.group(2).split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


class Server:
    """HTTP/1.1 on asyncio streams, just enough of it."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.counts: dict[str, int] = {}
        self.requests: list[dict[str, Any]] = []

    async def start(self) -> tuple[asyncio.Server, str]:
        """Listen; (server, URL)."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**22)
        return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._request(reader, writer):
                pass
        writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if method == "GET":
            models = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
            await self._answer(writer, self.counts if path == "/counts" else models)
            return True
        asked: dict[str, Any] = json.loads(body)
        self.requests.append(asked)
        await asyncio.sleep(self.delay_s)
        name, message = reply_to(asked["messages"])
        schema = (asked.get("response_format") or {}).get("json_schema", {}).get("schema", {})
        if schema.get("enum"):
            message = {"role": "assistant", "content": json.dumps(schema["enum"][0])}
        self.counts[name] = self.counts.get(name, 0) + 1
        prompt = sum(len(str(one.get("content") or "").split()) for one in asked["messages"])
        completion = max(len(json.dumps(message).split()), 1)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        await self._answer(
            writer,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
                "usage": {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                },
            },
        )
        return True

    async def _answer(self, writer: asyncio.StreamWriter, value: object) -> None:
        body = json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()


async def _main(delay_s: float) -> None:
    server, url = await Server(delay_s).start()
    print(url, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-ms", type=float, default=0.0, help="pause before each answer")
    asyncio.run(_main(parser.parse_args().delay_ms / 1000))
