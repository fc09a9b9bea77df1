"""A whole hub (gateway, app, worker) on a scripted provider, and Chromium pages that are signed in.

The provider streams known texts at known rates; everything between it and the page is the product.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.acceptance.hub import ADMIN_KEY, Hub
from tests.assistant.scripted_upstream import Script, create_upstream

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ARTIFACTS = Path(__file__).parents[1] / "_artifacts"
MODEL = "paper/paper-7b"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM.exists():
                item.add_marker(pytest.mark.skip(reason="no /usr/bin/chromium"))


class Upstream:
    """The scripted provider, in a thread of the test process."""

    def __init__(self) -> None:
        self.script = Script()
        self._server = uvicorn.Server(
            uvicorn.Config(create_upstream(self.script), port=0, log_level="error", ws="none")
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "Upstream":
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the scripted provider did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Base URL that a provider is added with."""
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/v1"


@dataclass
class Site:
    """The hub and its provider."""

    hub: Hub
    script: Script

    @property
    def url(self) -> str:
        return self.hub.url

    def login_link(self) -> str:
        """A fresh one-time sign-in link."""
        made = self.hub.command("login-link.create")
        return str(made["url"])


def command(hub: Hub, name: str, arguments: dict[str, object]) -> None:
    """Run one command; fails unless it succeeded."""
    status, envelope = hub.request("POST", f"/api/commands/{name}", arguments)
    assert status in (200, 202), envelope


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    with Upstream() as upstream, Hub(model="none") as hub:
        command(hub, "provider.add", {"name": "paper", "url": upstream.url, "model": ["paper-7b"]})
        hub.price(MODEL, input="0.15", output="0.60")
        command(
            hub, "budget.create", {"scope": "user:admin", "cap": "3M", "window": "year", "name": "Envelope"}
        )
        yield Site(hub, upstream.script)


@dataclass
class Watch:
    """What a page must not do."""

    own: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def attach(self, context: BrowserContext) -> None:
        """Listen to every page of the context."""
        context.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("request", lambda request: self._request(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith((self.own, "data:", "blob:", "about:")):
            self.foreign.append(url)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        await launched.close()


@pytest.fixture
async def watch(site: Site) -> AsyncIterator[Watch]:
    watching = Watch(site.url)
    yield watching
    assert watching.foreign == []
    assert watching.errors == []


@pytest.fixture
async def context(browser: Browser, site: Site, watch: Watch) -> AsyncIterator[BrowserContext]:
    """A signed-in browser context, desktop, English, light."""
    made = await browser.new_context(
        viewport={"width": 1280, "height": 800}, locale="en-US", color_scheme="light"
    )
    watch.attach(made)
    await sign_in(made, site)
    yield made
    await made.close()


@pytest.fixture
async def page(context: BrowserContext, site: Site) -> Page:
    """A signed-in page with an empty chat and a model."""
    opened = await context.new_page()
    await opened.goto(site.url)
    await ready(opened)
    return opened


async def sign_in(context: BrowserContext, site: Site) -> None:
    """Give the context a session without a page."""
    answer = await context.request.post(f"{site.url}/api/session", data={"key": ADMIN_KEY})
    assert answer.ok, await answer.text()
    await context.add_init_script(
        "if (location.protocol.startsWith('http')) localStorage.setItem('signed-in', '1')"
    )


async def ready(page: Page) -> None:
    """Wait until a question can be asked."""
    await page.locator("main select:not([disabled])").wait_for()


async def ask(page: Page, text: str) -> None:
    """Send a message and wait until its answer is being written."""
    answers = page.locator("article[data-run]")
    before = await answers.count()
    await page.locator("textarea").fill(text)
    await page.keyboard.press("Enter")
    await answers.nth(before).wait_for()


async def finished(page: Page, *, timeout_s: float = 30) -> None:
    """Wait until the last answer is rendered to its end and its line in the ledger stands under it."""
    answer = page.locator("article[data-run]").last
    await answer.locator("button.receipt").wait_for(timeout=timeout_s * 1000)
    await answer.locator(".md[data-rendered]").wait_for(state="attached")


async def until(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    """Poll until true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)
