"""A running hub with the real engine and a real small model, for all of these tests, and stock clients on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import ADMIN_KEY, TINY, Hub, keep_models, wait_for

EMBEDDING = "smollm2-135m-embedding"
PRICE = {"input": "0.25", "cache_read": "0.05", "output": "1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the engine."""
    for item in items:
        if "tests/contract" in str(item.path):
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="package")
def hub() -> Iterator[Hub]:
    """`hub up` in a fresh home, a priced chat model and an embedding model."""
    with Hub(
        model=TINY, options={"TOKENHUB_ENGINE_SLOTS": "4", "TOKENHUB_ENGINE_CONTEXT": "2048"}
    ) as running:
        running.price(TINY, **PRICE)
        running.command("deploy.create", model=EMBEDDING)
        assert wait_for(lambda: running.ready(EMBEDDING), timeout_s=60), running.last_words()
        yield running
        keep_models(running.home / "models")


@pytest.fixture(scope="package")
def client(hub: Hub) -> Iterator[openai.OpenAI]:
    """The stock client, without its own retries: a test sees every answer."""
    with openai.OpenAI(base_url=f"{hub.url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=120) as made:
        yield made


@pytest.fixture
async def aclient(hub: Hub) -> AsyncIterator[openai.AsyncOpenAI]:
    """The stock asynchronous client."""
    async with openai.AsyncOpenAI(
        base_url=f"{hub.url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=120
    ) as made:
        yield made


@pytest.fixture(scope="package")
def wire(hub: Hub) -> Iterator[httpx.Client]:
    """Plain HTTP, to see bytes that a client library would repair."""
    with httpx.Client(
        base_url=hub.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=120
    ) as made:
        yield made


class Key(str):
    """A secret that knows its id."""

    id: str


@pytest.fixture
def new_key(hub: Hub) -> Callable[..., Key]:
    """Makes API keys: `new_key(models=[…])`."""

    def make(**options: Any) -> Key:
        made = hub.command("key.create", **{"name": "contract", **options})
        key = Key(made["key"])
        key.id = made["id"]
        return key

    return make


@pytest.fixture
def client_of(hub: Hub) -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients for other keys and options."""
    opened: list[openai.OpenAI] = []

    def make(key: str, **options: Any) -> openai.OpenAI:
        made = openai.OpenAI(
            base_url=f"{hub.url}/v1", api_key=key, **{"max_retries": 0, "timeout": 120, **options}
        )
        opened.append(made)
        return made

    yield make
    for one in opened:
        one.close()
