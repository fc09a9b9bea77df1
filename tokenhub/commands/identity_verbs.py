"""Every verb of identity and of the door itself, as one module for whoever composes the registry."""

from tokenhub.commands import (
    audit_verbs,
    catalogue_verbs,
    gate_answer_verbs,
    gate_verbs,
    grant_verbs,
    group_verbs,
    key_verbs,
    people_verbs,
    policy_verbs,
)
from tokenhub.commands.declare import Command

VERBS: list[Command] = [
    *key_verbs.VERBS,
    *people_verbs.VERBS,
    *group_verbs.VERBS,
    *grant_verbs.VERBS,
    *gate_verbs.VERBS,
    *gate_answer_verbs.VERBS,
    *policy_verbs.VERBS,
    *audit_verbs.VERBS,
    *catalogue_verbs.VERBS,
]
