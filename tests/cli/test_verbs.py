"""Verbs from the terminal: the same door in process and over HTTP."""

import json

import pytest

from tests.cli.conftest import Hub
from tokenhub.config import Settings
from tokenhub.identity.first_run import FirstRun


def test_before_the_first_start_it_says_what_to_do(hub: Hub, environment: Settings) -> None:
    ran = hub("key", "list")
    assert ran.code == 6 and not ran.out
    assert "hub up" in ran.err


def _round(hub: Hub) -> None:
    made = hub("key", "create", "laptop", "--model", "a,b", "--model", "c", "--json")
    assert made.code == 0 and made.json["ok"] and made.json["data"]["key"].startswith("sk-th-")
    shown = hub("key", "show", "laptop", "--json").json["data"]
    assert shown["models"] == ["a", "b", "c"] and shown["status"] == "live"
    listed = hub("key", "list")
    assert listed.out.splitlines()[0].split() == ["ID", "NAME", "PREFIX", "OWNER", "SCOPES", "STATUS"]
    assert "laptop" in listed.out and made.json["data"]["key"] not in listed.out
    assert hub("key").out == listed.out
    for arguments, code in (
        (("key", "show", "nobody"), 3),
        (("key", "create"), 2),
        (("key", "create", "x", "--expires-in", "soon"), 2),
        (("team", "create", "t"), 0),
        (("team", "create", "t"), 5),
        (("user", "create", "ana", "--dry-run"), 0),
        (("user", "show", "ana"), 3),
    ):
        assert hub(*arguments).code == code, arguments
    once = hub("team", "create", "u", "--idempotency-key", "k", "--json").json
    again = hub("team", "create", "u", "--idempotency-key", "k", "--json").json
    assert again["replayed"] and again["data"] == once["data"]


def test_a_round_in_process(hub: Hub, started: FirstRun) -> None:
    _round(hub)


def test_a_round_over_http(hub: Hub, running: str) -> None:
    _round(hub)


def test_a_key_of_less_rights_is_refused_over_http(
    hub: Hub, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = hub("key", "create", "weak", "--json").json["data"]["key"]
    monkeypatch.setenv("TOKENHUB_API_KEY", weak)
    refused = hub("user", "create", "ana")
    assert refused.code == 4 and "admin" in refused.err and not refused.out
    monkeypatch.setenv("TOKENHUB_API_KEY", "sk-th-unknown")
    refused = hub("key", "list", "--json")
    assert refused.code == 4 and refused.json["error"]["code"] == "invalid_api_key"


def test_a_named_hub_that_does_not_answer(
    hub: Hub, started: FirstRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENHUB_URL", "http://hub.test:9")
    assert hub("key", "list").code == 2  # this machine's own key goes to no other machine
    monkeypatch.setenv("TOKENHUB_URL", "http://127.0.0.1:9")
    ran = hub("key", "list")
    assert ran.code == 6 and "No hub answers" in ran.err and "hub up" in ran.err
    monkeypatch.setenv("TOKENHUB_URL", "ftp://127.0.0.1:9")
    assert "is not a URL" in hub("key", "list", "--json").json["error"]["message"]
    for odd in ("http://[::1", "http://127.0.0.1:99999"):
        monkeypatch.setenv("TOKENHUB_URL", odd)
        monkeypatch.setenv("TOKENHUB_API_KEY", "k")
        assert "is not a URL" in hub("key", "list", "--json").json["error"]["message"]


@pytest.mark.parametrize("url", ["", "postgresql://u:hidden-word@127.0.0.1:9/x"])
def test_a_database_that_cannot_be_used_is_one_sentence(
    hub: Hub, environment: Settings, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TOKENHUB_DATABASE_URL", url)
    environment.home.mkdir(exist_ok=True)
    (environment.home / "hub.db").write_text("this is no database, " * 100)
    ran = hub("key", "list", "--json")
    assert ran.code == 6 and ran.err.startswith("hub: The database cannot be used: ")
    assert len(ran.err.splitlines()) == 1 and "hidden-word" not in ran.err
    assert ran.json["error"]["code"] == "database_unusable"


def test_a_note_of_a_hub_that_died_is_not_believed(
    hub: Hub, started: FirstRun, environment: Settings
) -> None:
    environment.run_dir.mkdir()
    note = {"url": "http://127.0.0.1:9", "pid": 2**22 + 1, "started_at_ms": 0}
    (environment.run_dir / "hub.json").write_text(json.dumps(note))
    assert hub("org", "show").code == 0


def test_answers_for_people_are_sentences_on_the_right_stream(hub: Hub, started: FirstRun) -> None:
    made = hub("key", "create", "k")
    assert "sk-th-" in made.out and "shown once" in made.err
    dry = hub("key", "create", "d", "--dry-run")
    assert "sk-th-" not in dry.out.replace("prefix   sk-th-", "") and "nothing was changed" in dry.err
    empty = hub("team", "list")
    assert empty.out == "No teams.\n"
