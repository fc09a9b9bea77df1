"""The small endpoints that the gateway answers itself: models, quota, health, metrics."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from tokenhub.clearing.cells import NEVER_MS
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError, NotFound, PermissionDenied
from tokenhub.ledger.types import Need, Unit
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway import metrics_share
from tokenhub.maas.gateway.admission import authenticate
from tokenhub.maas.gateway.errors import ClientGone
from tokenhub.maas.gateway.exchange import JSON, Exchange
from tokenhub.maas.gateway.strand import Strand

if TYPE_CHECKING:
    from tokenhub.maas.gateway.server import GatewayServer

METRICS_SCOPE = "admin"
_encode = msgspec.json.Encoder().encode
_NOTHING = Need(0, 0, 0, 0)


async def answer(server: "GatewayServer", exchange: Exchange) -> None:
    """One of the paths below. Never raises."""
    try:
        if exchange.method != b"GET":
            raise server.method_not_allowed("GET")
        match exchange.path:
            case b"/healthz":
                _health(server, exchange)
            case b"/metrics":
                await _metrics(server, exchange)
            case b"/v1/quota":
                await _quota(server, exchange)
            case _:
                await _models(server, exchange)
    except HubError as error:
        exchange.fail(error)
    except ClientGone:
        pass


def _health(server: "GatewayServer", exchange: Exchange) -> None:
    stats = server.clerk.stats()
    status = "draining" if server.draining else "blocked" if stats.blocked else "ok"
    body = {
        "status": status,
        "gateway": server.index,
        "snapshot_age_s": round(server.loop.time() - server.keeper.changed_at_s, 1),
        "unsettled": stats.backlog,
        "models": {
            name: any(one.healthy for one in deployments)
            for name, deployments in server.keeper.current.deployments.items()
        },
    }
    exchange.respond(200 if status == "ok" else 503, JSON, _encode(body))


async def _metrics(server: "GatewayServer", exchange: Exchange) -> None:
    if not exchange.connection.loopback or b"x-forwarded-for" in exchange.headers:
        principal = await authenticate(server, exchange)
        if not principal.allows(METRICS_SCOPE):
            raise PermissionDenied(f"This key may not read metrics; it lacks the scope `{METRICS_SCOPE}`.")
    own = server.metrics.render()
    text = await Strand.wait(metrics_share.gather(own, server.settings.run_dir, server.index))
    exchange.respond(200, b"content-type: text/plain; version=0.0.4\r\n", text)


async def _models(server: "GatewayServer", exchange: Exchange) -> None:
    principal = await authenticate(server, exchange)
    visible = {
        name: _model(name, deployments[0])
        for name, deployments in server.keeper.current.deployments.items()
        if principal.models is None or name in principal.models
    }
    if exchange.path == b"/v1/models":
        exchange.respond(200, JSON, _encode({"object": "list", "data": list(visible.values())}))
        return
    name = unquote_to_bytes(exchange.path[len(b"/v1/models/") :]).decode("utf-8", "replace")
    if name not in visible:
        raise NotFound(
            f"The model `{name}` does not exist or you do not have access to it.",
            code="model_not_found",
            param="model",
        )
    exchange.respond(200, JSON, _encode(visible[name]))


def _model(name: str, deployment: Deployment) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": deployment.created_at_s,
        "owned_by": deployment.owned_by or "tokenhub",
    }


async def _quota(server: "GatewayServer", exchange: Exchange) -> None:
    """Every hard limit of the caller: cap, used, held, remaining, reset. `?model=` adds those of a model."""
    principal = await authenticate(server, exchange)
    asked = parse_qs(exchange.query.decode("ascii", "replace")).get("model", [""])
    exchange.respond(
        200,
        JSON,
        _encode({"object": "list", "data": await _limits(server, exchange, principal, asked[0])}),
    )


async def _limits(
    server: "GatewayServer", exchange: Exchange, principal: Principal, model: str
) -> list[dict[str, Any]]:
    clerk, at_ms = server.clerk, exchange.started_ms
    path = server.keeper.path(principal, model)
    hold = await Strand.wait(
        clerk.authorize(path, wanted=_NOTHING, minimum=_NOTHING, request_id=exchange.request_id, now_ms=at_ms)
    )
    clerk.void(hold)
    found: list[dict[str, Any]] = []
    for cell in path.cells:
        limit, state = cell.limit, cell.state
        used = state.used + state.overage
        found.append(
            {
                "object": "quota",
                "id": limit.id,
                "name": limit.name,
                "scope": limit.scope_type,
                "model": limit.model,
                "unit": Unit(cell.unit).name.lower(),
                "window": limit.window.kind,
                "limit": state.cap,
                "used": used,
                "held": state.held,
                "remaining": max(0, state.cap - used),
                "resets_at_ms": state.resets_at_ms if state.resets_at_ms < NEVER_MS else None,
            }
        )
    return found
