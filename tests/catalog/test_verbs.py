"""Models, deployments, providers and jobs through the one door."""

import json
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.test_gguf import gguf, text, u32
from tokenhub.adapters.handlers import job_handlers
from tokenhub.commands import Envelope
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity.first_run import ensure_first_run, local_operator
from tokenhub.jobs import store as job_store
from tokenhub.jobs.runner import run_job_inline
from tokenhub.maas.catalog import verbs as model_verbs
from tokenhub.maas.deployments import provider_verbs, store
from tokenhub.maas.deployments import verbs as deploy_verbs
from tokenhub.maas.deployments.types import Timeouts

KEY = "sk-secret-1234567890abcd"


@pytest.fixture
def run(database: Database, settings: Settings) -> Callable[..., Envelope]:
    with database.write("hub") as connection:
        ensure_first_run(connection, settings)
        operator = local_operator(connection)
    registry = Registry(model_verbs, deploy_verbs, provider_verbs)
    runtime = Runtime(database, settings)

    def call(verb: str, /, **arguments: Any) -> Envelope:
        return execute(registry, runtime, operator, verb, arguments)

    return call


def work(database: Database, settings: Settings) -> None:
    """Run every queued job here."""
    handlers = job_handlers(database, settings)
    with database.read("hub") as connection:
        queued = [job for job in job_store.list_jobs(connection) if job.live]
    for job in queued:
        run_job_inline(database, job.kind, handlers[job.kind], subject=job.subject, arguments=job.arguments)


def a_model(tmp_path: Path) -> Path:
    path = tmp_path / "My Model.gguf"
    path.write_bytes(gguf({"general.architecture": text("llama"), "llama.context_length": u32(4096)}))
    return path


def data(envelope: Envelope) -> dict[str, Any]:
    assert envelope.error is None, envelope.error
    assert envelope.data is not None
    return envelope.data


def test_the_catalogue(run: Callable[..., Envelope]) -> None:
    items = data(run("model.list"))["items"]
    assert items[0]["name"] == "qwen2.5-coder-0.5b-instruct"
    assert {item["state"] for item in items} == {"absent"}
    assert len(data(run("model.show", name="smollm2-135m-instruct"))["sha256"]) == 64
    unknown = run("model.show", name="nope")
    assert unknown.error is not None and "hub model add" in unknown.error.message


def test_pulling_is_a_job(run: Callable[..., Envelope]) -> None:
    asked = run("model.pull", name="smollm2-135m-instruct")
    assert asked.status == "pending" and asked.next.startswith("hub job show job_")
    again = data(run("model.pull", name="smollm2-135m-instruct"))
    assert again["id"] == data(asked)["id"], "one live job for one model"
    assert data(run("model.show", name="smollm2-135m-instruct"))["state"] == "fetching"
    assert data(run("job.cancel", job=again["id"]))["state"] == "cancelled"
    assert data(run("job.list"))["items"][0]["state"] == "cancelled"


def test_a_file_is_added_served_and_removed(
    run: Callable[..., Envelope], database: Database, settings: Settings, tmp_path: Path
) -> None:
    path = a_model(tmp_path)
    assert run("model.add", path=str(path)).status == "pending"
    work(database, settings)
    shown = data(run("model.show", name="my-model"))
    assert (shown["state"], shown["template"], shown["context_tokens"]) == ("here", "chatml", 4096)
    deployed = data(run("deploy.create", model="my-model", slots=3, context=100_000))
    assert deployed["job"] == ""
    row = data(run("deploy.list"))["items"][0]
    assert (row["model"], row["slots"], row["context_tokens"], row["status"]) == (
        "my-model",
        3,
        4096,
        "pending",
    )
    assert data(run("deploy.create", model="my-model"))["deployment"] == deployed["deployment"]
    refused = run("model.remove", name="my-model")
    assert refused.error is not None and refused.error.code == "model_in_use"
    data(run("deploy.stop", name="my-model"))
    assert data(run("deploy.remove", name="my-model"))["model"] == "my-model"
    assert data(run("model.remove", name="my-model")) == {
        "name": "my-model",
        "file_deleted": True,
        "forgotten": True,
    }
    assert path.exists() and not list(settings.models_dir.glob("*.gguf"))


def test_a_path_is_deployed_at_once(
    run: Callable[..., Envelope], database: Database, settings: Settings, tmp_path: Path
) -> None:
    asked = run("deploy.create", model=str(a_model(tmp_path)), name="other")
    assert asked.status == "pending"
    work(database, settings)
    assert data(run("deploy.show", name="other"))["status"] == "pending"
    missing = run("deploy.create", model=str(tmp_path / "none.gguf"))
    assert missing.error is not None and missing.error.code == "file_not_found"
    (tmp_path / "no.gguf").write_bytes(b"x" * 100)
    wrong = run("model.add", path=str(tmp_path / "no.gguf"))
    assert wrong.error is not None and wrong.error.code == "not_gguf"


