"""An answer while it is written: smooth at 200 tokens a second, whole after a reload and in a second tab, stopped at once."""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.assistant.scripted_upstream import SHORT
from tests.browser.conftest import ARTIFACTS, Site, ask, finished, ready, until
from tests.browser.figures import record

FRAMES = """() => new Promise((resolve) => { const times = []; let last = performance.now(); const start = last;
  (function tick(now) { times.push(now - last); last = now;
    if (now - start > 40000) resolve(times.sort((a, b) => a - b)); else requestAnimationFrame(tick); })(last); })"""
LONG_TASKS = """
  window.__tasks = [];
  new PerformanceObserver((list) => { for (const task of list.getEntries()) window.__tasks.push(Math.round(task.duration)); })
    .observe({ type: "longtask" });
"""


async def answer_text(page: Page) -> str:
    """The text of the last answer as a person copies it."""
    return await page.evaluate(
        "() => { const all = document.querySelectorAll('article[data-run] .md'); return all[all.length - 1].textContent; }"
    )


async def test_stop_ends_the_work_within_half_a_second_and_keeps_the_text(page: Page, site: Site) -> None:
    sent_first = site.script.sent
    await ask(page, "slow please")
    await page.locator(".md h2").first.wait_for()
    await page.wait_for_timeout(700)
    sent_before = site.script.sent
    await page.get_by_role("button", name="Stop").click()
    await asyncio.sleep(0.5)
    sent = site.script.sent
    assert site.script.open_streams == 0
    assert sent - sent_before <= 15, "20 tokens/s: half a second is 10 tokens"
    await page.get_by_text("stopped", exact=True).wait_for()
    text = await answer_text(page)
    await finished(page)
    assert "Section 1" in text
    request_id = await page.locator("button.receipt").last.get_attribute("data-request")
    row = site.hub.event(str(request_id))
    assert abs(row["output_tokens"] - (sent - sent_first)) <= 15
    await page.reload()
    await finished(page)
    assert await answer_text(page) == text
    await asyncio.sleep(0.3)
    assert site.script.sent == sent


async def settled_text(page: Page) -> str:
    """The answer's text once it stands still: the last frame of a busy browser may come after the receipt."""
    before = ""
    for _ in range(40):
        text = await answer_text(page)
        if text and text == before:
            break
        before = text
        await asyncio.sleep(0.5)
    return before


async def test_reload_and_second_tab_show_every_character_once(
    page: Page, context: BrowserContext, site: Site
) -> None:
    site.script.texts["steady"] = SHORT
    site.script.rates["steady"] = 60.0
    await ask(page, "steady please")
    await page.locator(".md table").wait_for()
    second = await context.new_page()
    await second.goto(page.url)
    await second.locator(".md table").wait_for()
    await page.reload()
    third = await context.new_page()
    await asyncio.sleep(1)
    await third.goto(page.url)
    texts = []
    for tab in (page, second, third):
        await finished(tab)
        texts.append(await settled_text(tab))
    await page.reload()
    await finished(page)
    whole = await answer_text(page)
    assert texts == [whole] * 3
    assert whole.count("Rows are never changed") == 1
    assert whole.count("def balance") == 1


@dataclass
class Tasks:
    """The longest task of a page's main thread, in ms: by the clock, and by the processor time it took."""

    wall_ms: float
    cpu_ms: float


def longest_tasks(trace: bytes) -> Tasks:
    """Longest tasks of renderer main threads in a trace of Chromium."""
    events: list[dict[str, Any]] = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        event
        for event in events
        if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in mains and "dur" in event
    ]
    assert tasks, "the trace has no tasks"
    return Tasks(
        wall_ms=max(event["dur"] for event in tasks) / 1000,
        cpu_ms=max(event.get("tdur", 0) for event in tasks) / 1000,
    )


@pytest.mark.slow
async def test_ten_thousand_tokens_at_200_a_second_without_a_long_task(
    browser: Browser, context: BrowserContext, site: Site
) -> None:
    page = await context.new_page()
    await page.goto(site.url)
    await ready(page)
    await browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    await ask(page, "long please")
    frames = asyncio.create_task(page.evaluate(FRAMES))
    sent = site.script.sent
    await until(lambda: site.script.sent - sent > 9000, timeout_s=90)
    times = await frames
    await finished(page, timeout_s=60)
    tasks = longest_tasks(await browser.stop_tracing())
    busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    record("stream_task_wall_ms_max", round(tasks.wall_ms))
    record("stream_task_cpu_ms_max", round(tasks.cpu_ms))
    record("stream_frame_ms_median", round(times[len(times) // 2], 1))
    record("stream_frame_ms_p95", round(times[int(len(times) * 0.95)], 1))
    record("stream_load_average", round(os.getloadavg()[0], 1))
    await page.screenshot(path=ARTIFACTS / "hub-long.png")
    assert tasks.cpu_ms <= 200
    # A machine that is busy with other work stretches every task; then only the processor time is ours.
    assert tasks.wall_ms <= 200 or busy
    streamed = await answer_text(page)
    await page.reload()
    await finished(page)
    assert await answer_text(page) == streamed, (
        "the streamed render differs from the render of the whole text"
    )
    output = int((await page.locator("[data-field=output]").last.inner_text()).replace(",", ""))
    assert output == 10_000


@pytest.mark.slow
async def test_a_long_chat_opens_fast(context: BrowserContext, site: Site) -> None:
    page = await context.new_page()
    await page.add_init_script(LONG_TASKS)
    await page.goto(site.url)
    await ready(page)
    site.script.rates["block"] = 100_000.0
    site.script.texts["block"] = SHORT
    for number in range(45):
        await ask(page, f"block {number}")
        await finished(page)
    await page.evaluate("window.__tasks.length = 0")
    await page.reload()
    await page.locator("button.receipt").last.wait_for()
    await page.get_by_role("textbox", name="Message").type("typable")
    assert await page.get_by_role("textbox", name="Message").input_value() == "typable"
    assert await page.locator("article").count() == 40
    await page.get_by_role("button", name="Earlier messages").click()
    await page.locator("article").nth(79).wait_for()
    tasks: list[int] = await page.evaluate("window.__tasks")
    assert max(tasks, default=0) <= 400
