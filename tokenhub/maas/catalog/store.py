"""Entries: the built-in ones and those that were added."""

import json

from sqlalchemy import Connection, RowMapping, delete, insert, select

from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.maas.catalog.builtin import BUILTIN
from tokenhub.maas.catalog.tables import models
from tokenhub.maas.catalog.types import ModelEntry, SourceRef


def list_entries(connection: Connection) -> list[ModelEntry]:
    """Every entry: built-in first, then added ones by name."""
    rows = connection.execute(select(models).order_by(models.c.name)).mappings()
    return [*BUILTIN, *(_entry(row) for row in rows)]


def get_entry(connection: Connection, name: str) -> ModelEntry:
    """The entry of this name. Raises: NotFound, naming what there is."""
    entries = {entry.name: entry for entry in list_entries(connection)}
    found = entries.get(name)
    if found is None:
        raise NotFound(
            f"The catalogue has no model {name!r}; it has {', '.join(entries)}. "
            "Add a file with `hub model add PATH`.",
            code="model_not_found",
            param="model",
        )
    return found


def insert_entry(connection: Connection, entry: ModelEntry) -> None:
    """Add an entry. Raises: Conflict if the name is taken by other content."""
    existing = {known.name: known for known in list_entries(connection)}.get(entry.name)
    if existing is not None:
        if existing.sha256 == entry.sha256:
            return
        raise Conflict(
            f"There is another model called {entry.name!r}; choose a name with --name.",
            code="model_exists",
            param="name",
        )
    connection.execute(
        insert(models).values(
            name=entry.name,
            title=entry.title,
            licence=entry.licence,
            size_bytes=entry.size_bytes,
            sha256=entry.sha256,
            kinds=json.dumps(sorted(entry.kinds)),
            context_tokens=entry.context_tokens,
            sources=json.dumps([[source.kind, source.address] for source in entry.sources]),
            template=entry.template,
            pooling=entry.pooling,
            note=entry.note,
            created_at_ms=now_ms(),
        )
    )


def delete_entry(connection: Connection, name: str) -> None:
    """Forget an added entry; built-in ones stay."""
    connection.execute(delete(models).where(models.c.name == name))


def _entry(row: RowMapping) -> ModelEntry:
    return ModelEntry(
        name=row["name"],
        title=row["title"],
        licence=row["licence"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        kinds=frozenset(json.loads(row["kinds"])),
        context_tokens=row["context_tokens"],
        sources=tuple(SourceRef(kind, address) for kind, address in json.loads(row["sources"])),
        template=row["template"],
        pooling=row["pooling"],
        note=row["note"],
    )
