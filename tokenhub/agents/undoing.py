"""Undo of a run: its effects and those of its children, taken back one by one through the door, the newest first.

It is a run itself, without a model: durable, journaled, with a trace that says what could not be taken back and why.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from tokenhub.agents import journal, runs
from tokenhub.agents.invoke import known
from tokenhub.agents.types import Action, Run, RunState, Step
from tokenhub.commands.registry import Registry

PREFIX = "undo:"


def taking_back(connection: Connection, registry: Registry, run: Run) -> list[Action]:
    """What an undo run does, in order; the same each time it is asked, since the other run has ended."""
    target = run.origin.removeprefix(PREFIX)
    done = [
        step
        for one in runs.below(connection, target)
        for step in journal.steps_of(connection, one)
        if _changed(registry, step)
    ]
    done.sort(key=lambda step: (step.ended_at_ms or 0, step.audit_id), reverse=True)
    return [
        Action(
            step.key,
            "audit.undo",
            json.dumps({"audit": step.audit_id}),
            problem=f"`{step.name}` cannot be taken back."
            if _effect(registry, step) == "irreversible"
            else "",
        )
        for step in done
    ]


def account_of(steps: Sequence[Step]) -> tuple[RunState, str, str]:
    """(state, code, sentence) of an undo that went through every effect."""
    left = [step for step in steps if step.error]
    if not left:
        return "done", "undone", f"{len(steps)} effects were taken back."
    return (
        "failed",
        "undone_in_part",
        f"{len(steps) - len(left)} of {len(steps)} effects were taken back; {len(left)} were not: {left[0].error.get('message', '')}",
    )


def _changed(registry: Registry, step: Step) -> bool:
    """True for a step that changed something and is no run of its own."""
    if step.kind != "command" or not step.audit_id or step.state != "done" or step.name == "agent.run":
        return False
    status = (step.answer or {}).get("status")
    return status in ("success", "pending", "partial_failure") and _effect(registry, step) != "read"


def _effect(registry: Registry, step: Step) -> str:
    """What an outside tool did is not ours to take back."""
    declared = known(registry, step.name)
    return "irreversible" if declared is None else declared.effect
