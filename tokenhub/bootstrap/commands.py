"""Every declared command of the hub, in one registry."""

from functools import cache

from tokenhub.agents import schedule_verbs
from tokenhub.agents import verbs as run_verbs
from tokenhub.agents.intent import verbs as intent_verbs
from tokenhub.agents.mcp import call_verbs as mcp_call_verbs
from tokenhub.agents.mcp import verbs as mcp_verbs
from tokenhub.agents.mcp.outside import OutsideTools
from tokenhub.budgets import verbs as budget_verbs
from tokenhub.clearing import simulation_verbs
from tokenhub.clearing import verbs as ledger_verbs
from tokenhub.commands import identity_verbs
from tokenhub.commands.mcp import pin_verbs
from tokenhub.commands.registry import Registry
from tokenhub.maas.catalog import verbs as model_verbs
from tokenhub.maas.deployments import provider_verbs
from tokenhub.maas.deployments import verbs as deploy_verbs
from tokenhub.metering import verbs as usage_verbs
from tokenhub.pricing import verbs as price_verbs
from tokenhub.work import (
    absences,
    calendar,
    calendar_files,
    channels,
    departments,
    docs,
    event_edits,
    events,
    files,
    forms,
    hooks,
    messages,
    outbox_verbs,
    people,
    report_forms,
    reports,
    request_decisions,
    requests,
    rooms,
    search,
    tasks,
)
from tokenhub.work.skills import use_verbs as skill_use_verbs
from tokenhub.work.skills import verbs as skill_verbs


@cache
def registry() -> Registry:
    """The registry; the same object for every caller of this process."""
    return Registry(
        identity_verbs,
        pin_verbs,
        run_verbs,
        schedule_verbs,
        budget_verbs,
        usage_verbs,
        ledger_verbs,
        price_verbs,
        simulation_verbs,
        model_verbs,
        deploy_verbs,
        provider_verbs,
        departments,
        tasks,
        channels,
        messages,
        docs,
        files,
        forms,
        requests,
        search,
        intent_verbs,
        people,
        events,
        event_edits,
        rooms,
        calendar,
        calendar_files,
        skill_verbs,
        skill_use_verbs,
        mcp_verbs,
        mcp_call_verbs,
        hooks,
        outbox_verbs,
        request_decisions,
        absences,
        report_forms,
        reports,
        sources=(OutsideTools(),),
    )