def test_deploying_what_is_absent_fetches_it(run: Callable[..., Envelope], database: Database) -> None:
    deployed = data(run("deploy.create", model="smollm2-135m-instruct", name="small"))
    job = data(run("job.show", job=deployed["job"]))
    assert (job["kind"], job["subject"], job["state"]) == ("model.pull", "smollm2-135m-instruct", "queued")


class Provider(BaseHTTPRequestHandler):
    """An OpenAI-compatible provider with two models and one key."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {KEY}"
        found = self.path == "/v1/models" and allowed
        names = ["big", "x" * 300_000, "a\x00b", "\ud800", "org/small"]  # three that nobody could ask for
        body = json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()
        self.send_response(200 if found else (404 if allowed else 401))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_provider_and_all_its_models(
    run: Callable[..., Envelope], database: Database, settings: Settings, provider: str
) -> None:
    with database.read("hub") as connection:
        before = revision.current(connection)
    added = run("provider.add", name="lab", url=provider, key=KEY, first_token_timeout=7)
    assert KEY not in json.dumps(added.to_dict())
    work(database, settings)
    (shown,) = data(run("provider.list"))["items"]
    assert shown["models"] == ["lab/big", "lab/org/small"] and shown["key"] == "…abcd"
    with database.read("hub") as connection:
        routed = store.load_deployments(connection)
        assert revision.current(connection) > before
    assert [(found.model, found.upstream_model) for found in routed] == [
        ("lab/big", "big"),
        ("lab/org/small", "org/small"),
    ]
    first = routed[0]
    assert (first.base_url, first.api_key, first.adapter) == (f"{provider}/v1", KEY, "openai")
    assert first.healthy and not first.own_engine and first.engine_boot == "" and first.owned_by == "lab"
    assert first.timeouts == Timeouts(settings.connect_timeout_s, 7.0, settings.upstream_idle_timeout_s)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert data(run("provider.remove", name="lab"))["models"] == ["lab/big", "lab/org/small"]
    with database.read("hub") as connection:
        assert store.load_deployments(connection) == []


def test_chosen_models_and_another_name(
    run: Callable[..., Envelope], database: Database, provider: str
) -> None:
    data(run("provider.add", name="lab", url=f"{provider}/v1/", key=KEY, model=["big"]))
    assert data(run("deploy.create", model="org/small", provider="lab", name="small"))["model"] == "small"
    with database.read("hub") as connection:
        assert sorted(found.model for found in store.load_deployments(connection)) == ["lab/big", "small"]
    data(run("deploy.stop", name="small"))
    with database.read("hub") as connection:
        assert [found.model for found in store.load_deployments(connection)] == ["lab/big"]
    twice = run("provider.add", name="lab", url=provider)
    assert twice.error is not None and twice.error.code == "provider_exists"
    for verb, arguments in (
        ("deploy.create", {"model": "x" * 300, "provider": "lab"}),
        ("deploy.create", {"model": "x" * 300_000, "provider": "lab", "name": "long"}),
        ("provider.add", {"name": "lab2", "url": provider, "model": ["big", "x" * 300_000]}),
    ):
        refused = run(verb, **arguments)
        assert refused.error is not None and refused.error.param == "model", (verb, refused)


@pytest.mark.parametrize(
    ("key", "path", "words"),
    [("wrong-key-0123456789", "/v1", "refuses the key"), (KEY, "/other", "no /models")],
)
def test_a_failing_check_says_why(
    run: Callable[..., Envelope],
    database: Database,
    settings: Settings,
    provider: str,
    key: str,
    path: str,
    words: str,
) -> None:
    data(run("provider.add", name="lab", url=provider + path, key=key, model=["big"]))
    work(database, settings)
    error = data(run("job.list"))["items"][0]["error"]
    assert words in error and key not in error


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "x",
        "http://",
        "http://u:p@x",
        "http://x/?a=1",
        "http://x:99999/",
        "http://[::1/",
        "http://a b/",
    ],
)
def test_urls_that_are_refused(run: Callable[..., Envelope], url: str) -> None:
    refused = run("provider.add", name="lab", url=url)
    assert refused.error is not None and refused.error.param == "url"


def test_a_provider_key_that_no_header_carries_is_refused(run: Callable[..., Envelope]) -> None:
    refused = run("provider.add", name="lab", url="http://x/v1", key="a\nx-evil: 1")
    assert refused.error is not None and refused.error.param == "key"
