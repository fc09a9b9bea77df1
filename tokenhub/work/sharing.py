"""Who else may see or change a document or a file."""

from pydantic import Field
from sqlalchemy import delete, select

from tokenhub.commands import Context, Model
from tokenhub.db.upsert import insert_for
from tokenhub.work.people import names_of
from tokenhub.work.tables import shares


class ShareView(Model):
    """What a person may."""

    user: str
    rights: str = Field(description="`read` or `write`.")


def set_share(ctx: Context, subject_id: str, user_id: str, rights: str) -> None:
    """Give a person `read` or `write`; `none` takes it away."""
    here = (shares.c.subject_id == subject_id) & (shares.c.user_id == user_id)
    if rights == "none":
        ctx.hub.execute(delete(shares).where(here))
        return
    values = {"subject_id": subject_id, "user_id": user_id, "rights": rights, "created_at_ms": ctx.now_ms}
    added = insert_for(ctx.hub, shares).values(values)
    keys = [shares.c.subject_id, shares.c.user_id]
    ctx.hub.execute(added.on_conflict_do_update(index_elements=keys, set_={"rights": rights}))


def shares_of(ctx: Context, subject_id: str) -> list[ShareView]:
    """With whom it is shared, by name."""
    rows = ctx.hub.execute(select(shares).where(shares.c.subject_id == subject_id)).all()
    names = names_of(ctx, [row.user_id for row in rows])
    return sorted(
        (ShareView(user=names[row.user_id], rights=row.rights) for row in rows),
        key=lambda one: one.user,
    )
