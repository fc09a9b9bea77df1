"""The one door for actions: declaration, registry, execute(), envelope.

Owns: how a verb is declared once and reached by CLI, HTTP, MCP and docs (and by agents); who may do what
(policies, grants, gates), idempotency, the audit trail and undo around every effect. Never: what a verb does; that
is the package that owns the noun, in its `verbs.py`. Start at `declare.py` (how to declare), then `door.py` (what
happens on a call), `admission.py` and `authority.py` (whether it may), `audit.py` (what stays of it).

    from tokenhub.commands import Context, Model, command

    class KeyCreate(Model):
        name: str = Field(description="What the key is for.")

    @command("key.create", effect="write", resource="", permission="admin", summary="Make an API key.")
    def key_create(ctx: Context, args: KeyCreate) -> KeyCreated: ...
"""

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Effect, Example, Model, Permission, Secret, command
from tokenhub.commands.envelope import Envelope, Fault, Status

__all__ = [
    "Command",
    "Context",
    "Effect",
    "Envelope",
    "Example",
    "Fault",
    "Model",
    "Permission",
    "Secret",
    "Status",
    "command",
]
