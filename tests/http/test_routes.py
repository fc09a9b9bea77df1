"""The wire: sessions, commands, errors, headers."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from tokenhub.db.engine import Database
from tokenhub.http.auth import COOKIE
from tokenhub.identity.first_run import FirstRun
from tokenhub.identity.sessions import create_login_token
from tokenhub.kernel.clock import now_ms

ORIGIN = {"origin": "http://hub.test:8080"}


def test_signing_in_with_a_key_sets_a_strict_cookie(client: TestClient, first: FirstRun) -> None:
    assert client.get("/api/session").status_code == 401
    answer = client.post("/api/session", json={"key": first.admin_key}, headers=ORIGIN)
    assert (
        answer.status_code == 200 and answer.json()["name"] == "admin" and answer.json()["org"] == "default"
    )
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and first.admin_key not in cookie
    assert client.get("/api/session").json()["user_id"] == first.user_id
    assert client.delete("/api/session", headers=ORIGIN).status_code == 204
    assert client.get("/api/session").status_code == 401


def test_a_login_link_signs_in_once(client: TestClient, first: FirstRun, database: Database) -> None:
    with database.write("hub") as connection:
        token = create_login_token(connection, org_id=first.org_id, user_id=first.user_id, at_ms=now_ms())
    assert client.post("/api/session", json={"login_token": token}).json()["scopes"] == ["*"]
    client.cookies.clear()
    again = client.post("/api/session", json={"login_token": token})
    assert again.status_code == 401 and again.json()["error"]["code"] == "invalid_login_token"


@pytest.mark.parametrize("body", [{}, {"key": "a", "login_token": "b"}, {"key": 1}, [], {"key": "a", "x": 1}])
def test_a_malformed_sign_in_is_400(client: TestClient, body: object) -> None:
    answer = client.post("/api/session", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_argument"


def test_a_cookie_writes_only_from_our_own_page(client: TestClient, first: FirstRun) -> None:
    client.post("/api/session", json={"key": first.admin_key})
    make = {"name": "t"}
    for headers in ({}, {"origin": "http://evil.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        refused = client.post("/api/commands/team.create", json=make, headers=headers)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "cross_site", headers
    assert client.post("/api/commands/team.create", json=make, headers=ORIGIN).status_code == 200
    assert client.get("/api/commands").status_code == 200
    assert (
        client.post("/api/session", json={"key": "x"}, headers={"origin": "http://evil.test"}).status_code
        == 403
    )


def test_commands_by_http(client: TestClient, bearer: dict[str, str]) -> None:
    made = client.post("/api/commands/key.create", json={"name": "k"}, headers=bearer)
    assert made.status_code == 200 and made.json()["ok"] and made.json()["data"]["key"].startswith("sk-th-")
    dry = client.post("/api/commands/key.create?dry_run=true", json={"name": "d"}, headers=bearer)
    assert dry.json()["dry_run"] and dry.json()["data"]["key"] == ""
    keyed = {**bearer, "idempotency-key": "one"}
    first = client.post("/api/commands/team.create", json={"name": "t"}, headers=keyed).json()
    again = client.post("/api/commands/team.create", json={"name": "t"}, headers=keyed).json()
    assert again["replayed"] and again["data"] == first["data"]
    empty = client.post("/api/commands/org.show", headers=bearer)
    assert empty.json()["data"]["name"] == "default"


def test_refusals_by_http(client: TestClient, bearer: dict[str, str]) -> None:
    def post(name: str, **options: object) -> tuple[int, dict[str, object]]:
        answer = client.post(f"/api/commands/{name}", headers=bearer, **options)  # type: ignore[arg-type]
        assert answer.headers["x-should-retry"] == "false"
        return answer.status_code, answer.json()["error"]

    status, error = post("key.create", json={})
    assert status == 400 and error["param"] == "name" and error["type"] == "invalid_request_error"
    assert post("key.creat", json={})[0] == 404
    assert post("key.show", json={"key": "none"})[1]["code"] == "key_not_found"
    for bad in (b"{", b"[]", b"\xff", b"[" * 100_000):
        status, error = post("key.create", content=bad)
        assert status == 400 and error["code"] == "invalid_json"
    unknown = client.post("/api/commands/org.show", headers={"authorization": "Bearer sk-th-none"})
    assert unknown.status_code == 401 and unknown.json()["error"]["code"] == "invalid_api_key"
    assert client.get("/nowhere").json()["error"]["code"] == "unknown_url"
    assert client.put("/api/session").json()["error"]["code"] == "method_not_allowed"


def test_commands_describe_themselves(client: TestClient, bearer: dict[str, str]) -> None:
    names = [item["name"] for item in client.get("/api/commands", headers=bearer).json()["items"]]
    assert "key.create" in names and names == sorted(names)
    shown = client.get("/api/commands/key.create", headers=bearer).json()
    assert shown["arguments"]["required"] == ["name"] and shown["examples"]
    assert "/api/commands/key.create" in client.get("/openapi.json").json()["paths"]


def test_every_answer_has_an_id_and_strict_headers(client: TestClient) -> None:
    answer = client.get("/api/session", headers={"x-request-id": "req-7"})
    assert answer.headers["x-request-id"] == "req-7"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert (
        answer.headers["cache-control"] == "no-store"
        and answer.headers["x-content-type-options"] == "nosniff"
    )
    assert (
        client.get("/api/session", headers={"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")
    )


def test_a_crash_is_a_clean_500(client: TestClient) -> None:
    answer = client.get("/boom")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    assert "a bug" not in answer.text and answer.headers["x-request-id"]


def test_signing_out_needs_no_session(client: TestClient) -> None:
    assert client.delete("/api/session").status_code == 204
    client.cookies.set(COOKIE, "nonsense")
    assert client.get("/api/session").json()["error"]["code"] == "no_session"


def test_nonsense_is_refused_cleanly(client: TestClient, bearer: dict[str, str]) -> None:
    for key in ("\\ud800", "\\u0000", "x" * 513):
        answer = client.post("/api/session", content='{"key": "' + key + '"}')
        assert answer.status_code in (400, 401), key
    for header in (b"Bearer \xff\xfe", b"Bearer", b"Basic eA==", b"Bearer " + b"x" * 5000):
        assert client.get("/api/session", headers={b"authorization": header}).status_code == 401
    assert client.post("/api/commands/%00", headers=bearer).status_code == 404
    assert client.post("/api/commands/org.show", content=b'{"x": NaN}', headers=bearer).status_code == 400
    strange = {**bearer, "idempotency-key": "k" * 257}
    assert client.post("/api/commands/team.create", json={"name": "t"}, headers=strange).status_code == 400


def test_a_disabled_person_is_signed_out(client: TestClient, bearer: dict[str, str]) -> None:
    client.post("/api/commands/user.create", json={"name": "ana"}, headers=bearer)
    made = client.post("/api/commands/key.create", json={"name": "k", "user": "ana"}, headers=bearer)
    assert client.post("/api/session", json={"key": made.json()["data"]["key"]}).json()["name"] == "ana"
    assert client.get("/api/session").status_code == 200
    client.post("/api/commands/user.disable", json={"user": "ana"}, headers=bearer)
    assert client.get("/api/session").status_code == 401


def test_a_database_that_is_away_is_503_before_any_command(
    client: TestClient, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", None, Exception("connection refused"))

    monkeypatch.setattr(Database, "read", away)
    answer = client.post("/api/commands/key.list", json={}, headers=bearer)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "service_unavailable"
    assert answer.headers["x-should-retry"] == "true"
