"""For everybody: keyboard only, input methods, screen readers (axe), both languages, phone and desktop, light and dark."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import ARTIFACTS, Site, Watch, ask, finished, ready, sign_in

AXE = Path(__file__).parents[2] / "console" / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = [
    ("desktop-light-en", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", "locale": "en-US"}),
    ("desktop-dark-zh", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "locale": "zh-CN"}),
    ("phone-light-zh", {"viewport": {"width": 360, "height": 740}, "color_scheme": "light", "locale": "zh-CN", "has_touch": True, "is_mobile": True}),
    ("phone-dark-en", {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark", "locale": "en-US", "has_touch": True, "is_mobile": True}),
]  # fmt: skip


async def serious(page: Page) -> list[str]:
    """What axe finds of serious or critical impact on the page as it is."""
    if not await page.evaluate("'axe' in window"):
        session = await page.context.new_cdp_session(page)
        await session.send("Runtime.evaluate", {"expression": AXE.read_text()})
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']} ({one['impact']}): {[node['target'] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("name", "look"), LOOKS, ids=[name for name, _ in LOOKS])
async def test_every_look_is_accessible_and_fits(
    browser: Browser, site: Site, watch: Watch, name: str, look: dict[str, object]
) -> None:
    context = await browser.new_context(**look)  # type: ignore[arg-type]
    watch.attach(context)
    page = await context.new_page()
    await page.goto(site.url)
    await page.locator("#key").wait_for()
    assert await serious(page) == []
    await page.screenshot(path=ARTIFACTS / f"look-{name}-signin.png")
    await sign_in(context, site)
    await page.goto(site.url)
    await ready(page)
    chinese = "zh" in name
    assert await page.evaluate("document.documentElement.lang") == ("zh-CN" if chinese else "en")
    assert await page.evaluate("document.documentElement.dataset.theme") == (
        "dark" if "dark" in name else "light"
    )
    assert await serious(page) == []
    await page.screenshot(path=ARTIFACTS / f"look-{name}-empty.png")
    await page.locator("textarea").fill("Explain double entry")
    await page.keyboard.press("Enter")
    await finished(page)
    await page.wait_for_timeout(500)
    assert await serious(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page scrolls sideways"
    )
    await page.screenshot(path=ARTIFACTS / f"look-{name}-chat.png")
    await page.locator("button.receipt").last.click()
    assert await serious(page) == []
    await page.screenshot(path=ARTIFACTS / f"look-{name}-drawer.png")
    await page.keyboard.press("Escape")
    await page.locator("[data-budget]").click()
    assert await serious(page) == []
    await page.screenshot(path=ARTIFACTS / f"look-{name}-budget.png")
    await page.keyboard.press("Escape")
    for area in ("usage", "keys"):
        await page.goto(f"{site.url}/{area}")
        await page.locator("main h1").wait_for()
        await page.wait_for_timeout(400)
        assert await serious(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.screenshot(path=ARTIFACTS / f"look-{name}-{area}.png")
    await context.close()


async def test_enter_of_an_input_method_does_not_send(page: Page, site: Site) -> None:
    field = page.get_by_role("textbox", name="Message")
    await field.focus()
    session = await page.context.new_cdp_session(page)
    asked = len(site.script.requests)
    await session.send("Input.imeSetComposition", {"text": "ni hao", "selectionStart": 6, "selectionEnd": 6})
    for kind in ("rawKeyDown", "keyUp"):
        await session.send(
            "Input.dispatchKeyEvent",
            {
                "type": kind,
                "key": "Process",
                "code": "Enter",
                "windowsVirtualKeyCode": 229,
                "nativeVirtualKeyCode": 229,
            },
        )
    # An Enter while composing, as some systems send it.
    await field.dispatch_event(
        "keydown", {"key": "Enter", "keyCode": 13, "isComposing": True, "bubbles": True}
    )
    await session.send("Input.insertText", {"text": "你好"})
    # The Enter that ends a composition comes right behind its end.
    await field.evaluate(
        """(e) => { e.dispatchEvent(new CompositionEvent('compositionstart', { bubbles: true }));
        e.dispatchEvent(new CompositionEvent('compositionend', { data: '你好', bubbles: true }));
        e.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true })); }"""
    )
    await page.wait_for_timeout(400)
    assert len(site.script.requests) == asked
    assert "你好" in await field.input_value()
    await page.keyboard.press("Enter")
    await finished(page)
    assert len(site.script.requests) == asked + 1


async def test_the_whole_journey_by_keyboard(page: Page) -> None:
    await page.locator("body").press("Tab")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    await page.keyboard.type("first line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second line")
    assert await page.locator("textarea").input_value() == "first line\nsecond line"
    await page.keyboard.press("Enter")
    await finished(page)
    await page.keyboard.type("slow please")
    await page.keyboard.press("Enter")
    await page.locator("[data-status=running] .md h2").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_text("stopped", exact=True).wait_for()
    await finished(page)
    await page.keyboard.press("ArrowUp")
    await page.wait_for_timeout(100)
    assert await page.locator("textarea").input_value() == "slow please"
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Commands").wait_for()
    await page.keyboard.type("dark")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("?")
    await page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    await page.keyboard.press("Escape")
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('button.receipt')"):
            break
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus is not visible"
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog", name="Ledger row").wait_for()
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.matches('button.receipt')"), (
        "the focus does not come back"
    )


async def test_a_screen_reader_hears_sentences_and_one_end(page: Page) -> None:
    await ask(page, "Explain double entry")
    await finished(page)
    heard: list[str] = await page.locator("[role=log] p").all_inner_texts()
    assert heard.count("The answer is complete.") == 1
    assert all("**" not in text for text in heard)


async def test_edit_regenerate_rename_delete(page: Page) -> None:
    await ask(page, "Explain double entry")
    await finished(page)
    await page.get_by_role("button", name="Regenerate").click()
    await page.get_by_text("2/2").wait_for()
    await finished(page)
    await page.get_by_role("button", name="Previous version").click()
    await page.get_by_text("1/2").wait_for()
    await page.get_by_role("button", name="Edit", exact=True).click()
    field = page.get_by_role("textbox", name="Message")
    await page.wait_for_timeout(100)
    assert await field.input_value() == "Explain double entry"
    await field.fill("Explain single entry")
    await page.keyboard.press("Enter")
    await page.locator("article p", has_text="Explain single entry").wait_for()
    await finished(page)
    listed = page.get_by_role("navigation", name="Chats").get_by_role("link").first
    await listed.hover()
    await page.get_by_role("button", name="Options of “Explain double entry”").first.click()
    await page.get_by_role("button", name="Rename").click()
    await page.get_by_role("textbox", name="Rename").fill("Bookkeeping")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Bookkeeping", exact=True).hover()
    await page.get_by_role("button", name="Options of “Bookkeeping”").click()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog", name="Delete this chat?").get_by_role("button", name="Delete").click()
    await page.get_by_role("link", name="Bookkeeping", exact=True).wait_for(state="detached")
    assert page.url.endswith("/")
