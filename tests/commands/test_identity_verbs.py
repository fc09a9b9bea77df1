"""The verbs of identity: they work, and nobody gains rights by them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.commands.conftest import Call
from tokenhub.db.engine import Database
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Unauthenticated


def _data(envelope: Any) -> dict[str, Any]:
    assert envelope.ok, envelope
    return envelope.data


def _who(database: Database, secret: str) -> Principal:
    with database.read("hub") as connection:
        return authenticate(connection, secret)


def _member(call: Call, database: Database, name: str = "ana", **extra: Any) -> Principal:
    _data(call("user.create", {"name": name, **extra}))
    scopes = ["inference", "read", "usage:read", "keys:write"]
    made = _data(call("key.create", {"name": name, "user": name, "scopes": scopes}))
    return _who(database, made["key"])


def test_a_key_goes_round(call: Call, database: Database) -> None:
    made = _data(call("key.create", {"name": "laptop", "models": ["tiny"], "expires_in": "90d"}))
    who = _who(database, made["key"])
    assert who.models == {"tiny"} and made["prefix"] == made["key"][:10]
    shown = _data(call("key.show", {"key": "laptop"}))
    assert shown["id"] == made["id"] and shown["status"] == "live" and "key" not in shown
    assert _data(call("key.show", {"key": made["prefix"]}))["id"] == made["id"]
    turned = _data(call("key.rotate", {"key": "laptop", "overlap": "0s"}))
    assert turned["id"] == made["id"] and _who(database, turned["key"]).key_id == made["id"]
    with pytest.raises(Unauthenticated):
        _who(database, made["key"])
    assert _data(call("key.revoke", {"key": made["id"]}))["was_live"]
    with pytest.raises(Unauthenticated):
        _who(database, turned["key"])
    assert _data(call("key.show", {"key": made["id"]}))["status"] == "revoked"


def test_lists_page_by_cursor(call: Call) -> None:
    for number in range(5):
        _data(call("team.create", {"name": f"t{number}"}))
    first = _data(call("team.list", {"limit": 3}))
    rest = _data(call("team.list", {"limit": 3, "cursor": first["next_cursor"]}))
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert len(first["items"]) == 3 and len(set(ids)) == 5 and ids == sorted(ids, reverse=True)
    assert rest["next_cursor"] is None
    for cursor in ("%%%", "AAAA", "gICA"):
        assert call("team.list", {"cursor": cursor}).error.code == "invalid_cursor"


def test_a_member_sees_and_makes_only_their_own_keys(call: Call, database: Database) -> None:
    ana = _member(call, database)
    names = [item["name"] for item in _data(call("key.list", by=ana))["items"]]
    assert names == ["ana"]
    assert _data(call("key.create", {"name": "second"}, by=ana))["key"]
    refusals = (
        ("key.create", {"name": "x", "scopes": ["admin"]}),
        ("key.create", {"name": "x", "scopes": ["*"]}),
        ("key.create", {"name": "x", "user": "admin"}),
        ("login-link.create", {"user": "admin"}),
        ("user.create", {"name": "x"}),
        ("user.disable", {"user": "admin"}),
    )
    for name, raw in refusals:
        assert call(name, raw, by=ana).error.status == 403, name
    _data(call("key.create", {"name": "ana"}))  # another person's key of the same name hides nothing
    assert _data(call("key.show", {"key": "ana"}, by=ana))["id"] == ana.key_id
    assert call("key.show", {"key": "admin"}, by=ana).error.status == 404
    assert call("key.revoke", {"key": "admin"}, by=ana).error.status == 404


def test_an_admin_cannot_become_owner(call: Call, database: Database) -> None:
    _data(call("user.create", {"name": "bob", "role": "admin"}))
    made = _data(call("key.create", {"name": "bob", "user": "bob", "scopes": ["admin"]}))
    bob = _who(database, made["key"])
    assert call("login-link.create", {"user": "admin"}, by=bob).error.status == 403
    assert call("user.create", {"name": "x", "role": "owner"}, by=bob).error.status == 403
    assert call("user.disable", {"user": "admin"}, by=bob).error.status == 403
    assert call("key.create", {"name": "x", "scopes": ["*"]}, by=bob).error.status == 403
    assert call("key.rotate", {"key": "admin"}, by=bob).error.status == 403
    assert _data(call("key.create", {"name": "x", "scopes": ["inference"]}, by=bob))["key"]


def test_a_role_bounds_the_keys_of_its_user(call: Call, database: Database) -> None:
    _data(call("user.create", {"name": "vi", "role": "viewer"}))
    made = _data(call("key.create", {"name": "vi", "user": "vi"}))
    assert _who(database, made["key"]).scopes == {"read", "usage:read"}


def test_a_bounded_key_makes_no_wider_key(call: Call, database: Database, admin: Principal) -> None:
    bounded = replace(admin, models=frozenset({"tiny"}), expires_at_ms=2_000_000_000_000)
    made = _data(call("key.create", {"name": "x", "expires_in": "52w"}, by=bounded))
    assert _who(database, made["key"]).models == {"tiny"}
    assert made["expires_at_ms"] <= 2_000_000_000_000
    assert call("key.create", {"name": "x", "models": ["big"]}, by=bounded).error.status == 403
    child = replace(admin, parent_key_id=admin.key_id, app="assistant")
    assert call("key.create", {"name": "x"}, by=child).error.status == 403
    assert call("login-link.create", {}, by=child).error.status == 403


def test_a_bounded_key_gets_no_wider_secret(call: Call, database: Database) -> None:
    member = _member(call, database)
    wide = _data(call("key.create", {"name": "wide"}, by=member))
    assert call("key.rotate", {"key": wide["id"]}, by=member).ok
    for bounded in (
        replace(member, models=frozenset({"tiny"})),
        replace(member, expires_at_ms=2_000_000_000_000),
    ):
        assert call("key.rotate", {"key": wide["id"]}, by=bounded).error.status == 403
        assert call("login-link.create", {}, by=bounded).error.status == 403
        narrow = _data(call("key.create", {"name": "narrow", "expires_in": "1d"}, by=bounded))
        assert call("key.rotate", {"key": narrow["id"]}, by=bounded).ok


def test_teams_projects_and_service_accounts_place_a_key(call: Call, database: Database) -> None:
    team = _data(call("team.create", {"name": "research"}))
    ana = _member(call, database, team="research")
    assert ana.team_id == team["id"]
    project = _data(call("project.create", {"name": "search", "team": "research"}))
    _data(call("service-account.create", {"name": "ci", "project": "search"}))
    made = _data(call("key.create", {"name": "ci", "service_account": "ci"}))
    who = _who(database, made["key"])
    assert (who.project_id, who.team_id, who.user_id) == (project["id"], team["id"], None)
    assert _data(call("team.list"))["items"][0]["members"] == ["ana"]
    second = _data(call("team.create", {"name": "second"}))
    _data(call("team.add", {"team": "second", "user": "ana"}))
    _data(call("team.remove", {"team": "research", "user": "ana"}))
    assert _data(call("user.show", {"user": "ana"}))["team_id"] == second["id"]
    assert _data(call("project.list"))["items"][0]["name"] == "search"
    assert _data(call("service-account.list"))["items"][0]["name"] == "ci"
    assert _data(call("org.show"))["name"] == "default"


def test_disabling_a_person_ends_their_keys(call: Call, database: Database) -> None:
    made = _data(call("user.create", {"name": "ana"}))
    key = _data(call("key.create", {"name": "k", "user": made["id"]}))["key"]
    assert _data(call("user.disable", {"user": "ana"}))["disabled_at_ms"]
    with pytest.raises(Unauthenticated, match="disabled"):
        _who(database, key)
    assert call("user.disable", {"user": "admin"}).error.status == 409
    assert call("user.create", {"name": "ana"}).error.code == "name_taken"
    assert call("user.create", {"name": "x", "role": "king"}).error.param == "role"
    assert call("user.show", {"user": "nobody"}).error.code == "user_not_found"
    assert {item["name"] for item in _data(call("user.list"))["items"]} == {"ana", "admin"}
