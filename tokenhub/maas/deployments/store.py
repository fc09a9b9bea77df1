"""Statements of deployments: what the gateway routes to, and what the supervisor has to make true."""

import json
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from tokenhub.db import revision
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import InvalidRequest, NotFound
from tokenhub.kernel.ids import new_id
from tokenhub.maas.catalog.types import ModelEntry
from tokenhub.maas.deployments.tables import deployments, providers
from tokenhub.maas.deployments.types import Deployment, Timeouts

MODEL_NAME_MAX = 200
"""Characters of a public name; as many as a price can be for."""
Desired = Literal["running", "stopped"]
Status = Literal["pending", "fetching", "starting", "running", "failing", "stopped"]


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One deployment as administrators and the supervisor see it."""

    id: str
    model: str
    entry: str
    provider_id: str | None
    provider: str
    upstream_model: str
    adapter: str
    kinds: frozenset[str]
    context_tokens: int
    slots: int
    desired: Desired
    status: Status
    message: str
    base_url: str
    engine_boot: str
    engine_pid: int
    restarts: int
    created_at_ms: int


def load_deployments(connection: Connection) -> list[Deployment]:
    """Every deployment that should run. One that does not serve yet, or not just now, is listed as unhealthy: a
    request for its model is worth a retry, while one for a model that is not listed is not."""
    joined = deployments.outerjoin(providers, deployments.c.provider_id == providers.c.id)
    columns = [
        *deployments.c,
        providers.c.name.label("p_name"),
        providers.c.base_url.label("p_base_url"),
        providers.c.api_key.label("p_api_key"),
        providers.c.connect_timeout_ms,
        providers.c.first_token_timeout_ms,
        providers.c.idle_timeout_ms,
    ]
    wanted = select(*columns).select_from(joined).where(deployments.c.desired == "running")
    return [_deployment(row) for row in connection.execute(wanted.order_by(deployments.c.id)).mappings()]


def create_engine_deployment(
    connection: Connection, entry: ModelEntry, *, model: str, context_tokens: int, slots: int
) -> str:
    """Ask for an engine that serves `entry` under the public name `model`; returns the deployment's id.

    Deploying what runs already changes nothing; what was stopped starts again.
    """
    same = (deployments.c.model == model) & (deployments.c.entry == entry.name)
    found = connection.execute(select(deployments.c.id).where(same)).scalar()
    if found is not None:
        set_desired(connection, found, "running")
        return found
    return _insert(
        connection,
        model=model,
        entry=entry.name,
        upstream_model=model,
        adapter="llama.cpp",
        kinds=json.dumps(sorted(entry.kinds)),
        context_tokens=min(context_tokens, entry.context_tokens or context_tokens),
        slots=slots,
        status="pending",
    )


def create_provider_deployment(
    connection: Connection,
    provider_id: str,
    *,
    model: str,
    upstream_model: str,
    context_tokens: int,
    kinds: list[str],
) -> str:
    """Route the public name `model` to a provider's model; returns the deployment's id. Raises: InvalidRequest."""
    if len(model) > MODEL_NAME_MAX:
        raise InvalidRequest(
            f"A model's public name has at most {MODEL_NAME_MAX} characters.",
            code="invalid_argument",
            param="model",
        )
    same = (deployments.c.model == model) & (deployments.c.provider_id == provider_id)
    found = connection.execute(select(deployments.c.id).where(same)).scalar()
    if found is not None:
        return found
    return _insert(
        connection,
        model=model,
        entry="",
        provider_id=provider_id,
        upstream_model=upstream_model,
        adapter="openai",
        kinds=json.dumps(sorted(kinds)),
        context_tokens=context_tokens,
        slots=0,
        status="running",
    )


def list_deployments(connection: Connection) -> list[DeploymentRow]:
    """Every deployment, oldest first."""
    joined = deployments.outerjoin(providers, deployments.c.provider_id == providers.c.id)
    query = select(*deployments.c, providers.c.name.label("provider")).select_from(joined)
    return [_row(row) for row in connection.execute(query.order_by(deployments.c.id)).mappings()]


def get_deployment(connection: Connection, name: str) -> DeploymentRow:
    """One deployment by id or by its model's public name. Raises: NotFound."""
    rows = list_deployments(connection)
    for row in rows:
        if name in (row.id, row.model):
            return row
    have = ", ".join(row.model for row in rows) or "none yet; make one with `hub deploy MODEL`"
    raise NotFound(
        f"There is no deployment {name!r} (there is: {have}).", code="deployment_not_found", param="name"
    )


