"""`INSERT … ON CONFLICT` in the dialect of the connection. The dialect that is not in use is never loaded: it costs
every process some megabytes and a tenth of a second."""

import importlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert


def insert_for(connection: Connection, table: Table) -> "Insert":
    """An insert that has `on_conflict_do_nothing()`, which both dialects spell the same."""
    dialect: Any = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    return dialect.insert(table)
