"""A hub without gateway: limits, clerks and events in the words of the tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from tokenhub.budgets.store import create_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.clearing.cells import Hold
from tokenhub.clearing.clerk import Clerk
from tokenhub.clearing.verify import verify
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need, Unit
from tokenhub.metering.plain import PlainUse
from tokenhub.metering.types import UsageEvent


def an_event(request_id: str, tokens: int, **fields: object) -> UsageEvent:
    """A request that used `tokens`: all output, made by engine boot `boot_1`."""
    values: dict[str, object] = {
        "request_id": request_id,
        "at_ms": now_ms(),
        "org_id": "org_1",
        "key_id": "key_1",
        "model": "tiny",
        "engine_boot": "boot_1",
        "output_tokens": tokens,
        "created_tokens": tokens,
        "amount_nano": tokens * 7,
        **fields,
    }
    return UsageEvent(**values)  # type: ignore[arg-type]


def a_plain_use(clerk: Clerk, held: Hold, used: int, **fields: object) -> PlainUse:
    """What `an_event` says, as the gateway's short way says it."""
    number = clerk.kinds.number(an_event("", 0, path_id=held.path_id, **fields))
    return (number, held.request_id, now_ms(), 0, 0, used, used * 7, 0)


def tokens(amount: int) -> Need:
    """A need of one request with so many tokens."""
    return Need(amount, 1, amount * 7, 1)


@dataclass
class Books:
    """A database with limits, and the clerks opened on it."""

    database: Database
    settings: Settings
    clerks: list[Clerk] = field(default_factory=list)

    def limit(self, cap: int, unit: Unit = Unit.TOKENS, **fields: object) -> Limit:
        """A limit in force on key_1."""
        made = Limit(id=new_id("lim"), scope_type="key", scope_id="key_1", unit=unit, cap=cap, **fields)  # type: ignore[arg-type]
        with self.database.write("ledger") as connection:
            create_limit(connection, made, now_ms=now_ms())
        return made

    async def clerk(self, name: str = "gateway") -> Clerk:
        """A started clerk."""
        made = Clerk(self.database, self.settings, owner_name=name, loop=asyncio.get_running_loop())
        await made.start()
        self.clerks.append(made)
        return made

    async def close(self) -> None:
        """Close every clerk that is still open."""
        for clerk in self.clerks:
            await clerk.close()
        self.clerks.clear()

    def bucket(self, limit: Limit) -> dict[str, int]:
        """The newest bucket of a limit."""
        with self.database.read("ledger") as connection:
            row = connection.execute(
                text("SELECT * FROM bucket WHERE limit_id = :id ORDER BY window_start_ms DESC"),
                {"id": limit.id},
            ).first()
        return dict(row._mapping) if row else {}

    def count(self, table: str) -> int:
        """Rows of a table."""
        with self.database.read("ledger") as connection:
            return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()

    def check(self) -> None:
        """The books are whole."""
        with self.database.read("ledger") as connection:
            assert verify(connection) == []


@pytest.fixture
async def books(database: Database, settings: Settings):
    """Empty books."""
    made = Books(database, settings)
    yield made
    await made.close()


async def settled(clerk: Clerk, timeout_s: float = 5) -> None:
    """Wait until everything captured is in the books."""
    async with asyncio.timeout(timeout_s):
        while clerk.stats().backlog:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def hold(
    clerk: Clerk, path: object, wanted: int, minimum: int | None = None, request_id: str = ""
) -> Hold:
    """Authorize as a gateway does."""
    request_id = request_id or new_id("req")
    need = tokens(wanted)
    made = clerk.try_authorize(path, need, request_id, now_ms())  # type: ignore[arg-type]
    return made or await clerk.authorize(
        path,  # type: ignore[arg-type]
        wanted=need,
        minimum=tokens(wanted if minimum is None else minimum),
        request_id=request_id,
        now_ms=now_ms(),
    )


LIFETIME = Window()
