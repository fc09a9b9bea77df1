"""What a key may do: scopes, roles, and the one question `allows`.

A key carries scopes. A user's role bounds them: the key's principal has the intersection, so lowering a
role takes effect on every key of that user at the next snapshot.
"""

from collections.abc import Iterable

SCOPES: dict[str, str] = {
    "*": "everything, also what a later version adds",
    "admin": "manage the organisation: people, keys, budgets, prices, models, providers",
    "inference": "call models",
    "read": "list and show models, prices, deployments and people",
    "usage:read": "read usage, statements and balances (of oneself; with admin of everyone)",
    "keys:write": "make, rotate and revoke one's own keys",
    "work": "act in the workspace: tasks, messages, calendar, documents, drive, approvals",
}
"""Every scope and its meaning, in the words of the reference page."""

ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({"*"}),
    "admin": frozenset({"admin", "inference", "read", "usage:read", "keys:write", "work"}),
    "member": frozenset({"inference", "read", "usage:read", "keys:write", "work"}),
    "viewer": frozenset({"read", "usage:read"}),
}
"""The widest scopes that a user of each role may have."""

_ADMIN_COVERS = frozenset({"read", "usage:read", "keys:write"})


def allows(scopes: Iterable[str], permission: str) -> bool:
    """True if `scopes` cover `permission`.

    `*` covers everything; `admin` covers every permission of management, but calls no model by itself.
    """
    held = frozenset(scopes)
    if not permission or "*" in held or permission in held:
        return True
    return "admin" in held and permission in _ADMIN_COVERS


def narrow(scopes: Iterable[str], bound: Iterable[str]) -> frozenset[str]:
    """The scopes that `bound` allows; `*` within a narrower bound becomes the bound."""
    held = frozenset(scopes)
    limit = frozenset(bound)
    if "*" in limit:
        return held
    if "*" in held:
        return limit
    if "admin" in limit:
        limit |= _ADMIN_COVERS
    return held & limit


def may_grant(scopes: Iterable[str], wanted: Iterable[str]) -> bool:
    """True if the holder of `scopes` may hand out `wanted`.

    `*` grants anything; `admin` anything but `*`; everyone else what they hold, so nobody gains by a new key.
    """
    held = frozenset(scopes)
    asked = frozenset(wanted)
    return "*" in held or ("admin" in held and "*" not in asked) or asked <= held
