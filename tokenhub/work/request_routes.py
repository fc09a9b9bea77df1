"""Who decides a request, in which order: routes of forms, stages that open together, deputies, late steps.

A route is a list of stages. A stage is a person (name or id), `lead` (who leads the requester's department, else the
one above), `role:NAME` (the first person of that role), or several of these, `any:ana+bob` (one of them suffices) or
`all:ana,role:admin`. It is fixed when a request is made. Nobody decides their own request: such a step goes to the
person above or an owner.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update

from tokenhub.commands import Context
from tokenhub.identity import departments, directory
from tokenhub.identity.standing import standing
from tokenhub.kernel.errors import Conflict, InvalidRequest
from tokenhub.work.people import notify, person
from tokenhub.work.tables import absences, request_steps
from tokenhub.work.visibility import away_for

HOUR_MS = 3_600_000
ESCALATIONS_MAX = 3
"""How often a late step is passed on; afterwards it stays where it is, and late."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that open together."""

    mode: str
    """`all` or `any`."""
    approvers: tuple[str, ...]
    """Ids of people."""


def check_route(ctx: Context, route: Iterable[str], *, param: str) -> None:
    """Raises: InvalidRequest, UserNotFound for a stage that names nobody."""
    for stage in route:
        for one in _parts(stage, param)[1]:
            if one != "lead" and not one.startswith("role:"):
                person(ctx, one, param=param)


def stages(ctx: Context, route: Iterable[str]) -> list[Stage]:
    """The route of the caller's request. Raises: Conflict if nobody but the caller could decide a step."""
    made: list[Stage] = []
    for stage in route:
        mode, parts = _parts(stage, "form")
        found = dict.fromkeys(_approver(ctx, one) for one in parts)
        made.append(Stage(mode, tuple(found)))
    return made


def open_stage(ctx: Context, request_id: str, stage: int, *, hours: int, text: str) -> bool:
    """Open the steps of a stage and tell those who decide, and their deputies; False if there is no such stage."""
    here = (
        (request_steps.c.request_id == request_id)
        & (request_steps.c.stage == stage)
        & (request_steps.c.state == "waiting")
    )
    deadline = ctx.now_ms + hours * HOUR_MS if hours else None
    opened = ctx.hub.execute(
        update(request_steps)
        .where(here)
        .values(state="open", deadline_at_ms=deadline)
        .returning(request_steps.c.approver_id)
    )
    approvers = list(opened.scalars())
    tell_deciders(ctx, request_id, approvers, text=text)
    return bool(approvers)


def tell_deciders(ctx: Context, request_id: str, approvers: list[str], *, text: str) -> None:
    """Whoever decides, and the deputies of those who are away."""
    notify(ctx, approvers, kind="to_decide", subject=request_id, text=text)
    for who, deputy in deputies(ctx, approvers):
        name = directory.user_names(ctx.hub, ctx.principal.org_id, {who}).get(who, who)
        notify(ctx, [deputy], kind="to_decide", subject=request_id, text=f"{text} (for {name}, who is away)")


def deputies(ctx: Context, people: Iterable[str]) -> list[tuple[str, str]]:
    """(who is away now, who decides meanwhile)."""
    away = (absences.c.org_id == ctx.principal.org_id) & absences.c.user_id.in_(list(people))
    now = (
        (absences.c.from_ms <= ctx.now_ms)
        & (absences.c.until_ms > ctx.now_ms)
        & absences.c.ended_at_ms.is_(None)
    )
    rows = ctx.hub.execute(
        select(absences.c.user_id, absences.c.deputy_id).where(away, now).order_by(absences.c.id)
    )
    return [(row.user_id, row.deputy_id) for row in rows]


def my_open_steps(ctx: Context, row: Row[Any]) -> ColumnElement[bool]:
    """Steps of this request that wait for the caller, or for somebody whose deputy the caller is."""
    me = ctx.principal.actor
    mine = or_(request_steps.c.approver_id == me, request_steps.c.approver_id.in_(away_for(me, ctx.now_ms)))
    here = (request_steps.c.request_id == row.id) & (request_steps.c.state == "open")
    return here & mine & (me != row.requester_id)


def stage_done(ctx: Context, row: Row[Any]) -> bool:
    """True if everyone who has to has approved, and one of those of whom one suffices; the others are let off."""
    here = (request_steps.c.request_id == row.id) & (request_steps.c.stage == row.step)
    steps = ctx.hub.execute(select(request_steps.c.mode, request_steps.c.state).where(here)).all()
    if any(one.mode == "all" and one.state == "open" for one in steps):
        return False
    some = [one.state for one in steps if one.mode == "any"]
    if some and "approved" not in some:
        return False
    ctx.hub.execute(update(request_steps).where(here, request_steps.c.state == "open").values(state="passed"))
    return True


def above(ctx: Context, approver_id: str, escalate: str, *, requester_id: str) -> str | None:
    """Who gets a step that this person let pass; None if there is nobody else."""
    org_id = ctx.principal.org_id
    candidates: list[str | None] = [] if escalate == "lead" else [escalate]
    if escalate == "lead":
        candidates += _leads(ctx, approver_id)
    candidates += directory.of_role(ctx.hub, org_id, "owner") + directory.of_role(ctx.hub, org_id, "admin")
    return next((one for one in candidates if one not in (None, approver_id, requester_id)), None)


def _parts(stage: str, param: str) -> tuple[str, list[str]]:
    for mode in ("any", "all"):
        if stage.startswith(f"{mode}:"):
            parts = [one.strip() for one in re.split("[,+]", stage[4:]) if one.strip()]
            if not parts or len(parts) > 50:
                raise InvalidRequest(
                    f"{stage!r} names nobody; write for example {mode}:ana,bob.", param=param
                )
            return mode, parts
    return "all", [stage]


def _approver(ctx: Context, step: str) -> str:
    """Whose step it is; never the requester's own. Raises: Conflict if there is nobody else."""
    me, org_id = ctx.principal.actor, ctx.principal.org_id
    candidates: list[str | None] = []
    if step == "lead":
        candidates += _leads(ctx, me)
    elif step.startswith("role:"):
        candidates += directory.of_role(ctx.hub, org_id, step.removeprefix("role:"))
    else:
        candidates.append(person(ctx, step, param="form").id)
    candidates += directory.of_role(ctx.hub, org_id, "owner") + directory.of_role(ctx.hub, org_id, "admin")
    for one in candidates:
        if one is not None and one != me:
            return one
    raise Conflict(f"Nobody but you could decide the step {step!r}.", code="no_approver", param="form")


def _leads(ctx: Context, user_id: str) -> list[str | None]:
    """Who leads this person's departments, and those above them."""
    paths = standing(ctx.hub, ctx.principal.org_id, user_id).departments
    return [departments.find(ctx.hub, ctx.principal.org_id, one).lead_id for path in paths for one in path]
