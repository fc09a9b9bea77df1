"""What commands say of themselves is so."""

from tokenhub.bootstrap.commands import registry


def test_whatever_answers_others_words_says_so() -> None:
    """What an agent reads of these taints its run."""
    texts = {"body", "text", "content", "title", "comments", "message", "values", "items"}
    own = {
        *(
            "calendar.free",
            "event.create",
            "hook.send",
            "report-form.list",
            "report.comment",
            "report.missing",
            "room.list",
        ),  # they answer only what their caller or an administrator wrote, or what the hub itself says
        *(
            "agent.list",
            "budget.list",
            "channel.list",
            "commands.offer",
            "commands.search",
            "deploy.create",
            "department.list",
        ),
        *("doc.create", "doc.comment", "doc.history", "form.list", "grant.list", "key.list", "mcp.tools"),
        *(
            "skill.list",
            "skill.read",
            "skill.show",
            "skill.use",
        ),  # agents are told only what an administrator allowed
        "message.edit",
        *(
            "message.recall",
            "message.send",
            "model.list",
            "model.show",
            "request.create",
            "policy.list",
            "price.list",
            "price.history",
        ),
        *(
            "project.list",
            "provider.list",
            "schedule.list",
            "service-account.list",
            "task.comment",
            "task.create",
            "team.list",
        ),
        *("user.list", "ledger.statement", "ledger.reconcile", "usage.show", "price.simulate"),
    }
    loose = [
        declared.name
        for declared in registry()
        if declared.trust == "trusted"
        and declared.name not in own
        and texts & set(declared.result.model_fields)
    ]
    assert loose == []
