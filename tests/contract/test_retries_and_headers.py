"""Retries of the stock client obey the hub; headers, time-outs and idempotency as the conventions have them."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import ADMIN_KEY, TINY, Hub, wait_for
from tests.contract.conftest import Key
from tests.contract.schema import check_error
from tests.contract.test_errors import set_limit

BASE: dict[str, Any] = {"model": TINY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


class Counted:
    """A stock client with its own retries on, and the number of requests it sent."""

    def __init__(self, hub: Hub, key: str, retries: int) -> None:
        self.sent = 0
        http = openai.DefaultHttpxClient(event_hooks={"request": [self._count]})
        self.client = openai.OpenAI(
            base_url=f"{hub.url}/v1", api_key=key, max_retries=retries, http_client=http
        )

    def _count(self, _request: Any) -> None:
        self.sent += 1


@pytest.fixture
def counted(hub: Hub) -> Iterator[Callable[..., Counted]]:
    made: list[Counted] = []

    def make(key: str = ADMIN_KEY, retries: int = 2) -> Counted:
        made.append(Counted(hub, key, retries))
        return made[-1]

    yield make
    for one in made:
        one.client.close()


def test_mistakes_are_sent_once(counted: Callable[..., Counted]) -> None:
    one = counted()
    for body in ({**BASE, "temperature": 9}, {**BASE, "model": "none-such"}):
        one.sent = 0
        with pytest.raises(openai.APIStatusError):
            one.client.chat.completions.create(**body)
        assert one.sent == 1


def test_an_exhausted_budget_is_asked_once(
    hub: Hub, new_key: Callable[..., Key], counted: Callable[..., Counted]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="tokens", cap=1, window="month")
    one = counted(key)

    def refused_after() -> int:
        one.sent = 0
        try:
            one.client.chat.completions.create(**BASE)
        except openai.RateLimitError:
            return one.sent
        return 0

    assert wait_for(lambda: refused_after() > 0, timeout_s=5, every_s=0.3)
    assert refused_after() == 1


def test_concurrency_is_retried_and_then_served(
    hub: Hub, new_key: Callable[..., Key], counted: Callable[..., Counted]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="concurrency", cap=1, window="lifetime")
    time.sleep(1.2)
    clients = [counted(key, retries=8) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda one: one.client.chat.completions.create(**BASE), clients))
    assert all(answer.choices for answer in done)


def test_request_ids(client: openai.OpenAI, wire: httpx.Client) -> None:
    first = client.chat.completions.with_raw_response.create(**BASE)
    second = client.chat.completions.with_raw_response.create(**BASE)
    ids = {first.headers["x-request-id"], second.headers["x-request-id"]}
    assert len(ids) == 2
    assert first.parse()._request_id == first.headers["x-request-id"]
    mine = wire.post("/v1/chat/completions", json=BASE, headers={"x-client-request-id": "mine-1"})
    assert mine.headers["x-request-id"]


def test_rate_and_quota_headers(
    hub: Hub, new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    key = new_key()
    set_limit(hub, key, unit="requests", cap=1000, window="minute")
    set_limit(hub, key, unit="tokens", cap=1_000_000, window="minute")
    set_limit(hub, key, unit="tokens", cap=5_000_000, window="year")
    client = client_of(key)

    def headers() -> Any:
        return client.chat.completions.with_raw_response.create(**BASE).headers

    assert wait_for(lambda: "x-ratelimit-limit-tokens" in headers(), timeout_s=6, every_s=0.3)
    assert wait_for(
        lambda: int(headers()["x-ratelimit-remaining-tokens"]) < 1_000_000, timeout_s=6, every_s=0.2
    )
    found = headers()
    for unit, cap in (("requests", 1000), ("tokens", 1_000_000)):
        assert int(found[f"x-ratelimit-limit-{unit}"]) == cap
        assert 0 < int(found[f"x-ratelimit-remaining-{unit}"]) < cap
        assert found[f"x-ratelimit-reset-{unit}"].endswith("s")
    quota = {name: value for name, value in found.items() if name.startswith("x-ath-quota-")}
    assert {name.rsplit("-", 1)[1] for name in quota} >= {"limit", "used", "held", "reset"}


def test_time_out_of_the_client(client_of: Callable[..., openai.OpenAI], client: openai.OpenAI) -> None:
    impatient = client_of(ADMIN_KEY, timeout=0.05)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(
            model=TINY, messages=[{"role": "user", "content": "A long story, please."}], max_tokens=400
        )
    assert client.chat.completions.create(**BASE).choices


def test_idempotency_key_returns_the_stored_answer(hub: Hub, wire: httpx.Client) -> None:
    name = {"idempotency-key": f"k-{uuid.uuid4().hex}"}
    first = wire.post("/v1/chat/completions", json=BASE, headers=name)
    again = wire.post("/v1/chat/completions", json=BASE, headers=name)
    assert first.json() == again.json()
    other = wire.post("/v1/chat/completions", json={**BASE, "max_tokens": 5}, headers=name)
    assert other.status_code == 409
    assert check_error(other.json())["code"] == "idempotency_key_conflict"
    assert other.headers["x-should-retry"] == "false"
    events = hub.rows(
        "ledger", "SELECT request_id FROM usage_event WHERE request_id = ?", [first.headers["x-request-id"]]
    )
    assert len(events) <= 1


def test_other_places_for_the_key(hub: Hub) -> None:
    for headers in ({"x-api-key": ADMIN_KEY}, {"authorization": f"bearer {ADMIN_KEY}"}):
        assert (
            httpx.post(f"{hub.url}/v1/chat/completions", json=BASE, headers=headers, timeout=60).status_code
            == 200
        )


def test_keep_alive_serves_many_requests_on_one_connection(hub: Hub, wire: httpx.Client) -> None:
    for _ in range(20):
        assert wire.get("/v1/models").status_code == 200
    for bad in ({**BASE, "temperature": 5}, BASE, {"model": TINY}, BASE):
        assert wire.post("/v1/chat/completions", json=bad).status_code in {200, 400}


def test_revoked_key_stops_within_a_second(
    hub: Hub, new_key: Callable[..., Key], client_of: Callable[..., openai.OpenAI]
) -> None:
    key = new_key()
    client = client_of(key)
    assert client.chat.completions.create(**BASE).choices
    hub.command("key.revoke", key=key.id)
    time.sleep(1.0)
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**BASE)
