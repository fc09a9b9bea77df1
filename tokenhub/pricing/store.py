"""The price book in the hub's database: add a version, read versions, load what a gateway rates with.

A version ends where the next one of its book and SKU starts; nothing is ever updated. In the book that bills
(`default`) a version never starts in the past, so what was booked stays what the book says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from sqlalchemy import Connection, Row, select

from tokenhub.db import revision
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id
from tokenhub.pricing.errors import InvalidPrice
from tokenhub.pricing.price import ZERO_PRICE, Price
from tokenhub.pricing.rules import check, parse_rules
from tokenhub.pricing.tables import price_version
from tokenhub.pricing.types import NO_END_MS, Rules, canonical, fingerprint

DEFAULT_BOOK = "default"
LEAD_MS = 1_000
"""How long before its start a version is announced, so that every gateway knows it by then (snapshot poll)."""


@dataclass(frozen=True, slots=True)
class Version:
    """A price version with where it came from."""

    price: Price
    sha256: str
    source: str
    memo: str
    created_at_ms: int


def add_version(
    connection: Connection,
    *,
    sku: str,
    rules: Rules,
    currency: str,
    effective_from_ms: int,
    now_ms: int,
    book: str = DEFAULT_BOOK,
    source: str = "manual",
    memo: str = "",
) -> Version:
    """Insert one version; it closes the one before it by starting later.

    Raises: InvalidPrice for rules that do not stand or a start in the past of the billing book, Conflict if
    the book has a version of this SKU that starts at the same time or later.
    """
    check(rules)
    if book == DEFAULT_BOOK and effective_from_ms < now_ms:
        raise InvalidPrice(
            "A price of the billing book cannot start in the past; what was booked stands.",
            param="effective_from",
        )
    latest = _latest_start_ms(connection, book=book, sku=sku)
    if latest is not None and effective_from_ms <= latest:
        raise Conflict(
            f"{sku} has a version in book {book!r} that starts at {latest} ms; a new one must start later.",
            code="price_overlap",
            param="effective_from",
        )
    text = canonical(rules)
    version_id = new_id("price")
    row = {
        "id": version_id,
        "book": book,
        "sku": sku,
        "currency": currency,
        "effective_from_ms": effective_from_ms,
        "rules": text,
        "sha256": fingerprint(text),
        "source": source,
        "memo": memo,
        "created_at_ms": now_ms,
    }
    connection.execute(price_version.insert().values(row))
    revision.bump(connection)
    return get_version(connection, version_id)


def load_prices(connection: Connection, *, at_ms: int, book: str = DEFAULT_BOOK) -> dict[str, Price]:
    """SKU -> the version in force at `at_ms`, linked to the later ones that are announced (`Price.at`).

    A SKU whose first version is still to come maps to a stand-in that rates at zero until then.
    """
    statement = select(price_version).where(price_version.c.book == book)
    versions = _versions(
        connection.execute(statement.order_by(price_version.c.sku, price_version.c.effective_from_ms)).all()
    )
    return {
        sku: _in_force(list(group), at_ms) for sku, group in groupby(versions, key=lambda one: one.price.sku)
    }


def history(connection: Connection, sku: str, *, book: str = DEFAULT_BOOK) -> list[Version]:
    """Every version of a SKU, oldest first."""
    statement = select(price_version).where(price_version.c.book == book, price_version.c.sku == sku)
    return _versions(connection.execute(statement.order_by(price_version.c.effective_from_ms)).all())


def list_versions(connection: Connection, *, book: str = DEFAULT_BOOK) -> list[Version]:
    """Every version of a book, by SKU and then by start."""
    statement = select(price_version).where(price_version.c.book == book)
    return _versions(
        connection.execute(statement.order_by(price_version.c.sku, price_version.c.effective_from_ms)).all()
    )


def get_version(connection: Connection, version_id: str) -> Version:
    """One version by id.

    Raises: NotFound.
    """
    row = connection.execute(select(price_version).where(price_version.c.id == version_id)).one_or_none()
    if row is None:
        raise NotFound(
            f"No price version {version_id!r}; `hub price history SKU` lists them.", param="version"
        )
    for version in history(connection, row.sku, book=row.book):
        if version.price.version_id == version_id:
            return version
    raise AssertionError("a version is part of its own history")


def books(connection: Connection) -> list[str]:
    """Names of the books that have any version."""
    return list(
        connection.execute(select(price_version.c.book).distinct().order_by(price_version.c.book)).scalars()
    )


def _latest_start_ms(connection: Connection, *, book: str, sku: str) -> int | None:
    column = price_version.c.effective_from_ms
    statement = select(column).where(price_version.c.book == book, price_version.c.sku == sku)
    return connection.execute(statement.order_by(column.desc()).limit(1)).scalar()


def _versions(rows: Sequence[Row[tuple[object, ...]]]) -> list[Version]:
    """Rows ordered by SKU and start -> versions; each ends where the next of its SKU starts."""
    made: list[Version] = []
    following: Price | None = None
    for row in reversed(rows):
        same = following if following is not None and following.sku == row.sku else None
        following = _price(row, same)
        made.append(
            Version(
                price=following,
                sha256=row.sha256,
                source=row.source,
                memo=row.memo,
                created_at_ms=row.created_at_ms,
            )
        )
    return made[::-1]


def _price(row: Row[tuple[object, ...]], successor: Price | None) -> Price:
    return Price(
        version_id=row.id,
        sku=row.sku,
        currency=row.currency,
        rules=_stored_rules(row.rules, row.sha256),
        book=row.book,
        effective_from_ms=row.effective_from_ms,
        effective_to_ms=NO_END_MS if successor is None else successor.effective_from_ms,
        successor=successor,
    )


@lru_cache(maxsize=16_384)
def _stored_rules(text: str, sha256: str) -> Rules:
    """Rules of a row, checked against its hash once in the life of a process."""
    if fingerprint(text) != sha256:
        raise InvalidPrice(
            f"A price version does not match its sha256 {sha256}: the book was changed by hand."
        )
    return parse_rules(text)


def _in_force(versions: Sequence[Version], at_ms: int) -> Price:
    first = versions[0].price
    if at_ms >= first.effective_from_ms:
        return first.at(at_ms)
    return Price(
        version_id="",
        sku=first.sku,
        currency=first.currency,
        rules=ZERO_PRICE.rules,
        book=first.book,
        effective_to_ms=first.effective_from_ms,
        successor=first,
    )
