"""Statements of metering: writing usage events in bulk, reading them back."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, text

from tokenhub.db.driver import Cursor, Sql, int_array, placeholders, sql
from tokenhub.metering.groups import Group, PlainGroup, groups_of, kind_hash
from tokenhub.metering.groups import digest as digest_of_groups
from tokenhub.metering.plain import PLAIN_COLUMNS, PLAIN_WIDTH
from tokenhub.metering.summary import UsageScope, scope_filter
from tokenhub.metering.tables import usage_event, usage_line
from tokenhub.metering.types import KIND_FIELDS, LINE_FIELDS, SELDOM_FIELDS, Kind, UsageEvent
from tokenhub.metering.uses import values_of

_CHUNKS = (48, 16, 4, 1)


class _Insert:
    """Statements that write lines: request id, the columns of these numbers, kind."""

    def __init__(self, numbers: Sequence[str]) -> None:
        self.width = len(numbers) + 2
        self.picked = [LINE_FIELDS.index(name) for name in ("request_id", *numbers)]
        """Which of a group's columns."""
        words = f"INSERT INTO usage_line (transfer_id, request_id, {', '.join(numbers)}, kind_id) "
        row = "(?1, " + ", ".join("?" * self.width) + ")"
        self.rows = {size: Sql(words + "VALUES " + ", ".join([row] * size), "") for size in _CHUNKS}
        arrays = ", ".join(["%s::text[]", *["%s::bigint[]"] * (self.width - 1)])
        self.arrays = Sql("", f"{words} SELECT %s::text, u.* FROM unnest({arrays}) AS u")


class _InsertPlain:
    """Statements that write lines of plain uses, whose place of a number is taken by the kind's id."""

    def __init__(self) -> None:
        places = {name: place for name, place in zip(LINE_FIELDS[1:], PLAIN_COLUMNS, strict=True) if place}
        names = ", ".join(["transfer_id", "kind_id", "request_id", *places])
        own = [0, 1, *places.values()]
        rows = [
            f"(?1, {', '.join(f'?{2 + row * PLAIN_WIDTH + place}' for place in own)})"
            for row in range(_CHUNKS[0])
        ]
        self.rows = {
            size: Sql(f"INSERT INTO usage_line ({names}) VALUES {', '.join(rows[:size])}", "")
            for size in _CHUNKS
        }


_EVERYTHING = _Insert(LINE_FIELDS[1:])
_COMMON = _Insert([name for name in LINE_FIELDS[1:] if name not in SELDOM_FIELDS])
_PLAIN = _InsertPlain()
_NEW_KIND = sql(
    f"INSERT INTO usage_kind (hash, {', '.join(KIND_FIELDS)}) VALUES {placeholders(len(KIND_FIELDS) + 1, 1)}"
    " ON CONFLICT (hash) DO NOTHING"
)
_KIND_ID = sql("SELECT id FROM usage_kind WHERE hash = ?")
_OLD_DIGEST_ROWS = 64
_old_row = attrgetter(
    "request_id", "at_ms", "org_id", "team_id", "project_id", "user_id", "key_id", "app", "model", "deployment_id",
    "engine_boot", "endpoint", "service_tier", "price_version_id", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "cache_write_long_tokens", "output_tokens", "reasoning_tokens", "audio_input_tokens",
    "audio_output_tokens", "image_input_tokens", "image_output_tokens", "created_tokens", "undelivered_tokens",
    "amount_nano", "currency", "source", "finish", "status", "stream", "latency_ms", "ttft_ms", "path_id",
    "overage_tokens", "overage_nano",
)  # fmt: skip
_encode = msgspec.json.Encoder().encode


def insert_events(connection: Connection, events: Sequence[UsageEvent], *, transfer_id: str) -> None:
    """Write the events of one settlement, none of which may be there already."""
    insert_groups(Cursor(connection), groups_of(events), transfer_id=transfer_id, kind_ids={})


def insert_groups(
    cursor: Cursor, groups: Sequence[Group], *, transfer_id: str, kind_ids: dict[Kind, int]
) -> None:
    """Write the lines of one settlement, and the kinds that are not in `kind_ids` yet, in their order of hash.

    kind_ids: what the caller knows of kinds in the books; it learns the new ones, which count once this is committed.

    SQLite: many rows a statement are the cheapest per row and take the interpreter lock seldom. PostgreSQL: an array for
    each column.
    """
    for name, kind in sorted(
        (kind_hash(group.kind), group.kind) for group in groups if group.kind not in kind_ids
    ):
        cursor.run(_NEW_KIND, (name, *kind))
        kind_ids[kind] = cursor.all(_KIND_ID, (name,))[0][0]
    if not cursor.on_postgres:
        _insert_plain(cursor, groups, transfer_id, kind_ids)
        groups = [group for group in groups if not isinstance(group, PlainGroup)]
    insert = _EVERYTHING if any(group.seldom for group in groups) else _COMMON
    of_groups = [group.columns() for group in groups]
    columns = [list(chain.from_iterable(own[number] for own in of_groups)) for number in insert.picked]
    columns.append(list(chain.from_iterable([kind_ids[group.kind]] * group.count for group in groups)))
    if cursor.on_postgres:
        cursor.run(insert.arrays, (transfer_id, columns[0], *map(int_array, columns[1:])))
        return
    start, width = 0, insert.width
    for size in _CHUNKS:
        values: list[object] = [transfer_id] * (1 + size * width)
        while len(columns[0]) - start >= size:
            for number, column in enumerate(columns, start=1):
                values[number::width] = column[start : start + size]
            cursor.run(insert.rows[size], values)
            start += size


