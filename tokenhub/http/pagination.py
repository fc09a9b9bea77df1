"""Pages by keyset: `?limit=&cursor=`, where the cursor is the id after which the next page starts.

Ids are time-ordered, so `id < cursor ORDER BY id DESC` is newest first, stable while rows are added, and an index
range whatever the page.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tokenhub.kernel.errors import InvalidRequest

LIMIT_DEFAULT = 50
LIMIT_MAX = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows and where to go on; `next_cursor` None = the end."""

    items: list[T]
    next_cursor: str | None


def page(rows: Sequence[T], *, limit: int, key: Callable[[T], str]) -> Page[T]:
    """Cut a page from rows that were selected with `LIMIT limit + 1`."""
    items = list(rows[:limit])
    return Page(items, encode_cursor(key(items[-1])) if len(rows) > limit else None)


def encode_cursor(key: str) -> str:
    """An opaque, URL-safe cursor for the row of this key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """The key in a cursor; None starts at the beginning. Raises: InvalidRequest."""
    if not cursor:
        return None
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if not key.isprintable():
            raise ValueError(key)
        return key
    except ValueError as error:
        message = "`cursor` is not one that a list of this hub gave."
        raise InvalidRequest(message, param="cursor", code="invalid_cursor") from error
