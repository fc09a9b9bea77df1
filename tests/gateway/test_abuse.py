"""Malformed and hostile HTTP and JSON: a correct error each time, nothing reaches the upstream, nothing dies."""

import asyncio
from dataclasses import replace

import pytest

from tests.gateway.client import Client, chat, request
from tests.gateway.conftest import Hub, running
from tokenhub.config import Settings

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-test\r\n"
SMUGGLING: dict[str, bytes] = {
    "cl and te": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te and cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "same cl twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two cls": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "cl list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "cl sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "cl negative": POST + b"Content-Length: -2\r\n\r\n{}",
    "cl hex": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "cl huge": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "obs-fold": POST + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare lf": b"POST /v1/models HTTP/1.1\nHost: a\n\n",
    "bare lf in headers": POST + b"X: a\nContent-Length: 0\r\n\r\n",
    "bare cr": POST + b"X: a\rb\r\n\r\n",
    "space before colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "te xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te chunked, gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "te twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te identity": POST + b"Transfer-Encoding: identity\r\n\r\n{}",
    "te tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "te in 1.0": b"POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "chunk negative": POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "chunk space": POST + b"Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
    "chunk lf": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "chunk huge": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
    "chunk too long": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    "absolute form": b"GET http://evil/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two keys": POST + b"Authorization: Bearer x\r\nContent-Length: 0\r\n\r\n",
    "nul": POST + b"X: a\x00b\r\n\r\n",
    "empty name": POST + b": x\r\n\r\n",
    "http/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "control in target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "garbage": b"\x00\x01\x02\x03\xff\xfe\r\n\r\n",
}


@pytest.mark.parametrize("name", list(SMUGGLING))
async def test_smuggling_set(hub: Hub, name: str) -> None:
    async with await hub.open() as client:
        client.send(SMUGGLING[name] + b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await client.answer()
        assert 400 <= answer.status < 600 and answer.code, answer
        assert answer.headers["connection"] == "close" and answer.headers["x-request-id"]
        assert await client.closed(), "what follows a broken request must not be served"
    assert hub.upstream.calls == []
    assert (await hub.ask(body=chat())).status == 200


async def test_head_bounds(hub: Hub) -> None:
    cases = {
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n": 431,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(150)) + b"\r\n": 431,
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": 414,
        POST + b"Content-Length: 999999999\r\n\r\n": 413,
        POST + b"Expect: magic\r\nContent-Length: 2\r\n\r\n": 417,
    }
    for data, status in cases.items():
        async with await hub.open() as client:
            client.send(data)
            answer = await client.answer()
            assert answer.status == status and answer.code
            assert await client.closed()


async def test_body_bound_counts_chunked_bodies(sqlite_settings: Settings) -> None:
    async with running(replace(sqlite_settings, body_bytes_max=4096)) as hub, await hub.open() as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(b"".join(b"400\r\n" + b" " * 1024 + b"\r\n" for _ in range(8)))
        assert (await client.answer()).status == 413
        async with await hub.open() as other:
            other.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2_000_000)
            assert (await other.answer()).status == 413


async def test_an_unknown_key_cannot_send_much(hub: Hub) -> None:
    async with await hub.open() as client:
        client.send(
            POST.replace(b"sk-test", b"sk-unknown") + b"Content-Length: 2000000\r\n\r\n" + b" " * 100_000
        )
        assert (await client.answer()).status == 413


async def test_expect_continue(hub: Hub) -> None:
    data = request(body=chat(), headers={"Expect": "100-continue"})
    at = data.index(b"\r\n\r\n") + 4
    async with await hub.open() as client:
        client.send(data[:at])
        line = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5)
        assert line == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(data[at:])
        assert (await client.answer()).status == 200


async def test_a_request_byte_by_byte(hub: Hub) -> None:
    async with await hub.open() as client:
        for byte in request(body=chat()):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200


