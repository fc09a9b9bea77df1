"""Arguments that every list command has, and how its answer ends."""

from pydantic import Field

from tokenhub.commands.declare import Model
from tokenhub.http.pagination import LIMIT_DEFAULT, LIMIT_MAX, decode_cursor


class PageArgs(Model):
    """How much of a list, from where on."""

    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="Most items of one page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")

    @property
    def after(self) -> str | None:
        """The id after which the page starts. Raises: InvalidRequest."""
        return decode_cursor(self.cursor)


class PageResult(Model):
    """The end of a page; the items stand in the subclass."""

    next_cursor: str | None = Field(
        default=None, description="Pass as `cursor` for the next page; null = end."
    )
