"""Every refusal is the right exception of the stock client, with class, code and param, and tells about retrying."""

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import TINY, Hub, wait_for
from tests.contract.conftest import Key
from tests.contract.schema import check_error

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
BASE: dict[str, Any] = {"model": TINY, "messages": HELLO, "max_tokens": 4}


def refused(
    wire: httpx.Client, body: Any, status: int = 400, path: str = "/v1/chat/completions"
) -> dict[str, Any]:
    answer = wire.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"
    return check_error(answer.json())


def test_unknown_key(client_of: Callable[..., openai.OpenAI]) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client_of("sk-th-" + "x" * 43).chat.completions.create(**BASE)
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.request_id


def test_no_key(hub: Hub) -> None:
    answer = httpx.post(f"{hub.url}/v1/chat/completions", json=BASE)
    assert answer.status_code == 401
    check_error(answer.json())


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**{**BASE, "model": "gpt-no-such"})
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_model_outside_the_allow_list(
    new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    client = client_of(new_key(models=["another-model"]))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(**BASE)
    assert caught.value.param == "model"
    assert TINY not in [model.id for model in client.models.list()]


def test_key_without_the_scope(new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client_of(new_key(scopes=["usage:read"])).chat.completions.create(**BASE)


def test_bad_request_class(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**BASE, "temperature": 3})
    assert (caught.value.status_code, caught.value.param, caught.value.type) == (
        400,
        "temperature",
        "invalid_request_error",
    )


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"frequency_penalty": 9}, "frequency_penalty"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "has space"}}]}, "tools[0]"),
        ({"tools": [{"type": "rocket"}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"not_a_parameter": 1}, "not_a_parameter"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"logit_bias": {"5": 1000}}, "logit_bias"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_fields_that_cannot_be(wire: httpx.Client, change: dict[str, Any], param: str) -> None:
    body = {
        name: value for name, value in {**BASE, **change}.items() if name not in change or value is not None
    }
    error = refused(wire, body)
    assert error["type"] == "invalid_request_error"
    assert str(error["param"]).startswith(param), error
    assert error["code"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}garbage", b'{"model": 1e999}', b"[" * 5000]
)
def test_bodies_that_are_no_json_object(wire: httpx.Client, body: bytes) -> None:
    answer = wire.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    check_error(answer.json())


def test_prompt_over_the_context(client: openai.OpenAI) -> None:
    long = "word " * 6000
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": long}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": long}], stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_body_over_the_limit(hub: Hub, wire: httpx.Client) -> None:
    size = 33 * 2**20
    answer = wire.post("/v1/chat/completions", content=b"{" + b" " * size)
    assert answer.status_code == 413
    check_error(answer.json())
    assert wire.get("/healthz").status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_wrong_method(wire: httpx.Client, method: str) -> None:
    answer = wire.request(method, "/v1/chat/completions")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    check_error(answer.json())


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat", "/v1/chat/completions/x", "/v1"])
def test_unknown_path(wire: httpx.Client, path: str) -> None:
    answer = wire.post(path, json={})
    assert answer.status_code in {404, 405}
    check_error(answer.json())


def test_lifetime_budget_is_402(
    hub: Hub, new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="tokens", cap=5, window="lifetime")
    client = client_of(key)

    def exhausted() -> bool:
        try:
            client.chat.completions.create(**BASE)
        except openai.APIStatusError as error:
            return error.status_code == 402
        return False

    assert wait_for(exhausted, timeout_s=5, every_s=0.3)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**BASE)
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (
        402,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_window_budget_is_429_and_not_retried(
    hub: Hub, new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="tokens", cap=5, window="month")
    client = client_of(key)
    assert wait_for(lambda: _status(client) == 429, timeout_s=5, every_s=0.3)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**BASE)
    assert caught.value.code == "insufficient_quota"
    headers = caught.value.response.headers
    assert headers["x-should-retry"] == "false"
    assert int(headers["retry-after"]) > 0
    assert any(name.startswith("x-ath-quota-") for name in headers)


def test_request_rate_is_429_with_retry_after(
    hub: Hub, new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="requests", cap=2, window="minute")
    client = client_of(key)
    assert wait_for(lambda: _status(client) == 429, timeout_s=20, every_s=0.3)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**BASE)
    assert caught.value.code == "rate_limit_exceeded"
    headers = caught.value.response.headers
    assert 0 < int(headers["retry-after"]) <= 62  # a rolling minute, to the second
    assert headers["x-should-retry"] == "true"


def set_limit(hub: Hub, key: Key, *, unit: str, cap: int, window: str) -> None:
    """A hard limit on one key; the gateways know it within a second."""
    hub.command(
        "budget.create",
        scope=f"key:{key.id}",
        unit=unit,
        cap=str(cap),
        window=window,
        name=f"{unit}-{window}",
    )


def _status(client: openai.OpenAI) -> int:
    try:
        client.chat.completions.create(**BASE)
    except openai.APIStatusError as error:
        return error.status_code
    return 200
