"""What a model, or the server that speaks for it, may answer: anything. A run is told, goes on, or ends; it never breaks."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.agents.conftest import Inline
from tests.work.bad_input import LEAKS, changed, rows
from tests.work.copies import world_in
from tests.work.world import World
from tokenhub.agents import journal, runs
from tokenhub.agents.dispatch import Dispatcher
from tokenhub.agents.loop import Loop
from tokenhub.agents.model import Gateway, Secrets
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.door import Runtime
from tokenhub.config import Settings
from tokenhub.db.engine import Database

ENDED = {"done", "failed", "stopped"}


@dataclass
class Liar:
    """Answers the first question as it is told to, every other with `Done.`."""

    first: bytes = b""
    status: int = 200
    asked: list[Any] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            told = (
                made.first if len(made.asked) == 1 else json.dumps(completion({"content": "Done."})).encode()
            )
            self.send_response(made.status if len(made.asked) == 1 else 200)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return world_in(database, settings)


def completion(message: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 5}, **more}


def call(name: Any, arguments: Any) -> dict[str, Any]:
    inner = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return completion({"role": "assistant", "content": None, "tool_calls": [inner]})


def inside(name: Any, arguments: Any) -> dict[str, Any]:
    return call("call", json.dumps({"name": name, "arguments": arguments}))


REPLIES: list[Any] = [
    *(completion({"tool_calls": value}) for value in ("x", 7, {"a": 1}, [1], [None], ["x"], [{}], [{"function": "x"}])),
    *(completion({"content": value}) for value in (7, {"a": 1}, ["x"], "\ud800", "a\x00b", "x" * 200_000)),
    *(completion(value) for value in (None, "x", 7, [])),
    *(call(name, "{}") for name in ("", None, 7, ["a"], "no_such", "../../etc", "\ud800", "a\x00b", "x" * 5000)),
    *(call("task__create", text) for text in ("", "x", "[]", "7", "[" * 5000, '{"title": "\\ud800"}', '{"title": NaN}',
                                              '{"title": "a\\u0000b"}', None, 7, {"title": 7}, "{" * 5000)),
    *(call("call", text) for text in ("", "x", "[]", '{"name": 7}', '{"name": "task.create", "arguments": 7}',
                                      '{"name": "task.create", "arguments": {"title": "\\ud800"}}',
                                      '{"name": "\\ud800", "arguments": {}}', '{"name": "x\\u0000y"}', "[" * 100_000)),
    *(inside(name, {}) for name in ("task.create", "user.disable", "policy.apply", "mcp.none.none", "", "...")),
    inside("task.show", {"task": "task_none"}),
    inside("task.create", {"title": "x", "nonsense": 1}),
    inside("task.create", {"title": "x" * 300_000}),
    {**completion({"content": "x"}), "usage": {"prompt_tokens": 1e400, "completion_tokens": -1}},
    {**completion({"content": "x"}), "usage": "many"},
    {"choices": []}, {"choices": "x"}, {}, [], 7, "x", None,
]  # fmt: skip


NONSENSE: list[tuple[int, bytes]] = [
    *((200, body) for body in (b"", b"\xff\xfe", b"{", b"[" * 200_000, b"<html>")),
    *(
        (400, body)
        for body in (b"x", b'{"error": {"message": {"a": 1}}}', b'{"error": {"message": "\\ud800"}}')
    ),
    *((404, b"{}"), (418, b'{"error": 7}'), (402, b'{"error": {}}')),
]


def test_an_answer_of_any_form_breaks_no_run(world: World, liar: Liar) -> None:
    answers = [(200, json.dumps(reply).encode()) for reply in REPLIES] + NONSENSE
    for status, body in answers:
        liar.first, liar.status = body, status
        liar.asked.clear()
        _survives(world, liar)


def _survives(world: World, liar: Liar) -> None:
    gateway = Gateway(lambda: liar.url, Secrets(world.database))
    loop = Loop(registry(), Runtime(world.database, world.settings), gateway, "test", threading.Event())
    dispatcher = Dispatcher(world.database, lambda: Inline(loop))
    answer = world.call("ana", "agent.run", request="Do it.", model="scripted/agent")
    assert answer.data is not None, answer
    before = rows(world, "tasks", "users")
    try:
        for _ in range(6):
            dispatcher.tick()
    except Exception as error:
        raise AssertionError(f"broke at {liar.first[:300]!r}") from error
    with world.database.read("hub") as connection:
        run = runs.load_run(connection, answer.data["id"])
        steps = journal.steps_of(connection, answer.data["id"])
    assert run is not None and run.state in ENDED, (liar.first[:200], run)
    for step in steps:
        error = (step.answer or {}).get("error") or {}
        assert not LEAKS.search(str(error.get("message", ""))), error
    assert changed(before, rows(world, "tasks", "users")) == []
