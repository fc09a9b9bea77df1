"""Console files: one page for every path, hashed assets for ever, compressed on request, a notice where nothing is built."""

import gzip
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tokenhub.http.console_files import ConsoleFiles, console_router
from tokenhub.http.errors import install_handlers


def client_of(folder: Path) -> TestClient:
    app = FastAPI()
    install_handlers(app)
    app.include_router(console_router(ConsoleFiles(folder)))
    return TestClient(app)


def built(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>console</title>")
    (folder / "assets" / "index-abc.js").write_text("let one = 1;")
    (folder / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(b"let one = 1;"))
    return folder


def test_every_page_is_the_one_page_under_a_strict_policy(tmp_path: Path) -> None:
    client = client_of(built(tmp_path))
    for path in ("/", "/login", "/c/conv_1", "/usage"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert "console" in answer.text
    again = client.get("/", headers={"if-none-match": client.get("/").headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/").status_code == 200


def test_assets_last_for_ever_and_are_compressed_for_who_accepts_it(tmp_path: Path) -> None:
    client = client_of(built(tmp_path))
    zipped = client.get("/assets/index-abc.js")
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.text == "let one = 1;"
    plain = client.get("/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_what_is_missing_is_missing(tmp_path: Path) -> None:
    client = client_of(built(tmp_path / "console"))
    (tmp_path / "secret.txt").write_text("secret")
    for path in ("/assets/none.js", "/api/none", "/v1/none"):
        assert client.get(path).status_code == 404
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"):
        assert "secret" not in client.get(path).text


def test_a_notice_stands_where_nothing_is_built_and_a_build_is_picked_up(tmp_path: Path) -> None:
    client = client_of(tmp_path / "console")
    assert "not built" in client.get("/").text
    built(tmp_path / "console")
    assert "not built" not in client.get("/").text
