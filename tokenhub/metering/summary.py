"""Usage added up: by day, model, key, user, team and so on; and the totals an engine is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Row, String, case, func, literal, select

from tokenhub.identity.types import Principal
from tokenhub.kernel.usage import FIELDS
from tokenhub.metering.tables import engine_count, usage_event

GroupBy = Literal[
    "total", "day", "model", "key", "user", "team", "project", "app", "endpoint", "source", "deployment"
]
DAY_MS = 86_400_000

_PROMPT = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_long_tokens",
    "audio_input_tokens", "image_input_tokens",
)  # fmt: skip
_COMPLETION = tuple(name for name in FIELDS if name not in _PROMPT)


@dataclass(frozen=True, slots=True)
class UsageScope:
    """Whose usage: an organisation, narrowed by what is not None."""

    org_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group."""

    group: str
    requests: int
    prompt_tokens: int
    cache_read_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    amount_nano: int
    errors: int
    """Requests that ended with an HTTP status of 400 or more."""


@dataclass(frozen=True, slots=True)
class EngineSum:
    """What the books say of one engine boot. Prompt tokens exclude those found in the cache."""

    engine_boot: str
    requests: int
    prompt_tokens: int
    created_tokens: int
    delivered_tokens: int
    undelivered_tokens: int
    last_at_ms: int
    """When the newest of its requests was captured."""


@dataclass(frozen=True, slots=True)
class EngineCount:
    """What an engine itself counted since its boot."""

    engine_boot: str
    at_ms: int
    prompt_tokens: int
    output_tokens: int


def visible(principal: Principal, scope: UsageScope) -> UsageScope:
    """`scope`, narrowed to what the principal may see: its organisation, or itself alone without `admin`."""
    own_user, own_key = scope.user_id, scope.key_id
    if not principal.allows("admin"):
        own_user = principal.user_id
        own_key = principal.key_id if principal.user_id is None else scope.key_id
    return UsageScope(principal.org_id, scope.team_id, scope.project_id, own_user, own_key, scope.model)


def summarize(
    connection: Connection, scope: UsageScope, *, by: GroupBy, since_ms: int, until_ms: int, limit: int = 1000
) -> list[UsageLine]:
    """Sums in [since_ms, until_ms), per group; days are UTC. Largest groups first, days in order."""
    group = _group(by)
    total = total_tokens()
    columns = [
        func.count(),
        func.sum(_sum(_PROMPT)),
        func.sum(usage_event.c.cache_read_tokens),
        func.sum(_sum(_COMPLETION)),
        func.sum(usage_event.c.reasoning_tokens),
        func.sum(total),
        func.sum(usage_event.c.amount_nano),
        func.sum(case((usage_event.c.status >= 400, 1), else_=0)),
    ]
    query = (
        select(group.label("g"), *columns)
        .where(usage_event.c.at_ms >= since_ms, usage_event.c.at_ms < until_ms, *scope_filter(scope))
        .group_by("g")
        .order_by("g" if by == "day" else func.sum(total).desc())
        .limit(limit)
    )
    return [_line(row, by) for row in connection.execute(query)]


def engine_sums(connection: Connection) -> list[EngineSum]:
    """The books' own numbers per boot of our engines."""
    prompt = _sum(_PROMPT) - usage_event.c.cache_read_tokens
    query = (
        select(
            usage_event.c.engine_boot,
            func.count(),
            func.sum(prompt),
            func.sum(usage_event.c.created_tokens),
            func.sum(_sum(_COMPLETION)),
            func.sum(usage_event.c.undelivered_tokens),
            func.max(usage_event.c.at_ms),
        )
        .where(usage_event.c.engine_boot != "")
        .group_by(usage_event.c.engine_boot)
        .order_by(usage_event.c.engine_boot)
    )
    return [EngineSum(row[0], *[int(value) for value in row[1:]]) for row in connection.execute(query)]


def engine_counts(connection: Connection) -> list[EngineCount]:
    """The engines' own numbers."""
    rows = connection.execute(select(engine_count).order_by(engine_count.c.engine_boot))
    return [EngineCount(row.engine_boot, row.at_ms, row.prompt_tokens, row.output_tokens) for row in rows]


def unbalanced_requests(connection: Connection, *, limit: int) -> list[str]:
    """Requests of our engines whose created tokens are not delivered + undelivered."""
    query = (
        select(usage_event.c.request_id)
        .where(usage_event.c.engine_boot != "")
        .where(usage_event.c.created_tokens != _sum(_COMPLETION) + usage_event.c.undelivered_tokens)
        .order_by(usage_event.c.request_id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def path_sums(
    connection: Connection,
    *,
    without: Sequence[str],
    path_ids: Sequence[str] | None = None,
    since_ms: int | None = None,
) -> dict[str, tuple[int, int, int]]:
    """path id -> (tokens, requests, nano) of all events on it, leaving out the requests in `without`."""
    query = select(
        usage_event.c.path_id, func.sum(total_tokens()), func.count(), func.sum(usage_event.c.amount_nano)
    ).group_by(usage_event.c.path_id)
    if path_ids is not None:
        query = query.where(usage_event.c.path_id.in_(path_ids))
    if since_ms is not None:
        query = query.where(usage_event.c.at_ms >= since_ms)
    sums = {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in connection.execute(query)}
    for start in range(0, len(without), 500):
        chunk = without[start : start + 500]
        for row in connection.execute(query.where(usage_event.c.request_id.in_(chunk))):
            old = sums[row[0]]
            sums[row[0]] = (old[0] - int(row[1]), old[1] - int(row[2]), old[2] - int(row[3]))
    return sums


def total_tokens() -> ColumnElement[int]:
    """Every token of an event, as SQL."""
    return _sum(FIELDS)


def _sum(names: Sequence[str]) -> ColumnElement[int]:
    total: ColumnElement[int] = usage_event.c[names[0]]
    for name in names[1:]:
        total = total + usage_event.c[name]
    return total


def _group(by: GroupBy) -> ColumnElement[str] | ColumnElement[int]:
    match by:
        case "total":
            return literal("total", String)
        case "day":
            return usage_event.c.at_ms - usage_event.c.at_ms % DAY_MS
        case "model" | "app" | "endpoint" | "source":
            return usage_event.c[by]
        case _:
            return func.coalesce(usage_event.c[f"{by}_id"], "")


def scope_filter(scope: UsageScope) -> list[ColumnElement[bool]]:
    """The scope as conditions on `usage_event`."""
    named = {
        "org_id": scope.org_id,
        "team_id": scope.team_id,
        "project_id": scope.project_id,
        "user_id": scope.user_id,
        "key_id": scope.key_id,
        "model": scope.model,
    }
    return [usage_event.c[name] == value for name, value in named.items() if value is not None]


def _line(row: Row[tuple[object, ...]], by: GroupBy) -> UsageLine:
    group = str(row[0])
    if by == "day":
        group = datetime.fromtimestamp(int(group) / 1000, UTC).strftime("%Y-%m-%d")
    return UsageLine(group, *[int(str(value)) for value in row[1:]])
