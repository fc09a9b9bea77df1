"""Jobs of deployments: add a file and serve it; look at a provider and take its models."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs.types import Arguments, Handler, Progress, Reporter
from tokenhub.maas.catalog.adding import add_file
from tokenhub.maas.catalog.store import insert_entry
from tokenhub.maas.deployments import provider_store, store

ADD_AND_DEPLOY = "model.add-and-deploy"
TEST_PROVIDER = "provider.test"
MODELS_TOLD_MAX = 200


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a provider says about itself."""

    models: list[str]
    latency_ms: int


class ProviderProbe(Protocol):
    """Asks a provider for its models. Blocking."""

    def __call__(self, base_url: str, api_key: str, *, connect_s: float) -> ProviderAnswer:
        """Raises: UpstreamError, with the provider's own reason."""
        ...


def add_and_deploy_handler(database: Database, settings: Settings) -> Handler:
    """Arguments: `path`, `name`, `context`, `slots`."""

    def run(arguments: Arguments, reporter: Reporter) -> Arguments:
        path = Path(arguments["path"])

        def report(done: int, total: int) -> None:
            reporter.report(Progress(step=f"hashing {path.name}", done=done, total=total))

        entry = add_file(path, settings, name=arguments["name"], report=report)
        with database.write("hub") as connection:
            insert_entry(connection, entry)
            deployment_id = store.create_engine_deployment(
                connection,
                entry,
                model=entry.name,
                context_tokens=int(arguments["context"]),
                slots=int(arguments["slots"]),
            )
        return {"model": entry.name, "deployment": deployment_id, "note": entry.note}

    return run


def test_provider_handler(database: Database, *, probe: ProviderProbe) -> Handler:
    """Arguments: `provider`, `take` ("all" also routes every model it lists)."""

    def run(arguments: Arguments, reporter: Reporter) -> Arguments:
        with database.read("hub") as connection:
            provider = provider_store.get_provider(connection, arguments["provider"])
            api_key = provider_store.key_of(connection, provider.id)
        reporter.report(Progress(step=f"asking {provider.name}"))
        answer = probe(provider.base_url, api_key, connect_s=provider.connect_timeout_ms / 1000)
        if arguments.get("take") == "all":
            with database.write("hub") as connection:
                for model in answer.models:
                    name = f"{provider.name}/{model}"
                    if len(name) > store.MODEL_NAME_MAX or not name.isprintable():
                        continue  # one that nobody could ask for hides no other
                    store.create_provider_deployment(
                        connection,
                        provider.id,
                        model=name,
                        upstream_model=model,
                        context_tokens=0,
                        kinds=["chat", "completion", "embedding"],
                    )
        return {
            "models": json.dumps(answer.models[:MODELS_TOLD_MAX]),
            "models_count": str(len(answer.models)),
            "latency_ms": str(answer.latency_ms),
        }

    return run
