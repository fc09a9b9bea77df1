"""The other areas: sums of usage that are the ledger's, and keys that can be made, used and ended."""

import re

from playwright.async_api import Page

from tests.browser.conftest import MODEL, Site, Watch, ask, finished


async def test_usage_shows_the_ledgers_sums_and_rows(page: Page, site: Site) -> None:
    await ask(page, "Explain double entry")
    await finished(page)
    request_id = await page.locator("button.receipt").last.get_attribute("data-request")
    await page.get_by_role("link", name="Usage").click()
    await page.get_by_role("heading", name="Latest requests").wait_for()
    report = site.hub.rows(
        "ledger", "SELECT COUNT(*) AS n, SUM(input_tokens + output_tokens) AS tokens FROM usage_event"
    )
    total = report[0]
    tokens = await page.locator("dd", has_text=re.compile(r"^[\d,]+$")).first.inner_text()
    assert int(tokens.replace(",", "")) == total["tokens"]
    await page.get_by_text("Model", exact=True).first.click()
    await page.get_by_role("rowheader", name=MODEL).wait_for()
    await page.locator("tbody button").first.click()
    drawer = page.get_by_role("dialog", name="Ledger row")
    assert await drawer.locator("[data-row=request_id]").inner_text() == request_id


async def test_a_key_is_made_used_and_ended(page: Page, site: Site, watch: Watch) -> None:
    await page.get_by_role("link", name="Keys").click()
    await page.get_by_role("textbox", name="Name").fill("laptop")
    await page.get_by_role("button", name="Create a key").click()
    secret = await page.locator("section code").first.inner_text()
    assert secret.startswith("sk-th-")
    assert site.hub.request("GET", "/v1/models", key=secret)[0] == 200
    row = page.get_by_role("row", name="laptop").filter(has_text="live")
    await row.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await page.get_by_role("row", name="laptop").get_by_text("revoked").wait_for()
    await page.wait_for_timeout(1100)
    assert site.hub.request("GET", "/v1/models", key=secret)[0] == 401
