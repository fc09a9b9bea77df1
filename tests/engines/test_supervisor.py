"""Engines follow the deployments table: start, death and return, stop, a file that cannot be loaded, embeddings."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.engines.conftest import ROOT, alive, spec, until
from tokenhub.adapters.engines import llama_cpp_process
from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher
from tokenhub.adapters.handlers import job_handlers
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs import store as job_store
from tokenhub.maas.catalog.adding import add_file
from tokenhub.maas.catalog.jobs import ADD, add_model_file
from tokenhub.maas.catalog.store import get_entry, insert_entry
from tokenhub.maas.catalog.types import ModelEntry
from tokenhub.maas.deployments import store, supervisor
from tokenhub.maas.deployments.engine import EngineCounts, EngineFailed
from tokenhub.worker import Sweep, run_worker

pytestmark = pytest.mark.engine


class Running:
    """A worker in this process, and what it counted."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.counts: dict[str, EngineCounts] = {}
        self.swept = 0
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        def broken() -> None:
            self.swept += 1
            raise RuntimeError("a sweep that fails")

        self.task = asyncio.create_task(
            run_worker(
                self.settings,
                self.database,
                launchers={"llama.cpp": LlamaCppLauncher(self.settings.log_dir)},
                record_count=self.counts.__setitem__,
                handlers=job_handlers(self.database, self.settings),
                sweeps=(Sweep("broken", 0.1, broken),),
                stop=self.stop,
            )
        )

    async def finish(self) -> None:
        self.stop.set()
        if self.task is not None:
            await self.task

    def deploy(self, entry: ModelEntry, model: str = "tiny") -> str:
        with self.database.write("hub") as connection:
            return store.create_engine_deployment(
                connection, entry, model=model, context_tokens=1024, slots=2
            )

    def row(self, name: str = "tiny") -> store.DeploymentRow:
        with self.database.read("hub") as connection:
            return store.get_deployment(connection, name)

    async def status(
        self, wanted: str, name: str = "tiny", *, timeout_s: float = 30, but_not: str = ""
    ) -> float:
        async def reached() -> bool:
            row = self.row(name)
            return row.status == wanted and (not but_not or row.engine_boot != but_not)

        return await until(reached, timeout_s=timeout_s)

    def routed(self) -> list[Any]:
        with self.database.read("hub") as connection:
            return store.load_deployments(connection)

    async def chat(self) -> dict[str, Any]:
        (deployment,) = [found for found in self.routed() if found.healthy]
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"{deployment.base_url}/chat/completions",
                json={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
                headers={"authorization": f"Bearer {deployment.api_key}"},
            )
        assert answer.status_code == 200
        return answer.json()


@pytest.fixture
def tmp_path(on_disk: Path) -> Path:
    """On disk, beside the model files, which are linked and not copied."""
    return on_disk


@pytest_asyncio.fixture
async def running(tmp_path: Path, tiny_model: Path, sqlite_database: Database) -> AsyncIterator[Running]:
    settings = Settings(home=tmp_path / "var", database_url="", engine_threads=1)
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    os.link(tiny_model, settings.models_dir / tiny_model.name)
    made = Running(settings, sqlite_database)
    yield made
    await made.finish()


def tiny(database: Database) -> ModelEntry:
    with database.read("hub") as connection:
        return get_entry(connection, "smollm2-135m-instruct")


async def test_a_killed_engine_serves_again(running: Running) -> None:
    running.deploy(tiny(running.database))
    running.start()
    await running.status("running")
    first = running.row()
    await running.chat()
    os.kill(first.engine_pid, signal.SIGKILL)
    seconds = await running.status("running", but_not=first.engine_boot)
    assert seconds < 10, "3 s on a machine of its own"
    second = running.row()
    assert second.restarts == 1 and second.engine_boot != first.engine_boot
    await running.chat()

    async def again() -> bool:
        return running.swept > 1  # a part that fails is run again and stops no other

    await until(again, timeout_s=30)
    with running.database.write("hub") as connection:
        store.set_desired(connection, second.id, "stopped")
    await running.status("stopped")
    assert not alive(second.engine_pid) and running.routed() == []
    assert running.counts[second.engine_boot].output_tokens == 3, "counted at the end of its life"
    with running.database.write("hub") as connection:
        store.set_desired(connection, second.id, "running")
    await running.status("running")
    last = running.row().engine_pid
    await running.finish()
    assert not alive(last)


