"""Whose rows somebody sees: conditions that every query of the workspace carries.

Each holds the organisation of the caller, so that no query can leave it. `me` is the person for whom an agent acts: an
agent sees what its person sees, and the door bounds what it may do with it.
"""

from sqlalchemy import BindParameter, ColumnElement, Select, Table, and_, exists, or_, select

from tokenhub.identity.directory import open_projects
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.work.calendar_tables import event_people, events, hooks, report_readers, reports
from tokenhub.work.tables import (
    absences,
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
Value = str | BindParameter[str]


def tasks_of(principal: Principal) -> Condition:
    """What one made or does, and whatever lies in a project that one sees."""
    return tasks_seen(principal.org_id, principal.actor, principal.user_id or "")


def tasks_seen(org_id: Value, me: Value, user_id: Value) -> Condition:
    """The same of `org_id`, for whoever acts as `me` (`user_id` is empty if that is no person); values or parameters."""
    return and_(
        tasks.c.org_id == org_id,
        or_(
            tasks.c.creator_id == me,
            tasks.c.assignee_id == me,
            tasks.c.project_id.in_(open_projects(org_id, user_id)),
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
    """Those that one made, decides or decided, also as the deputy of somebody who is away."""
    me = principal.actor
    deciding = exists().where(
        request_steps.c.request_id == requests.c.id,
        or_(
            request_steps.c.decided_by == me,
            and_(request_steps.c.approver_id == me, request_steps.c.state != "waiting"),
            and_(request_steps.c.approver_id.in_(away_for(me, now_ms())), request_steps.c.state == "open"),
        ),
    )
    return and_(requests.c.org_id == principal.org_id, or_(requests.c.requester_id == me, deciding))


def away_for(deputy_id: str, at_ms: int) -> Select[tuple[str]]:
    """Ids of those whose deputy this person is at that time."""
    return select(absences.c.user_id).where(
        absences.c.deputy_id == deputy_id,
        absences.c.from_ms <= at_ms,
        absences.c.until_ms > at_ms,
        absences.c.ended_at_ms.is_(None),
    )


def events_of(principal: Principal) -> Condition:
    """One's own, those that one was invited to, and those that their owner shows to everyone."""
    invited = exists().where(
        event_people.c.event_id == events.c.id, event_people.c.user_id == principal.actor
    )
    return and_(
        events.c.org_id == principal.org_id,
        or_(events.c.owner_id == principal.actor, invited, events.c.everyone == "read"),
    )


def reports_of(principal: Principal) -> Condition:
    """One's own, and those that were handed in to one."""
    reading = exists().where(
        report_readers.c.report_id == reports.c.id, report_readers.c.user_id == principal.actor
    )
    return and_(
        reports.c.org_id == principal.org_id,
        or_(reports.c.author_id == principal.actor, and_(reports.c.state == "sent", reading)),
    )


def hooks_of(principal: Principal) -> Condition:
    """One's own, and those that everyone may send to."""
    return and_(
        hooks.c.org_id == principal.org_id,
        or_(hooks.c.owner_id == principal.actor, hooks.c.everyone.is_(True)),
    )


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
