"""Which limits a request touches."""

from tokenhub.budgets.paths import limits_for
from tokenhub.budgets.types import Limit, ScopeType
from tokenhub.identity.types import Principal
from tokenhub.ledger.types import Unit


def limit(scope_type: ScopeType, scope_id: str, model: str | None = None) -> Limit:
    return Limit(f"lim_{scope_type}_{scope_id}_{model}", scope_type, scope_id, Unit.TOKENS, 1, model=model)


def test_the_whole_path_in_order() -> None:
    who = Principal(
        "key_1", "org_1", "team_1", "proj_1", "user_1", None, frozenset(), None, None, "", "key_0"
    )
    limits = [
        limit("model", "m"), limit("org", "org_1"), limit("team", "team_1"), limit("project", "proj_1"),
        limit("user", "user_1"), limit("key", "key_0"), limit("key", "key_1"), limit("key", "key_2"),
        limit("org", "org_1", "other"), limit("user", "user_1", "m"),
    ]  # fmt: skip
    path = [(found.scope_type, found.scope_id, found.model) for found in limits_for(limits, who, "m")]
    assert path == [
        ("key", "key_1", None), ("key", "key_0", None), ("user", "user_1", None), ("user", "user_1", "m"),
        ("project", "proj_1", None), ("team", "team_1", None), ("org", "org_1", None), ("model", "m", None),
    ]  # fmt: skip
