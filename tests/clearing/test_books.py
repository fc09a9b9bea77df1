"""After the fact: statements, proofs, corrections, conservation."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.clearing.conftest import Books, an_event, hold, settled
from tokenhub.budgets.types import Window
from tokenhub.clearing.applied import mark_applied
from tokenhub.clearing.corrections import correct
from tokenhub.clearing.reconcile import QUIET_MS, ResidualSweep, post_residual, reconcile
from tokenhub.clearing.statements import statement, statement_line
from tokenhub.clearing.verify import verify
from tokenhub.db.migrate import migrate
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound
from tokenhub.ledger.store import balance, balances
from tokenhub.metering.store import events_by_transfer, record_engine_count
from tokenhub.metering.summary import UsageScope, summarize

WHO = Principal("key_1", "org_1", None, None, "user_1", None, frozenset({"*"}), None, None, "", None)


async def three_requests(books: Books) -> list[str]:
    """req ids of three settled requests of 10, 20 and 30 tokens under a lifetime and a rolling limit."""
    limits = [books.limit(1000), books.limit(1000, window=Window("rolling", "day"))]
    clerk = await books.clerk()
    path = clerk.path(limits)
    ids: list[str] = []
    for amount in (10, 20, 30):
        held = await hold(clerk, path, 50)
        clerk.capture(held, an_event(held.request_id, amount, user_id="user_1" if amount < 30 else "user_2"))
        ids.append(held.request_id)
        await asyncio.sleep(0.002)  # ids are ordered by the millisecond
    await settled(clerk)
    await books.close()
    return ids


async def test_statement_lines(books: Books) -> None:
    ids = await three_requests(books)
    with books.database.read("ledger") as connection:
        line = statement_line(connection, ids[1])
        assert line is not None and line.event.total_tokens == 20 and len(line.transfer_hash) == 64
        assert statement_line(connection, "req_none") is None
        everything = statement(connection, WHO)
        assert [one.event.request_id for one in everything] == ids[::-1]
        second = statement(connection, WHO, before=ids[2], limit=1)
        assert [one.event.request_id for one in second] == [ids[1]]
        own = statement(connection, replace(WHO, scopes=frozenset({"usage:read"})))
        assert [one.event.request_id for one in own] == ids[1::-1]
        assert statement(connection, replace(WHO, org_id="org_2")) == []


async def test_summaries(books: Books) -> None:
    await three_requests(books)
    with books.database.read("ledger") as connection:
        scope = UsageScope("org_1")
        span = {"since_ms": now_ms() - 60_000, "until_ms": now_ms() + 60_000}
        by_user = summarize(connection, scope, by="user", **span)
        assert [(line.group, line.requests, line.total_tokens) for line in by_user] == [
            ("user_1", 2, 30),
            ("user_2", 1, 30),
        ] or [line.total_tokens for line in by_user] == [30, 30]
        days = summarize(connection, scope, by="day", **span)
        assert sum(line.amount_nano for line in days) == 60 * 7
        assert len(days[0].group) == 10


async def test_correct_takes_a_charge_back(books: Books) -> None:
    ids = await three_requests(books)
    with books.database.write("ledger") as connection:
        correct(connection, ids[2], reason="wrong model", actor="user_1", now_ms=now_ms())
    with books.database.write("ledger") as connection, pytest.raises(Conflict):
        correct(connection, ids[2], reason="again", actor="user_1", now_ms=now_ms())
    with books.database.write("ledger") as connection, pytest.raises(NotFound):
        correct(connection, "req_none", reason="no", actor="user_1", now_ms=now_ms())
    with books.database.read("ledger") as connection:
        assert {row[0] for row in connection.execute(text("SELECT used FROM bucket"))} == {30}
        assert balance(connection, "delivered/TOK/org_1/tiny") == 30
        assert balance(connection, "receivable/USD/org_1") == 30 * 7
        line = statement_line(connection, ids[2])
        assert line is not None and line.corrected_by
    books.check()


async def test_applied_tokens(books: Books) -> None:
    ids = await three_requests(books)
    with books.database.write("ledger") as connection:
        mark_applied(connection, ids[2], applied_tokens=25, discarded_tokens=5)
        mark_applied(connection, ids[2], applied_tokens=1, discarded_tokens=1)  # the first mark stands
        with pytest.raises(InvalidRequest):
            mark_applied(connection, ids[0], applied_tokens=11, discarded_tokens=0)
        with pytest.raises(NotFound):
            mark_applied(connection, "req_none", applied_tokens=1, discarded_tokens=0)
    with books.database.read("ledger") as connection:
        assert balance(connection, "applied/TOK/org_1/tiny") == 25
        boot = reconcile(connection).boots[0]
        assert (boot.delivered, boot.applied, boot.discarded, boot.unattributed) == (60, 25, 5, 30)
    books.check()


async def test_reconcile_against_the_engine(books: Books) -> None:
    await three_requests(books)
    with books.database.write("ledger") as connection:
        record_engine_count(connection, "boot_1", at_ms=5, prompt_tokens=0, output_tokens=60)
    with books.database.read("ledger") as connection:
        found = reconcile(connection)
        assert found.residual == 0 and found.broken_requests == () and found.boots[0].unconfirmed == 0
    with books.database.write("ledger") as connection:
        record_engine_count(connection, "boot_1", at_ms=6, prompt_tokens=0, output_tokens=75)
        record_engine_count(connection, "boot_1", at_ms=4, prompt_tokens=0, output_tokens=1)  # late: ignored
        line = reconcile(connection).boots[0]
        assert line.output_residual == 15
        assert post_residual(connection, line, actor="user_1", now_ms=7) is not None
        assert reconcile(connection).residual == 0
        assert post_residual(connection, reconcile(connection).boots[0], actor="user_1", now_ms=8) is None
    books.check()


async def test_a_sample_older_than_the_books_is_a_lower_bound(books: Books) -> None:
    await three_requests(books)
    with books.database.write("ledger") as connection:
        record_engine_count(connection, "boot_1", at_ms=0, prompt_tokens=0, output_tokens=10)
        found = reconcile(connection)
        assert found.residual == 0 and found.boots[0].unconfirmed == 50, "60 were made, 10 counted"


async def test_residuals_are_booked_once_a_boot_is_quiet(books: Books) -> None:
    await three_requests(books)
    sweep = ResidualSweep()
    with books.database.write("ledger") as connection:
        record_engine_count(connection, "boot_1", at_ms=2**60, prompt_tokens=0, output_tokens=75)
    assert sweep.run(books.database, now_ms=0) == 0
    assert sweep.run(books.database, now_ms=QUIET_MS - 1) == 0
    assert sweep.run(books.database, now_ms=QUIET_MS) == 1
    assert sweep.run(books.database, now_ms=QUIET_MS + 1) == 0
    with books.database.read("ledger") as connection:
        assert reconcile(connection).residual == 0
    books.check()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE usage_line SET output_tokens = output_tokens + 1 WHERE output_tokens = 30", "usage event"),
        ("DELETE FROM usage_line WHERE output_tokens = 30", "usage event"),
        ("UPDATE entry SET amount = amount + 1 WHERE account_id LIKE 'created/%'", "hash"),
        ("UPDATE transfer SET memo = 'x' WHERE seq = 1", "hash"),
        ("DELETE FROM transfer WHERE seq = 1", "no such transfer"),
        ("UPDATE account SET balance = balance + 1 WHERE kind = 'created'", "balance"),
        ("UPDATE bucket SET used = used + 1", "counts"),
        ("UPDATE bucket SET held = held + 1", "leases"),
        ("UPDATE chain SET seq = seq + 1", "chain head"),
    ],
)
async def test_verify_names_any_damage(books: Books, damage: str, named: str) -> None:
    await three_requests(books)
    books.check()
    with books.database.write("ledger") as connection:
        connection.execute(text(damage))
    with books.database.read("ledger") as connection:
        findings = verify(connection)
    assert any(named in finding for finding in findings), findings


async def test_the_database_itself_refuses_to_pass_a_cap(books: Books) -> None:
    from sqlalchemy.exc import IntegrityError

    await three_requests(books)
    for damage in ("used = ceiling + 1", "held = -1", "used = -1"):
        with pytest.raises(IntegrityError), books.database.write("ledger") as connection:
            connection.execute(text(f"UPDATE bucket SET {damage}"))


async def test_trial_balance_is_zero(books: Books) -> None:
    await three_requests(books)
    with books.database.read("ledger") as connection:
        sums: dict[str, int] = {}
        for name, amount in balances(connection):
            unit = name.split("/")[1]
            sums[unit] = sums.get(unit, 0) + amount
    assert sums == {"TOK": 0, "USD": 0}


async def test_usage_of_an_older_version_moves_as_it_is(books: Books) -> None:
    await three_requests(books)
    with books.database.read("ledger") as connection:
        before = list(events_by_transfer(connection))
        kinds = connection.execute(text("SELECT count(*) FROM usage_kind")).scalar_one()
    with books.database.write("ledger") as connection:
        for words in (
            "CREATE TABLE before AS SELECT * FROM usage_event",
            "DROP VIEW usage_event",
            "DROP TABLE usage_line",
            "DROP TABLE usage_kind",
            "ALTER TABLE before RENAME TO usage_event",
            "CREATE INDEX ix_usage_event_at_ms ON usage_event (at_ms)",
            "UPDATE alembic_version SET version_num = '0006'",
        ):
            connection.execute(text(words))
    [moved] = migrate(books.database, books.settings)
    assert moved.startswith("ledger: 0006 -> ")
    with books.database.read("ledger") as connection:
        assert list(events_by_transfer(connection)) == before
        assert connection.execute(text("SELECT count(*) FROM usage_kind")).scalar_one() == kinds
    books.check()
    await three_requests(books)
    books.check()
