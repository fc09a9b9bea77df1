"""The path of a request: every limit that must agree before it may run."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tokenhub.budgets.types import Limit
from tokenhub.identity.types import Principal


class LimitBook:
    """Limits by scope, for many look-ups over one snapshot."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._by_scope: dict[tuple[str, str], list[Limit]] = defaultdict(list)
        for limit in sorted(limits, key=lambda limit: limit.id):
            self._by_scope[limit.scope_type, limit.scope_id].append(limit)

    def limits_for(self, principal: Principal, model: str) -> list[Limit]:
        """The whole path, in this order: key, parent key, user, service account, project, team, org, model."""
        scopes = (
            ("key", principal.key_id),
            ("key", principal.parent_key_id),
            ("user", principal.user_id),
            ("user", principal.service_account_id),
            ("project", principal.project_id),
            ("team", principal.team_id),
            ("org", principal.org_id),
            ("model", model),
        )
        return [
            limit
            for scope_type, scope_id in scopes
            if scope_id is not None
            for limit in self._by_scope.get((scope_type, scope_id), ())
            if limit.model is None or limit.model == model
        ]


def limits_for(limits: Sequence[Limit], principal: Principal, model: str) -> list[Limit]:
    """The path of one request; build a `LimitBook` where many are asked of the same limits."""
    return LimitBook(limits).limits_for(principal, model)
