"""Transfers: double entry in a chain."""

import pytest
from sqlalchemy.exc import IntegrityError

from tokenhub.db.engine import Database
from tokenhub.ledger.store import balance, balances, get_transfer
from tokenhub.ledger.transfers import Account, Entry, Transfer, post
from tokenhub.ledger.verify import check_accounts, check_chain

A, B = Account("created", "TOK", "x"), Account("delivered", "TOK", "x")


def test_a_chain_of_transfers(database: Database) -> None:
    with database.write("ledger") as connection:
        first = post(connection, Transfer("settle", "k1", [Entry(A, -5), Entry(B, 5)]), now_ms=1)
        second = post(connection, Transfer("settle", "k2", [Entry(A, -7), Entry(B, 7)]), now_ms=2)
    with database.read("ledger") as connection:
        one, two = get_transfer(connection, first), get_transfer(connection, second)
        assert one is not None and two is not None and (one.seq, two.seq) == (1, 2)
        assert balance(connection, B.id) == 12
        assert dict(balances(connection)) == {"created/TOK": -12, "delivered/TOK": 12}
        assert [*check_chain(connection), *check_accounts(connection)] == []


def test_entries_must_balance(database: Database) -> None:
    with pytest.raises(AssertionError), database.write("ledger") as connection:
        post(connection, Transfer("settle", "k", [Entry(A, -5), Entry(B, 4)]), now_ms=1)


def test_a_key_is_posted_once(database: Database) -> None:
    item = Transfer("settle", "k", [Entry(A, -5), Entry(B, 5)])
    with database.write("ledger") as connection:
        post(connection, item, now_ms=1)
    with pytest.raises(IntegrityError), database.write("ledger") as connection:
        post(connection, item, now_ms=2)
    with database.read("ledger") as connection:
        assert balance(connection, B.id) == 5