async def test_slow_headers_slow_body_and_idle_connections_end(sqlite_settings: Settings) -> None:
    short = replace(sqlite_settings, header_timeout_s=0.5, body_timeout_s=0.5, idle_timeout_s=0.5)
    async with running(short) as hub:
        async with await hub.open() as headers, await hub.open() as body, await hub.open() as idle:
            body.send(POST + b"Content-Length: 100\r\n\r\n{")
            idle.send(request("/v1/models", method="GET"))
            assert (await idle.answer()).status == 200

            async def drip() -> None:
                for byte in POST:
                    headers.send(bytes([byte]))
                    await asyncio.sleep(0.1)

            dripping = asyncio.ensure_future(drip())
            for client in (headers, body):
                answer = await client.answer()
                assert answer.status == 408 and answer.code == "request_timeout"
                assert await client.closed()
            assert await idle.closed()
            dripping.cancel()
        async with await hub.open() as silent:
            assert await silent.closed()
        await asyncio.sleep(0.1)
        assert not hub.server.connections


async def test_a_half_closed_socket_is_a_client_that_left(hub: Hub) -> None:
    async with await hub.open() as client:
        client.send(request("/v1/models", method="GET"))
        client.writer.write_eof()
        assert (await client.answer()).status == 200
        assert await client.closed()
    async with await hub.open() as client:
        client.send(POST + b"Content-Length: 10\r\n\r\n{")
        client.writer.write_eof()
        assert await client.closed()
    await asyncio.sleep(0.05)
    assert not hub.server.connections


