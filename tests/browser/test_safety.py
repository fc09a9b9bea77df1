"""What a model writes stays text: an XSS corpus executes nothing, calls nobody, and the policy of the page is strict."""

import gzip

from playwright.async_api import Page

from tests.browser.conftest import ARTIFACTS, Site, Watch, ask, finished
from tests.browser.figures import record
from tokenhub.http.console_files import CONSOLE_DIR

FIRST_JS_MAX = 180_000


async def test_the_xss_corpus_executes_nothing(page: Page, site: Site, watch: Watch) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await ask(page, "xss please")
    await finished(page)
    await page.wait_for_timeout(500)
    assert await page.evaluate("window.__xss") is None
    found: dict[str, int] = await page.evaluate(
        """() => { const md = document.querySelector('.md'); const count = (q) => md.querySelectorAll(q).length;
        const handlers = [...md.querySelectorAll('*')].filter((e) => [...e.attributes].some((a) => /^on/i.test(a.name))).length;
        const links = [...md.querySelectorAll('a[href]')].filter((a) => !/^(https?|mailto):/.test(a.href)).length;
        return { scripts: count('script'), frames: count('iframe,object,embed,form,input,style,link,base,img,svg,math'),
                 handlers, links, ids: count('[id],[name]'), styles: count('[style]') }; }"""
    )
    assert found == {"scripts": 0, "frames": 0, "handlers": 0, "links": 0, "ids": 0, "styles": 0}
    text = await page.locator(".md").first.inner_text()
    assert "<script>window.__xss = 'script'</script>" in text, "raw HTML is shown as what it is"
    assert "End of the corpus." in text
    for link in await page.locator(".md a[href]").all():
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
    await page.mouse.move(300, 300)
    for bold in await page.locator(".md *").all():
        await bold.dispatch_event("mouseover")
    assert await page.evaluate("window.__xss") is None
    assert dialogs == []
    await page.screenshot(path=ARTIFACTS / "hub-xss.png", full_page=True)
    # A reload renders the stored text by the other path.
    await page.reload()
    await page.locator("button.receipt").wait_for()
    await page.wait_for_timeout(500)
    assert await page.evaluate("window.__xss") is None
    assert watch.foreign == []


async def test_the_policy_is_strict(page: Page, site: Site, watch: Watch) -> None:
    answer = await page.request.get(site.url)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy and "http" not in policy
    blocked = await page.evaluate(
        """() => { const s = document.createElement('script'); try { s.textContent = 'window.__inline = 1'; document.head.append(s); }
        catch (error) { return error.name; } return String(window.__inline); }"""
    )
    assert blocked in ("TypeError", "undefined")
    watch.errors.clear()  # the browser reports what it blocked


async def test_first_javascript_is_small(page: Page) -> None:
    loaded: list[str] = await page.evaluate(
        "performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.endsWith('.js'))"
    )
    assert loaded
    total = 0
    for url in loaded:
        path = CONSOLE_DIR / url.split("/", 3)[3]
        total += len(gzip.compress(path.read_bytes(), 9))
    record("first_js_gzip_bytes", total)
    assert total <= FIRST_JS_MAX


async def test_assets_are_immutable_and_compressed(page: Page, site: Site) -> None:
    name = await page.evaluate("document.querySelector('script[type=module]').getAttribute('src')")
    answer = await page.request.get(f"{site.url}{name}", headers={"accept-encoding": "gzip"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    again = await page.request.get(
        site.url, headers={"if-none-match": (await page.request.get(site.url)).headers["etag"]}
    )
    assert again.status == 304
    missing = await page.request.get(f"{site.url}/assets/none.js")
    assert missing.status == 404
