"""The hub that the benchmark runs: one key, a limit at each of four levels, a price, a provider with the mock's models."""

from pathlib import Path

from sqlalchemy import insert

from tokenhub.budgets.store import create_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.identity import directory
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.keys import KeySpec, create_key
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Unit
from tokenhub.maas.deployments.store import create_provider_deployment
from tokenhub.maas.deployments.tables import providers
from tokenhub.pricing.store import add_version
from tokenhub.pricing.types import RateCard, Rates, Rules

KEY = "sk-bench-1"
MODELS = ("32-0", "16-0", "100-0", "100-50", "100-20", "100-10", "1000-20")


def seed(home: str, upstream_port: int) -> None:
    """A migrated hub with everything the full path looks at."""
    settings = Settings(home=Path(home))
    database = Database(settings)
    migrate(database, settings)
    at_ms = now_ms()
    with database.write("hub") as hub:
        first = ensure_first_run(hub, settings)
        assert first is not None
        team = directory.create_team(hub, first.org_id, name="bench", at_ms=at_ms)
        project = directory.create_project(hub, first.org_id, name="bench", team_id=team.id, at_ms=at_ms)
        spec = KeySpec(
            first.org_id,
            "bench",
            frozenset({"inference"}),
            user_id=first.user_id,
            team_id=team.id,
            project_id=project.id,
        )
        key = create_key(hub, spec, at_ms=at_ms, secret=KEY)
        provider_id = new_id("prov")
        hub.execute(
            insert(providers).values(
                id=provider_id,
                name="mock",
                base_url=f"http://127.0.0.1:{upstream_port}/v1",
                api_key="sk-upstream",
                connect_timeout_ms=5000,
                first_token_timeout_ms=60000,
                idle_timeout_ms=60000,
                created_at_ms=at_ms,
            )
        )
        rates = Rules(
            base=RateCard(rates=Rates(input=150_000_000, cache_read=75_000_000, output=600_000_000))
        )
        for suffix in MODELS:
            create_provider_deployment(
                hub,
                provider_id,
                model=f"alias-{suffix}",
                upstream_model=f"m-{suffix}",
                context_tokens=8192,
                kinds=["chat"],
            )
            add_version(
                hub, sku=f"alias-{suffix}", rules=rates, currency="USD", effective_from_ms=at_ms, now_ms=at_ms
            )
        revision.bump(hub)
    year = Window("calendar", "year")
    levels = (
        ("key", key.key_id, Unit.TOKENS, 10**12, year),
        ("user", first.user_id, Unit.TOKENS, 10**12, year),
        ("team", team.id, Unit.MONEY, 10**15, year),
        ("org", first.org_id, Unit.REQUESTS, 10**10, Window("calendar", "day")),
    )
    with database.write("ledger") as ledger:
        for scope, scope_id, unit, cap, window in levels:
            limit = Limit(
                new_id("limit"),
                scope,
                scope_id,
                unit,
                cap,
                True,
                window,
                None,
                f"{scope}-{unit.name.lower()}",
            )  # type: ignore[arg-type]
            create_limit(ledger, limit, now_ms=at_ms)
    database.close()