async def test_too_many_connections_are_turned_away(sqlite_settings: Settings) -> None:
    async with running(replace(sqlite_settings, connections_max=3)) as hub:
        kept = [await hub.open() for _ in range(3)]
        await asyncio.sleep(0.05)
        async with await hub.open() as client:
            answer = await client.answer()
            assert answer.status == 503 and answer.code == "too_many_connections"
            assert await client.closed()
        kept[0].writer.close()
        await asyncio.sleep(0.05)
        assert (await hub.ask(body=chat())).status == 200
        for one in kept:
            one.writer.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_other_methods_on_a_token_path(hub: Hub, method: str) -> None:
    answer = await hub.ask(method=method)
    assert answer.status == 405 and answer.headers["allow"] == "POST"


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b" ", "invalid_json"),
    "list": (b"[]", "invalid_type"),
    "bom": (b"\xef\xbb\xbf{}", "invalid_json"),
    "utf-8": (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "invalid_json"),
    "utf-16": ('{"model":"m"}'.encode("utf-16"), "invalid_json"),
    "lone surrogate": (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "invalid_json"),
    "raw surrogate": (b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}', "invalid_json"),
    "nan": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}', "invalid_json"),
    "infinity": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":1e999}',
        "invalid_value",
    ),
    "deep": (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
    "deep open": (b'{"model":"m","messages":' + b"[" * 100_000, "invalid_json"),
    "trailing": (b'{"model":"m","messages":[{"role":"user","content":"x"}]} x', "invalid_json"),
    "duplicate": (b'{"model":"m","model":"n","messages":[{"role":"user","content":"x"}]}', "invalid_json"),
    "huge int": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 5000 + b"}",
        "invalid_value",
    ),
    "control": (b'{"model":"m","messages":[{"role":"user","content":"\x01"}]}', "invalid_json"),
    "comment": (b'{"model":"m",/*x*/"messages":[]}', "invalid_json"),
    "single quotes": (b"{'model':'m'}", "invalid_json"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
async def test_hostile_json(hub: Hub, name: str) -> None:
    body, code = HOSTILE[name]
    answer = await hub.ask(body=body)
    assert answer.status == 400 and answer.code == code, answer.body
    assert hub.upstream.calls == []


INVALID = [
    ({"messages": [{"role": "user", "content": "x"}]}, "model", "missing_required_parameter"),
    ({"model": "m"}, "messages", "missing_required_parameter"),
    ({"model": 5, "messages": []}, "model", "invalid_type"),
    (chat(messages=[]), "messages", "invalid_value"),
    (chat(messages=[{"content": "x"}]), "messages[0].role", "missing_required_parameter"),
    (chat(messages=[{"role": "boss", "content": "x"}]), "messages[0].role", "invalid_value"),
    (chat(messages=[{"role": "user"}]), "messages[0].content", "missing_required_parameter"),
    (chat(temperature=3), "temperature", "invalid_value"),
    (chat(temperature="1"), "temperature", "invalid_type"),
    (chat(top_p=1.5), "top_p", "invalid_value"),
    (chat(n=0), "n", "invalid_value"),
    (chat(n=129), "n", "invalid_value"),
    (chat(max_tokens=0), "max_tokens", "invalid_value"),
    (chat(max_completion_tokens=-1), "max_completion_tokens", "invalid_value"),
    (chat(stop=["a"] * 5), "stop", "invalid_value"),
    (chat(stream="yes"), "stream", "invalid_type"),
    (chat(stream_options={"include_usage": True}), "stream_options", "invalid_value"),
    (chat(top_logprobs=3), "top_logprobs", "invalid_value"),
    (chat(logit_bias={"5": 101}), "logit_bias[...]", "invalid_value"),
    (
        chat(tools=[{"type": "function", "function": {}}]),
        "tools[0].function.name",
        "missing_required_parameter",
    ),
    (
        chat(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "tools[0].function.name",
        "invalid_value",
    ),
    (chat(tool_choice="required"), "tool_choice", "invalid_value"),
    (chat(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (
        chat(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (chat(no_such_thing=1), "no_such_thing", "unknown_parameter"),
    (chat(n_predict=5), "n_predict", "unknown_parameter"),
]


async def test_invalid_requests_name_the_field(hub: Hub) -> None:
    async with await hub.open() as client:
        for body, param, code in INVALID:
            client.send(request(body=body))
            answer = await client.answer()
            assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, param), body
            assert answer.headers["x-should-retry"] == "false"
    assert hub.upstream.calls == []


async def test_keys_models_and_scopes(hub: Hub) -> None:
    answer = await hub.ask(body=chat(), key=None)
    assert answer.status == 401 and answer.code == "missing_api_key"
    answer = await hub.ask(body=chat(), key="sk-nobody")
    assert answer.status == 401 and answer.code == "invalid_api_key"
    answer = await hub.ask(body={**chat(), "model": "nope"})
    assert answer.status == 404 and answer.code == "model_not_found"
    for header in ("x-api-key", "x-goog-api-key"):
        assert (await hub.ask(body=chat(), key=None, headers={header: "sk-test"})).status == 200
    models = await hub.ask("/v1/models", method="GET")
    assert [model["id"] for model in models.json["data"]] == ["m"]
    assert (await hub.ask("/v1/models/m", method="GET")).json["object"] == "model"
    assert (await hub.ask("/v1/models/x", method="GET")).code == "model_not_found"
    assert (await hub.ask("/healthz", method="GET", key=None)).json["status"] == "ok"
    metrics = (await hub.ask("/metrics", method="GET", key=None)).body.decode()
    for name in (
        "tokenhub_http_requests_total",
        "gen_ai_client_token_usage_total",
        "tokenhub_requests_running",
    ):
        assert name in metrics
    behind_a_proxy = await hub.ask("/metrics", method="GET", headers={"X-Forwarded-For": "9.9.9.9"})
    assert behind_a_proxy.status == 403
    answer = await hub.ask(body=chat(), headers={"X-Client-Request-Id": "mine-1"})
    assert answer.headers["x-client-request-id"] == "mine-1"


async def test_many_idle_connections_leave_nothing_behind(hub: Hub) -> None:
    clients = await asyncio.gather(*[Client.open(hub.port) for _ in range(300)])
    assert (await hub.ask(body=chat())).status == 200
    for client in clients:
        client.writer.close()
    await asyncio.sleep(0.2)
    watched = {type(one).__name__ for one in hub.server.timers._timed}
    assert not hub.server.connections and watched <= {"UpstreamConnection"}
