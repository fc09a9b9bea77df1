"""From the sign-in link to an answer with its price: three clicks at most, and the footer is the ledger's row."""

from playwright.async_api import Browser, Page

from tests.acceptance.hub import wait_for
from tests.browser.conftest import ARTIFACTS, MODEL, Site, Watch, ask, finished, ready


async def test_first_answer_in_three_clicks_from_the_link(browser: Browser, site: Site, watch: Watch) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    watch.attach(context)
    page = await context.new_page()
    clicks = 1
    await page.goto(site.login_link())
    await ready(page)
    assert "token" not in page.url, "the one-time token stays in the address"
    clicks += 1
    await page.get_by_role("button", name="Explain double-entry").click()
    clicks += 1
    await page.get_by_role("button", name="Send").click()
    await finished(page)
    assert clicks <= 3
    await page.reload()
    await page.locator("button.receipt").wait_for()
    await context.close()


async def test_a_link_signs_in_once(browser: Browser, site: Site) -> None:
    link = site.login_link()
    for first in (True, False):
        context = await browser.new_context(locale="en-US")
        page = await context.new_page()
        await page.goto(link)
        if first:
            await ready(page)
        else:
            await page.get_by_role("alert").wait_for()
            assert "token" not in page.url
        await context.close()


async def test_footer_is_the_ledger_row_and_the_budget_moves_by_it(page: Page, site: Site) -> None:
    async def left() -> int:
        await page.locator("[data-budget]").click()
        text = await page.locator("[data-amount=used]").first.inner_text()
        await page.keyboard.press("Escape")
        return int(text.replace(",", ""))

    before = await left()
    await ask(page, "Explain double entry")
    await finished(page)
    receipt = page.locator("button.receipt").last
    request_id = await receipt.get_attribute("data-request")
    row = site.hub.event(str(request_id))

    async def shown(field: str) -> int:
        return int((await receipt.locator(f"[data-field={field}]").inner_text()).replace(",", ""))

    assert await shown("input") == row["input_tokens"]
    assert await shown("output") == row["output_tokens"]
    price = (await receipt.locator("[data-field=amount]").inner_text()).removeprefix("$")
    assert round(float(price) * 1e9) == row["amount_nano"]
    assert row["app"] == "assistant"
    assert row["model"] == MODEL
    await receipt.click()
    drawer = page.get_by_role("dialog", name="Ledger row")
    assert await drawer.locator("[data-row=request_id]").inner_text() == request_id
    assert await drawer.locator("[data-row=total]").inner_text() == str(
        row["input_tokens"] + row["output_tokens"]
    )
    await page.screenshot(path=ARTIFACTS / "hub-ledger-row.png")
    await page.keyboard.press("Escape")
    await drawer.wait_for(state="detached")
    await page.wait_for_timeout(300)
    assert await left() - before == row["input_tokens"] + row["output_tokens"]
    marked = wait_for(
        lambda: bool(site.hub.rows("ledger", "SELECT * FROM applied WHERE request_id = ?", [request_id])),
        timeout_s=5,
    )
    assert marked, "the answer was shown and is not marked as applied"


async def test_a_refusal_keeps_the_words_and_can_be_tried_again(page: Page, watch: Watch) -> None:
    await ask(page, "fail please")
    alert = page.locator("article[data-run]").last.get_by_role("alert")
    await alert.wait_for()
    assert await alert.inner_text()
    await page.get_by_role("button", name="Regenerate").click()
    await page.get_by_text("2/2").wait_for()
    watch.errors.clear()
