"""What a request used is freed when it ends, not when the collector comes: that is seldom, and there are many."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.gateway.client import Client, chat, request
from tests.gateway.conftest import Hub
from tests.gateway.test_cancel import leave_after, slow_stream
from tokenhub.maas.gateway.connection import ClientConnection
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.meter import Meter
from tokenhub.maas.gateway.raw_relay import RawRelay
from tokenhub.maas.gateway.strand import Strand

KINDS = (ClientConnection, Exchange, Strand, Meter, RawRelay)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living() -> Counter[str]:
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, KINDS))


async def test_a_stream_leaves_nothing_behind(hub: Hub) -> None:
    async with await Client.open(hub.port) as client:
        for _ in range(20):
            client.send(request(body=chat(stream=True)))
            assert (await client.answer()).status == 200
        await hub.settled()
        found = living()
        assert found["Exchange"] <= 2 and found["Meter"] <= 2 and found["RawRelay"] <= 1, found


async def test_a_connection_leaves_nothing_behind(hub: Hub) -> None:
    for stream in (True, False):
        for _ in range(20):
            await hub.ask(body=chat(stream=stream))
    await hub.settled()
    found = living()
    assert found["ClientConnection"] <= 2 and found["Exchange"] <= 2, found


async def test_a_client_that_leaves_leaves_nothing_behind(hub: Hub) -> None:
    hub.upstream.script = slow_stream()
    for _ in range(10):
        await leave_after(hub, 2, chat(stream=True))
    await hub.settled()
    await asyncio.sleep(0.05)
    found = living()
    assert sum(found.values()) <= 8, found
