"""What a database's driver says of a failure, as one error of ours."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from tokenhub.kernel.errors import Unavailable


class DatabaseUnusable(Unavailable):
    """The database does not answer, is damaged, or is of a newer version."""

    code = "database_unusable"


@contextmanager
def in_one_sentence() -> Generator[None, None, None]:
    """Around the opening and first use of a database. Raises: DatabaseUnusable."""
    try:
        yield
    except DBAPIError as error:
        words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise DatabaseUnusable(f"The database cannot be used: {words[0].rstrip('.')}.") from error