async def test_a_file_that_cannot_be_loaded_says_why_and_harms_no_other(
    running: Running, tiny_model: Path
) -> None:
    cut = running.settings.home / "cut.gguf"
    cut.write_bytes(tiny_model.read_bytes()[:5_000_000])
    broken = add_model_file(running.database, running.settings, cut)
    running.deploy(broken, "cut")
    running.deploy(tiny(running.database))
    running.start()
    await running.status("failing", "cut")
    assert "corrupted or incomplete" in running.row("cut").message
    await running.status("running")
    assert [found.model for found in running.routed() if found.healthy] == ["tiny"]


async def test_a_file_without_a_template_gets_one_and_says_so(running: Running, tiny_model: Path) -> None:
    data = tiny_model.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_xemplate")
    path = running.settings.home / "No Template.gguf"
    path.write_bytes(data)
    with running.database.write("hub") as connection:
        job = job_store.enqueue(connection, ADD, subject="x", arguments={"path": str(path), "name": ""})
    running.start()

    async def added() -> bool:
        with running.database.read("hub") as connection:
            return job_store.get_job(connection, job.id).state == "succeeded"

    await until(added, timeout_s=30)
    with running.database.read("hub") as connection:
        entry = get_entry(connection, "no-template")
    assert entry.template == "chatml" and "no chat template" in entry.note
    running.deploy(entry)
    await running.status("running")
    assert (await running.chat())["usage"]["prompt_tokens"] > 3


async def test_an_embedding_model_beside_the_chat_model(running: Running) -> None:
    with running.database.read("hub") as connection:
        embedding = get_entry(connection, "smollm2-135m-embedding")
    running.deploy(embedding, "vectors")
    running.start()
    await running.status("running", "vectors")
    (found,) = [deployment for deployment in running.routed() if deployment.model == "vectors"]
    assert found.kinds == frozenset({"embedding"})
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(
            f"{found.base_url}/embeddings",
            json={"input": ["a cat", "a dog"]},
            headers={"authorization": f"Bearer {found.api_key}"},
        )
    assert len(answer.json()["data"][1]["embedding"]) == 576


async def test_an_engine_dies_with_its_parent(tiny_model: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from tests.engines.conftest import spec\n"
        "from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher\n"
        "async def main():\n"
        f"    engine = await LlamaCppLauncher(Path({str(tmp_path)!r})).start(spec(Path({str(tiny_model)!r})))\n"
        "    print(engine.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 3
    while alive(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert not alive(pid)


async def test_launching_nonsense_fails_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(EngineFailed, match="did not start"):
        await LlamaCppLauncher(tmp_path).start(spec(path))


def test_adding_links_the_file(
    sqlite_settings: Settings, sqlite_database: Database, tiny_model: Path
) -> None:
    entry = add_file(tiny_model, sqlite_settings, name="mine", report=lambda _done, _total: None)
    assert entry.sha256 == tiny_model.stem and entry.path(sqlite_settings).samefile(tiny_model)
    with sqlite_database.write("hub") as connection:
        insert_entry(connection, entry)
        assert get_entry(connection, "mine").template == ""


async def test_an_engine_that_hangs_is_replaced(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "COUNT_EVERY_S", 0.1)
    monkeypatch.setattr(supervisor, "SILENT_MAX", 2)
    monkeypatch.setattr(llama_cpp_process, "COUNT_S_MAX", 1.0)
    running.deploy(tiny(running.database))
    running.start()
    await running.status("running")
    first = running.row()
    os.kill(first.engine_pid, signal.SIGSTOP)
    await running.status("running", but_not=first.engine_boot)
    assert not alive(first.engine_pid)
