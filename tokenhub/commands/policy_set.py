"""The policies every decision starts from: the floor, which nobody can lift, and the default set.

Words that a policy can use, besides Cedar's own:

    principal   User | Agent | ServiceAccount | Key, `in` their User, Role::"owner|admin|member|viewer", Team::id,
                Department::id (also those above it), Org::id
    action      Action::"task.create", `in` Action::"read|write|irreversible" and in its noun, Action::"task"; tools of
                outside servers are also in Action::"outside" and in their server, Action::"mcp.lab"; a question
                knows the groups of the action that it is about, and of no other
    resource    the thing by kind and id, Task::"task_01…"; Org::id where a command acts on no single thing
    context     scoped, agent, granted, tainted, vouched, confirmed, dry_run, mine (Bool); app (String);
                args (the arguments that are texts, whole numbers, yes/no and lists of texts)
"""

from typing import Final

OUTSIDE: Final = "outside"
"""The group of actions that reach beyond the hub."""

FLOOR: Final = """
@id("floor.scope")
forbid (principal, action, resource) unless { context.scoped };

@id("floor.grant")
forbid (principal, action, resource) when { context.agent && !context.granted };

@id("floor.agents-decide-nothing-for-people")
forbid (
    principal,
    action in [Action::"gate.approve", Action::"gate.deny", Action::"gate.answer", Action::"agent.approve", Action::"agent.deny",
               Action::"agent.undo", Action::"policy.apply", Action::"agent.create",
               Action::"agent.resume", Action::"key.create", Action::"key.rotate", Action::"login-link.create",
               Action::"grant.revoke", Action::"skill.allow", Action::"skill.deny",
               Action::"mcp.add", Action::"mcp.allow", Action::"mcp.forbid"],
    resource
) when { context.agent };

@id("floor.tainted-irreversible")
forbid (principal, action in Action::"irreversible", resource) when { context.tainted && !context.confirmed };

@id("floor.tainted-sinks")
forbid (principal, action in [Action::"write", Action::"read"], resource)
when { context.tainted && !context.vouched && !context.confirmed };

@id("floor.tainted-outside")
forbid (principal, action in Action::"outside", resource)
when { context.tainted && !context.vouched && !context.confirmed };
"""
"""Forbids only. The key's scope, the agent's grant and the run's taint bound every organisation's own policies."""

DEFAULT: Final = """
// People may do what their key's scopes cover; whose rows they see is decided in the rows' own queries.
@id("people")
permit (principal, action, resource);

// What cannot be taken back, an agent does only after a person's yes.
@id("agents-ask-before-irreversible")
forbid (principal, action in Action::"irreversible", resource)
when { context.agent && !context.confirmed };
"""
"""In force until an organisation applies a text of its own (`hub policy apply`)."""

SENTENCES: Final = {
    "floor.grant": "The agent's grant does not cover `{command}`.",
    "floor.agents-decide-nothing-for-people": "Only a person may do `{command}`.",
    "floor.tainted-irreversible": "`{command}` cannot be taken back, and this run has read what others wrote.",
    "floor.tainted-sinks": "`{command}` aims at something that its person did not name, and this run has read what"
    " others wrote.",
    "floor.tainted-outside": "`{command}` takes something out of the hub that its person did not name, and this run has"
    " read what others wrote.",
    "agents-ask-before-irreversible": "`{command}` cannot be taken back, so a person decides.",
}
"""What a refusal or a question says for the policies above."""
