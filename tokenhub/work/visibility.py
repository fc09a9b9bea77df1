"""Whose rows somebody sees: conditions that every query of the workspace carries.

Each holds the organisation of the caller, so that no query can leave it. `me` is the person for whom an agent acts: an
agent sees what its person sees, and the door bounds what it may do with it.
"""

from sqlalchemy import ColumnElement, Table, and_, exists, or_, select

from tokenhub.identity.directory import open_projects
from tokenhub.identity.types import Principal
from tokenhub.work.tables import (
    channel_members,
    channels,
    docs,
    files,
    messages,
    notices,
    request_steps,
    requests,
    shares,
    tasks,
)

Condition = ColumnElement[bool]


def tasks_of(principal: Principal) -> Condition:
    """What one made or does, and whatever lies in a project that one sees."""
    me = principal.actor
    return and_(
        tasks.c.org_id == principal.org_id,
        or_(
            tasks.c.creator_id == me,
            tasks.c.assignee_id == me,
            tasks.c.project_id.in_(open_projects(principal)),
        ),
    )


def channels_of(principal: Principal) -> Condition:
    """Those that one is in, and open ones."""
    mine = select(channel_members.c.channel_id).where(channel_members.c.user_id == principal.actor)
    return and_(
        channels.c.org_id == principal.org_id, or_(channels.c.kind == "open", channels.c.id.in_(mine))
    )


def messages_of(principal: Principal) -> Condition:
    """Those in channels that one sees."""
    return and_(
        messages.c.org_id == principal.org_id,
        messages.c.channel_id.in_(select(channels.c.id).where(channels_of(principal))),
    )


def notices_of(principal: Principal) -> Condition:
    """One's own."""
    return and_(notices.c.org_id == principal.org_id, notices.c.user_id == principal.actor)


def docs_of(principal: Principal, *, writing: bool = False) -> Condition:
    """One's own, those shared with one, and those that the organisation may read (or write)."""
    return _owned(docs, principal, writing=writing)


def files_of(principal: Principal, *, writing: bool = False) -> Condition:
    """One's own, those shared with one, and those that the organisation may read (or write)."""
    return _owned(files, principal, writing=writing)


def requests_of(principal: Principal) -> Condition:
    """Those that one made, decides or decided."""
    me = principal.actor
    deciding = exists().where(
        request_steps.c.request_id == requests.c.id,
        or_(
            request_steps.c.decided_by == me,
            and_(request_steps.c.approver_id == me, request_steps.c.state != "waiting"),
        ),
    )
    return and_(requests.c.org_id == principal.org_id, or_(requests.c.requester_id == me, deciding))


def _owned(table: Table, principal: Principal, *, writing: bool) -> Condition:
    rights = ("write",) if writing else ("read", "write")
    shared = exists().where(
        shares.c.subject_id == table.c.id, shares.c.user_id == principal.actor, shares.c.rights.in_(rights)
    )
    return and_(
        table.c.org_id == principal.org_id,
        table.c.removed_at_ms.is_(None),
        or_(table.c.owner_id == principal.actor, table.c.everyone.in_(rights), shared),
    )
