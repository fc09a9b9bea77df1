"""Statements of providers. Their keys stay in the hub database, whose folder only its owner may open; never shown."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from tokenhub.db import revision
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id
from tokenhub.maas.deployments.tables import deployments, providers


@dataclass(frozen=True, slots=True)
class Provider:
    """One outside provider, without its key."""

    id: str
    name: str
    base_url: str
    key_hint: str
    """The key's last characters, or "" if it has none."""
    connect_timeout_ms: int
    first_token_timeout_ms: int
    idle_timeout_ms: int
    created_at_ms: int


def insert_provider(
    connection: Connection,
    name: str,
    *,
    base_url: str,
    api_key: str,
    connect_timeout_ms: int,
    first_token_timeout_ms: int,
    idle_timeout_ms: int,
) -> Provider:
    """Add one. Raises: Conflict if the name is taken."""
    if connection.execute(select(providers.c.id).where(providers.c.name == name)).first() is not None:
        raise Conflict(f"There is a provider {name!r} already.", code="provider_exists", param="name")
    connection.execute(
        insert(providers).values(
            id=new_id("prov"),
            name=name,
            base_url=base_url,
            api_key=api_key,
            connect_timeout_ms=connect_timeout_ms,
            first_token_timeout_ms=first_token_timeout_ms,
            idle_timeout_ms=idle_timeout_ms,
            created_at_ms=now_ms(),
        )
    )
    return get_provider(connection, name)


def list_providers(connection: Connection) -> list[Provider]:
    """Every provider by name."""
    rows = connection.execute(select(providers).order_by(providers.c.name)).mappings()
    return [
        Provider(
            id=row["id"],
            name=row["name"],
            base_url=row["base_url"],
            key_hint=_hint(row["api_key"]),
            connect_timeout_ms=row["connect_timeout_ms"],
            first_token_timeout_ms=row["first_token_timeout_ms"],
            idle_timeout_ms=row["idle_timeout_ms"],
            created_at_ms=row["created_at_ms"],
        )
        for row in rows
    ]


def get_provider(connection: Connection, name: str) -> Provider:
    """One provider by name or id. Raises: NotFound."""
    known = list_providers(connection)
    for provider in known:
        if name in (provider.id, provider.name):
            return provider
    have = ", ".join(provider.name for provider in known) or "none yet"
    raise NotFound(
        f"There is no provider {name!r} (there is: {have}).", code="provider_not_found", param="name"
    )


def key_of(connection: Connection, provider_id: str) -> str:
    """The provider's key, for calling it."""
    return connection.execute(select(providers.c.api_key).where(providers.c.id == provider_id)).scalar_one()


def delete_provider(connection: Connection, provider_id: str) -> list[str]:
    """Forget a provider and its deployments; returns their models' public names."""
    of_it = deployments.c.provider_id == provider_id
    models = list(connection.execute(select(deployments.c.model).where(of_it)).scalars())
    connection.execute(delete(deployments).where(of_it))
    connection.execute(delete(providers).where(providers.c.id == provider_id))
    revision.bump(connection)
    return models


def _hint(api_key: str) -> str:
    return f"…{api_key[-4:]}" if len(api_key) >= 12 else ("set" if api_key else "")
