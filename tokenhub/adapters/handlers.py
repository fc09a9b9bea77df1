"""Every kind of background work of models, providers and outside servers, with its third parties plugged in."""

from tokenhub.adapters.mcp.servers import OutsideServers
from tokenhub.adapters.providers.openai_models import list_models
from tokenhub.adapters.sandbox.bubblewrap import Bubblewrap
from tokenhub.adapters.sources import model_sources
from tokenhub.agents.mcp.courier import refresh_handler
from tokenhub.agents.mcp.verbs import REFRESH
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs.types import Handler
from tokenhub.maas.catalog.jobs import ADD, PULL, add_handler, pull_handler
from tokenhub.maas.deployments.jobs import (
    ADD_AND_DEPLOY,
    TEST_PROVIDER,
    add_and_deploy_handler,
    test_provider_handler,
)
from tokenhub.work.skills.jobs import RUN, run_handler


def job_handlers(database: Database, settings: Settings) -> dict[str, Handler]:
    """Handlers by job kind, for the worker (`run_jobs`) and for `run_job_inline`."""
    return {
        PULL: pull_handler(database, settings, sources=model_sources()),
        ADD: add_handler(database, settings),
        ADD_AND_DEPLOY: add_and_deploy_handler(database, settings),
        RUN: run_handler(database, Bubblewrap()),
        REFRESH: refresh_handler(database, OutsideServers(settings.home)),
        TEST_PROVIDER: test_provider_handler(database, probe=list_models),
    }
