"""The first message with a real engine: from `hub up` on a machine without Node, in two clicks, to a row of the books."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page

from tests.acceptance.hub import TINY, Hub
from tests.browser.conftest import ARTIFACTS, Watch, finished, ready
from tests.browser.figures import record

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    empty = tmp_path_factory.mktemp("bin")
    path = f"{empty}:/usr/sbin:/sbin"
    assert shutil.which("node", path=path) is None
    with Hub(model=TINY, options={"PATH": path}) as hub:
        yield hub


async def busy_slots(hub: Hub) -> int:
    """Sequences that the engine is working on now."""
    engine = hub.engine(TINY)
    async with httpx.AsyncClient(timeout=5) as client:
        answer = await client.get(
            str(engine["base_url"]).removesuffix("/v1") + "/slots",
            headers={"authorization": f"Bearer {engine['api_key']}"},
        )
    answer.raise_for_status()
    return sum(1 for slot in answer.json() if slot["is_processing"])


async def open_link(browser: Browser, hub: Hub, watch: Watch) -> Page:
    """A page that followed the sign-in link which `hub up` printed (the second time: a fresh one)."""
    printed = re.findall(r"http\S+/login#token=\S+", (Path(hub.home) / "up.log").read_text())
    link = printed[-1]
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    watch.own = hub.url
    watch.attach(context)
    page = await context.new_page()
    await page.goto(link)
    try:
        await ready(page)
    except Exception:
        status, made = hub.request("POST", "/api/commands/login-link.create", {})
        assert status == 200
        await page.goto("about:blank")
        await page.goto(made["data"]["url"])
        await ready(page)
    return page


async def test_first_answer_and_stop_with_the_real_engine(browser: Browser, real: Hub) -> None:
    watch = Watch(real.url)
    page = await open_link(browser, real, watch)  # click 1: the link
    assert await page.locator("main select").input_value() == TINY
    await page.locator("textarea").fill("What is the capital of France? Answer in one short sentence.")
    await page.get_by_role("button", name="Send").click()  # click 2
    await page.locator("article[data-status=complete]").wait_for(timeout=180_000)
    await finished(page)
    receipt = page.locator("button.receipt").last
    row = real.event(str(await receipt.get_attribute("data-request")))
    shown = {
        field: int((await receipt.locator(f"[data-field={field}]").inner_text()).replace(",", ""))
        for field in ("input", "output")
    }
    assert shown == {"input": row["input_tokens"], "output": row["output_tokens"]}
    assert row["source"] == "engine"
    assert row["created_tokens"] == row["output_tokens"] + row["undelivered_tokens"]
    record("first_answer_clicks", 2)
    await page.screenshot(path=ARTIFACTS / "real-first-answer.png")

    await page.locator("textarea").fill("Write a very long story about a ledger, with many chapters.")
    await page.keyboard.press("Enter")
    await page.locator("article[data-status=running] .md p").first.wait_for(timeout=60_000)
    assert await busy_slots(real) == 1
    await page.get_by_role("button", name="Stop").click()
    loop = asyncio.get_running_loop()
    start = loop.time()
    while await busy_slots(real) and loop.time() - start < 5:
        await asyncio.sleep(0.01)
    took_ms = round((loop.time() - start) * 1000)
    record("engine_stops_ms", took_ms)
    assert took_ms <= 500
    await page.get_by_text("stopped", exact=True).wait_for()
    await finished(page)
    text = await page.locator("article[data-run] .md").last.inner_text()
    assert text
    row = real.event(str(await page.locator("button.receipt").last.get_attribute("data-request")))
    assert row["finish"] == "cancelled"
    assert row["output_tokens"] > 0
    assert watch.foreign == []
    assert watch.errors == []