def users_of(connection: Connection, entry: str) -> list[str]:
    """Public names under which this catalogue entry is deployed."""
    return list(connection.execute(select(deployments.c.model).where(deployments.c.entry == entry)).scalars())


def set_desired(connection: Connection, deployment_id: str, desired: Desired) -> None:
    """Ask the supervisor to run or stop it; a provider's model changes at once."""
    outside = deployments.c.provider_id.is_not(None)
    connection.execute(
        update(deployments)
        .where(deployments.c.id == deployment_id)
        .values(desired=desired, changed_at_ms=now_ms())
    )
    status = "running" if desired == "running" else "stopped"
    connection.execute(
        update(deployments).where(deployments.c.id == deployment_id, outside).values(status=status)
    )
    revision.bump(connection)


def delete_deployment(connection: Connection, deployment_id: str) -> None:
    """Forget a deployment; the supervisor stops its engine."""
    connection.execute(delete(deployments).where(deployments.c.id == deployment_id))
    revision.bump(connection)


def set_status(
    connection: Connection,
    deployment_id: str,
    status: Status,
    *,
    message: str = "",
    base_url: str = "",
    api_key: str = "",
    engine_boot: str = "",
    engine_pid: int = 0,
    context_tokens: int | None = None,
    restarted: bool = False,
) -> None:
    """What the supervisor found or did; gateways reload."""
    values: dict[str, object] = {
        "status": status,
        "message": message,
        "base_url": base_url,
        "api_key": api_key,
        "engine_boot": engine_boot,
        "engine_pid": engine_pid,
        "changed_at_ms": now_ms(),
    }
    if context_tokens is not None:
        values["context_tokens"] = context_tokens
    if restarted:
        values["restarts"] = deployments.c.restarts + 1
    connection.execute(update(deployments).where(deployments.c.id == deployment_id).values(**values))
    revision.bump(connection)


def _insert(connection: Connection, **values: object) -> str:
    deployment_id = new_id("dep")
    now = now_ms()
    connection.execute(
        insert(deployments).values(
            id=deployment_id,
            desired="running",
            message="",
            base_url="",
            api_key="",
            engine_boot="",
            engine_pid=0,
            restarts=0,
            created_at_ms=now,
            changed_at_ms=now,
            **values,
        )
    )
    revision.bump(connection)
    return deployment_id


def _deployment(row: RowMapping) -> Deployment:
    own = row["provider_id"] is None
    timeouts = Timeouts()
    if not own:
        timeouts = Timeouts(
            row["connect_timeout_ms"] / 1000,
            row["first_token_timeout_ms"] / 1000,
            row["idle_timeout_ms"] / 1000,
        )
    return Deployment(
        id=row["id"],
        model=row["model"],
        upstream_model=row["upstream_model"],
        base_url=row["base_url"] if own else row["p_base_url"],
        api_key=row["api_key"] if own else row["p_api_key"],
        adapter=row["adapter"],
        kinds=frozenset(json.loads(row["kinds"])),
        context_tokens=row["context_tokens"],
        slots=row["slots"],
        engine_boot=row["engine_boot"],
        healthy=row["status"] == "running",
        timeouts=timeouts,
        owned_by="tokenhub" if own else row["p_name"],
        created_at_s=row["created_at_ms"] // 1000,
        own_engine=own,
    )


def _row(row: RowMapping) -> DeploymentRow:
    return DeploymentRow(
        id=row["id"],
        model=row["model"],
        entry=row["entry"],
        provider_id=row["provider_id"],
        provider=row["provider"] or "",
        upstream_model=row["upstream_model"],
        adapter=row["adapter"],
        kinds=frozenset(json.loads(row["kinds"])),
        context_tokens=row["context_tokens"],
        slots=row["slots"],
        desired=row["desired"],
        status=row["status"],
        message=row["message"],
        base_url=row["base_url"],
        engine_boot=row["engine_boot"],
        engine_pid=row["engine_pid"],
        restarts=row["restarts"],
        created_at_ms=row["created_at_ms"],
    )
