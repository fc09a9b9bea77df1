"""Scopes: what covers what."""

from tokenhub.identity.scopes import ROLES, SCOPES, allows, narrow


def test_star_covers_everything_and_admin_calls_no_model() -> None:
    assert allows({"*"}, "admin") and allows({"*"}, "inference")
    assert allows({"admin"}, "usage:read") and not allows({"admin"}, "inference")
    assert not allows({"inference"}, "read") and allows({"inference"}, "")


def test_a_role_bounds_a_key() -> None:
    assert narrow({"*"}, ROLES["viewer"]) == ROLES["viewer"]
    assert narrow({"admin", "inference"}, ROLES["member"]) == {"inference"}
    assert narrow({"read"}, {"admin"}) == {"read"}
    assert narrow({"inference"}, ROLES["owner"]) == {"inference"}


def test_roles_speak_known_scopes() -> None:
    assert all(scopes <= SCOPES.keys() for scopes in ROLES.values())
