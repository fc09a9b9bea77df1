"""What a database's driver says of a failure, as one error of ours."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from tokenhub.kernel.errors import Unavailable

_FULL = ("disk is full", "no space left on device")
"""How SQLite and PostgreSQL say it."""


class DatabaseUnusable(Unavailable):
    """The database does not answer, is damaged, or is of a newer version."""

    code = "database_unusable"


def unanswered(error: DBAPIError) -> Unavailable:
    """What a caller is told of a transaction that the database did not take: nothing of it was written."""
    said = str(error.orig).lower()
    if any(words in said for words in _FULL):
        return Unavailable("The disk is full: nothing was written.", hint="Free some space, then try again.")
    return Unavailable("The database did not answer in time.", hint="Try `hub doctor`.")


@contextmanager
def in_one_sentence() -> Generator[None, None, None]:
    """Around the opening and first use of a database. Raises: DatabaseUnusable."""
    try:
        yield
    except DBAPIError as error:
        words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise DatabaseUnusable(f"The database cannot be used: {words[0].rstrip('.')}.") from error
