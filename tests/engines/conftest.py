"""A real engine with a real small model, started once; and the way a request takes through the adapter."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tokenhub.adapters.engines.llama_cpp import LlamaCppAdapter
from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher
from tokenhub.adapters.sources import model_sources
from tokenhub.config import Settings
from tokenhub.kernel.errors import HubError
from tokenhub.maas.catalog.builtin import BUILTIN
from tokenhub.maas.catalog.fetch import fetch
from tokenhub.maas.deployments.engine import Engine, EngineSpec
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.assembly import Assembly
from tokenhub.maas.gateway.request import UPSTREAM_PATH, Endpoint
from tokenhub.maas.gateway.validation import parse_request

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def model_file(name: str) -> Path:
    """A verified model file, fetched into the checkout's own state folder at the first use."""
    entry = next(entry for entry in BUILTIN if entry.name == name)
    settings = Settings(home=ROOT / "var", database_url="")
    return fetch(entry, settings, sources=model_sources(), report=lambda _done, _total: None)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """SmolLM2-135M."""
    return model_file("smollm2-135m-instruct")


def spec(path: Path, **changes: Any) -> EngineSpec:
    """A small engine that leaves a core to the others."""
    options: Json = {
        "model_path": path,
        "alias": "tiny",
        "slots": 2,
        "context_tokens": 2048,
        "threads": 1,
        "template": "",
        "embedding": False,
        "pooling": "",
    }
    return EngineSpec(**{**options, **changes})


@dataclass
class Way:
    """One engine and the adapter before it."""

    engine: Engine

    @property
    def deployment(self) -> Deployment:
        return Deployment(
            "dep",
            "public",
            "tiny",
            self.engine.base_url,
            self.engine.api_key,
            adapter="llama.cpp",
            own_engine=True,
        )

    def prepare(self, body: Json, endpoint: Endpoint = "chat.completions") -> Any:
        request = parse_request(endpoint, json.dumps({"model": "public", **body}).encode(), request_id="r")
        request.deployment = self.deployment
        return request, LlamaCppAdapter().prepare(request)

    def url(self, endpoint: Endpoint) -> str:
        return self.engine.base_url + UPSTREAM_PATH[endpoint].decode()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.engine.api_key}", "content-type": "application/json"}

    async def ask(self, body: Json, endpoint: Endpoint = "chat.completions") -> Json:
        """The answer as the gateway would put it together. Raises: HubError."""
        _, prepared = self.prepare(body, endpoint)
        async with httpx.AsyncClient(timeout=120) as client:
            answer = await client.post(self.url(endpoint), content=prepared.body, headers=self.headers)
        if answer.status_code != 200:
            raise prepared.mender.error(answer.status_code, answer.content)
        if not prepared.stream:
            return prepared.mender.body(answer.json())
        assembly = Assembly(chat=endpoint == "chat.completions")
        for line in answer.text.splitlines():
            if line.startswith("data: {"):
                for chunk in prepared.mender.chunk(json.loads(line[6:])):
                    assembly.add(chunk)
        for chunk in prepared.mender.finish():
            assembly.add(chunk)
        return assembly.body()

    async def busy(self) -> bool:
        """True while any slot works."""
        url = self.engine.base_url.removesuffix("/v1") + "/slots"
        async with httpx.AsyncClient(timeout=30) as client:
            slots = (await client.get(url, headers=self.headers)).json()
        return any(slot["is_processing"] for slot in slots)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def way(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Way]:
    """SmolLM2 served for the whole session."""
    engine = await LlamaCppLauncher(tmp_path_factory.mktemp("log")).start(spec(tiny_model))
    yield Way(engine)
    await engine.stop()


async def until(check: Any, *, timeout_s: float) -> float:
    """Seconds until `check()` (async) is true; fails after `timeout_s`."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await check():
        assert loop.time() - started < timeout_s, f"not within {timeout_s} s"
        await asyncio.sleep(0.005)
    return loop.time() - started


def alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")


__all__ = ["HubError", "Way", "alive", "model_file", "spec", "until"]
