"""Owners: one boot of one process that may hold leases."""

from sqlalchemy import Connection, delete, func, insert, select, update

from tokenhub.db.driver import Cursor, sql
from tokenhub.ledger.tables import lease, owner, recall

_LOCK = sql("SELECT id FROM owner WHERE id = ?", lock="FOR UPDATE")
_STAMP = sql("UPDATE owner SET batch = ? WHERE id = ? AND batch < ?")


def open_owner(
    connection: Connection, owner_id: str, *, name: str, journal: str, pid: int, now_ms: int
) -> None:
    """Register; `journal` is `<host>:<folder>` of its journal."""
    connection.execute(
        insert(owner).values(
            id=owner_id, name=name, journal=journal, pid=pid, opened_at_ms=now_ms, closed_at_ms=None, batch=0
        )
    )


def close_owner(connection: Connection, owner_id: str, *, now_ms: int) -> None:
    """Forget its leases (they must be empty or released already) and mark it closed."""
    connection.execute(delete(lease).where(lease.c.owner_id == owner_id, lease.c.amount == 0))
    connection.execute(delete(recall).where(recall.c.owner_id == owner_id))
    connection.execute(
        update(owner)
        .where(owner.c.id == owner_id, owner.c.closed_at_ms.is_(None))
        .values(closed_at_ms=now_ms)
    )


def lock(connection: Connection, owner_id: str) -> None:
    """Let nobody else settle for this owner until the transaction ends."""
    Cursor(connection).all(_LOCK, (owner_id,))


def stamp_batch(connection: Connection, owner_id: str, serial: int) -> bool:
    """Mark settlement `serial` as part of this transaction; False if it was committed before.

    So a settlement whose commit was not acknowledged is tried again without being done twice.
    """
    return Cursor(connection).run(_STAMP, (serial, owner_id, serial)) == 1


def count_open(connection: Connection) -> int:
    """Owners that may hold leases now."""
    return connection.execute(
        select(func.count()).select_from(owner).where(owner.c.closed_at_ms.is_(None))
    ).scalar_one()


def open_owners(connection: Connection, *, journal: str | None = None) -> list[str]:
    """Ids of owners that are not closed, of one journal folder or of all."""
    query = select(owner.c.id).where(owner.c.closed_at_ms.is_(None)).order_by(owner.c.id)
    if journal is not None:
        query = query.where(owner.c.journal == journal)
    return list(connection.execute(query).scalars())