def _insert_plain(
    cursor: Cursor, groups: Sequence[Group], transfer_id: str, kind_ids: dict[Kind, int]
) -> None:
    rest: list[Any] = []  # of every group what does not fill a statement
    most = _CHUNKS[0]
    for group in groups:
        if not isinstance(group, PlainGroup):
            continue
        lines, kind_id, at, left = group.uses.lines, kind_ids[group.kind], 0, group.count
        while left >= most:
            some, at = values_of(lines, at, most, transfer_id, kind_id)
            cursor.run(_PLAIN.rows[most], some)
            left -= most
        rest += values_of(lines, at, left, transfer_id, kind_id)[0][1:]
    start = 0
    for size in _CHUNKS:
        width = size * PLAIN_WIDTH
        while len(rest) - start >= width:
            cursor.run(_PLAIN.rows[size], [transfer_id, *rest[start : start + width]])
            start += width


def known_requests(connection: Connection, request_ids: Iterable[str]) -> set[str]:
    """Which of these requests are in the books already."""
    ids = list(request_ids)
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        query = select(usage_line.c.request_id).where(usage_line.c.request_id.in_(ids[start : start + 500]))
        found.update(connection.execute(query).scalars())
    return found


def get_event(connection: Connection, request_id: str) -> tuple[UsageEvent, str] | None:
    """The event of a request and the id of the transfer that settled it."""
    row = connection.execute(select(usage_event).where(usage_event.c.request_id == request_id)).first()
    return None if row is None else event_of(row)


def used_by_key(connection: Connection, key_id: str, *, since_ms: int) -> list[UsageEvent]:
    """Every event of a key since an instant, oldest first."""
    query = select(usage_event).where(usage_event.c.at_ms >= since_ms, usage_event.c.key_id == key_id)
    return [event_of(row)[0] for row in connection.execute(query.order_by(usage_event.c.at_ms))]


def event_of(row: Row[Any]) -> tuple[UsageEvent, str]:
    """A full row of `usage_event` -> (event, transfer id)."""
    fields = dict(row._mapping)  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's documented name
    transfer_id = fields.pop("transfer_id")
    return UsageEvent(**fields), transfer_id


def events_by_transfer(connection: Connection) -> Iterable[tuple[UsageEvent, str]]:
    """Every event with its transfer, grouped by transfer, streamed."""
    query = select(usage_event).order_by(usage_event.c.transfer_id, usage_event.c.request_id)
    for row in connection.execution_options(yield_per=1000).execute(query):
        yield event_of(row)


def has_digest(events: Sequence[UsageEvent], digest: str) -> bool:
    """True if these are exactly the events that a transfer with this `events_sha256` settled."""
    return digest == digest_of_groups(groups_of(events)) or digest == _old_digest(events)


def _old_digest(events: Sequence[UsageEvent]) -> str:
    """What transfers said before kinds were kept apart: sha256 over one JSON array."""
    ordered, found = sorted(events, key=lambda event: event.request_id), hashlib.sha256(b"[")
    for start in range(0, len(ordered), _OLD_DIGEST_ROWS):
        rows = [_old_row(event) for event in ordered[start : start + _OLD_DIGEST_ROWS]]
        found.update((b"," if start else b"") + _encode(rows)[1:-1])
    found.update(b"]")
    return found.hexdigest()


def record_engine_count(
    connection: Connection, engine_boot: str, *, at_ms: int, prompt_tokens: int, output_tokens: int
) -> None:
    """What an engine says it made since its boot (its own counters; prompt tokens processed, cached excluded)."""
    connection.execute(
        text(
            "INSERT INTO engine_count (engine_boot, at_ms, prompt_tokens, output_tokens)"
            " VALUES (:boot, :at_ms, :prompt, :output) ON CONFLICT (engine_boot) DO UPDATE"
            " SET at_ms = excluded.at_ms, prompt_tokens = excluded.prompt_tokens,"
            " output_tokens = excluded.output_tokens WHERE excluded.at_ms >= engine_count.at_ms"
        ),
        {"boot": engine_boot, "at_ms": at_ms, "prompt": prompt_tokens, "output": output_tokens},
    )


def list_events(
    connection: Connection, scope: UsageScope, *, since_ms: int, until_ms: int, before: str | None, limit: int
) -> list[tuple[UsageEvent, str]]:
    """Events of a scope in [since_ms, until_ms), newest first, with their transfers; `before` pages by request id."""
    query = (
        select(usage_event)
        .where(usage_event.c.at_ms >= since_ms, usage_event.c.at_ms < until_ms, *scope_filter(scope))
        .order_by(usage_event.c.request_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(usage_event.c.request_id < before)
    return [event_of(row) for row in connection.execute(query)]
