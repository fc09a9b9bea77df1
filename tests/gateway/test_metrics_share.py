"""A scrape of one gateway shows all of them."""

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.conftest import Hub
from tokenhub.maas.gateway.metrics import Metrics
from tokenhub.maas.gateway.metrics_share import gather, merged, share
from tokenhub.metering.plain import Kinds


def _answered(index: int, times: int) -> Metrics:
    metrics = Metrics(str(index), Kinds())
    for _ in range(times):
        metrics.answered(200)
    return metrics


def _counts(text: bytes) -> dict[str, float]:
    """By gateway; each metric once, as Prometheus wants it."""
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families)
    return {
        sample.labels["gateway"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tokenhub_http_requests_total"
    }


async def test_every_gateway_is_shown_once_and_a_dead_one_is_left_out(tmp_path: Path) -> None:
    gateways = [_answered(index, index + 1) for index in range(4)]
    servers = [await share(one.render, tmp_path, index) for index, one in enumerate(gateways)]
    for index, one in enumerate(gateways):
        assert _counts(await gather(one.render(), tmp_path, index)) == {"0": 1, "1": 2, "2": 3, "3": 4}
    assert servers[2] is not None
    servers[2].close()  # its socket file stays, as that of a killed process
    assert _counts(await gather(gateways[0].render(), tmp_path, 0)) == {"0": 1, "1": 2, "3": 4}
    again = await share(_answered(2, 9).render, tmp_path, 2)
    assert _counts(await gather(gateways[0].render(), tmp_path, 0)) == {"0": 1, "1": 2, "2": 9, "3": 4}
    for server in (*servers, again):
        assert server is not None
        server.close()


async def test_a_gateway_that_hangs_costs_a_scrape_half_a_second(tmp_path: Path) -> None:
    over, ended = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()
        ended.set()

    hanging = await asyncio.start_unix_server(hang, str(tmp_path / "metrics-1.sock"))
    own = _answered(0, 1).render()
    async with asyncio.timeout(2):
        assert _counts(await gather(own, tmp_path, 0)) == {"0": 1}
    hanging.close()
    over.set()
    await ended.wait()
    await asyncio.sleep(0)


async def test_a_folder_with_too_long_a_path_shares_nothing(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    assert await share(_answered(0, 1).render, folder, 0) is None
    assert _counts(await gather(_answered(0, 1).render(), folder, 0)) == {"0": 1}


def test_texts_become_one() -> None:
    one = b"# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n"
    two = b"# TYPE b gauge\nb 2\n# TYPE c gauge\nc 2\n"
    assert merged([one, two, b""]) == (
        b"# TYPE a counter\na 1\n# TYPE b gauge\nb 1\nb 2\n# TYPE c gauge\nc 2\n"
    )


async def test_a_scrape_over_http(hub: Hub) -> None:
    other = await share(_answered(7, 3).render, hub.settings.run_dir, 7)
    assert other is not None
    try:
        answer = await hub.ask("/metrics", method="GET", key=None)
    finally:
        other.close()
    assert _counts(answer.body)["7"] == 3
