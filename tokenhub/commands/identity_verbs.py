"""Every verb of identity, as one module for whoever composes the registry."""

from tokenhub.commands import group_verbs, key_verbs, people_verbs
from tokenhub.commands.declare import Command

VERBS: list[Command] = [*key_verbs.VERBS, *people_verbs.VERBS, *group_verbs.VERBS]
