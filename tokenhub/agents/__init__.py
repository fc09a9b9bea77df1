"""Agents at work: runs, their journal, what wakes them, what bounds them.

Owns: runs and steps, the loop that asks a model and does what it says, sub-agents, schedules and triggers, undo of a
run. Never: decides what may be done (that is the door, `commands.execute`), calls an engine (models are called through
the gateway with a key of the person's), writes a row of the workspace.

A run *is* a grant: it has the grant's id, lies below its agent's grant or its parent run's, and is bounded, stopped,
revoked, tainted and audited as every grant is. Its steps are a journal: a model's reply is written down before it is
acted on, a command carries the key (run, step), so that a run which dies anywhere goes on without doing or paying
anything twice. A run that waits is a row.
Start at `loop.py` (what a run does), then `journal.py` (what is kept), `dispatch.py` (what wakes it), `invoke.py`
(the one way to a command).
"""
