"""`hub chat` against a server that speaks the wire of the gateway and the app."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from tests.cli.conftest import Hub, serve
from tokenhub.config import Settings
from tokenhub.http.sse import event
from tokenhub.identity.first_run import FirstRun


@dataclass
class Wire:
    """What the client sent, and how the server behaves."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    endless: bool = False
    cancelled: bool = False
    refuse: bool = False


def _chunk(content: str | None, finish: str | None = None, usage: object = None) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return event({"id": "c", "choices": choices, "usage": usage})


def _app(wire: Wire) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "tiny"}]}

    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> Any:
        wire.bodies.append(await request.json())
        if wire.refuse:
            error = {
                "message": "The budget is used up.",
                "code": "insufficient_quota",
                "type": "x",
                "param": None,
            }
            return JSONResponse({"error": error}, status_code=402)

        async def stream() -> AsyncIterator[bytes]:
            yield _chunk("Hel")
            while wire.endless:
                if await request.is_disconnected():
                    wire.cancelled = True
                    return
                yield _chunk("lo ")
            yield _chunk("lo", "stop")
            yield _chunk(None, usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9})
            yield b"data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-request-id": "req_1"})

    @app.post("/api/commands/ledger.show")
    async def show(request: Request) -> dict[str, Any]:
        assert (await request.json()) == {"request_id": "req_1"}
        line = {"prompt_tokens": 7, "completion_tokens": 2, "amount_nano": 4200, "request_id": "req_1"}
        return {"ok": True, "status": "success", "data": {"line": line}}

    return app


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def settings(sqlite_settings: Settings) -> Settings:
    return sqlite_settings


@pytest.fixture
def chatting(wire: Wire, started: FirstRun, environment: Settings) -> Iterator[str]:
    yield from serve(_app(wire), environment)


def test_one_answer_with_its_tokens_and_price(hub: Hub, chatting: str, wire: Wire) -> None:
    ran = hub("chat", "-m", "hi", "-s", "Be short.", "--max-tokens", "5")
    assert ran.code == 0 and ran.out == "Hello\n"
    assert ran.err == "[7 in + 2 out = 9 tokens · 0.0000042 USD · req_1]\n"
    body = wire.bodies[0]
    assert body["model"] == "tiny" and body["max_tokens"] == 5 and body["stream"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    shown = hub("chat", "tiny", "-m", "hi", "--json").json["data"]
    assert shown["text"] == "Hello" and shown["finish"] == "stop" and shown["ledger"]["amount_nano"] == 4200


def test_a_refusal_is_one_sentence(hub: Hub, chatting: str, wire: Wire) -> None:
    wire.refuse = True
    ran = hub("chat", "-m", "hi")
    assert ran.code == 1 and ran.err == "hub: The budget is used up.\n" and not ran.out
    ran = hub("chat", "-m", "hi", "--json")
    assert (
        ran.code == 1 and ran.json["ok"] is False and ran.json["error"]["message"] == "The budget is used up."
    )


def test_a_conversation_remembers(
    hub: Hub, chatting: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["first", "second", ""])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert hub("chat").code == 0
    assert [message["content"] for message in wire.bodies[1]["messages"]] == ["first", "Hello", "second"]


def test_ctrl_c_cancels_the_answer(chatting: str, wire: Wire) -> None:
    wire.endless = True
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenhub.cli.main", "chat", "-m", "hi", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    until = time.monotonic() + 15
    while not wire.bodies and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130 and json.loads(out)["ok"] is False and "Traceback" not in err
    until = time.monotonic() + 2
    while not wire.cancelled and time.monotonic() < until:
        time.sleep(0.02)
    assert wire.cancelled


def test_without_a_hub_it_says_how_to_start_one(hub: Hub, started: FirstRun) -> None:
    ran = hub("chat", "-m", "hi")
    assert ran.code == 6 and "hub up" in ran.err
