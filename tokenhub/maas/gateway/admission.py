"""May this request run? Key, scope, model, price, and a hold that pays for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenhub.clearing.cells import Path
from tokenhub.clearing.clerk import Clerk, Hold
from tokenhub.identity.keys import hash_secret
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    LimitReached,
    NotFound,
    PaymentRequired,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.meter import Meter
from tokenhub.maas.gateway.prompt_bounds import PromptBounds, plain_text
from tokenhub.maas.gateway.request import Endpoint, ParsedRequest
from tokenhub.maas.gateway.sizing import (
    GROW_NEAR_TOKENS,
    GROW_TOKENS,
    HoldSize,
    with_exact_prompt,
    with_prompt_bound,
)
from tokenhub.maas.gateway.snapshot import Snapshot
from tokenhub.maas.gateway.strand import Strand
from tokenhub.maas.gateway.upstream_adapter import PromptCounter

if TYPE_CHECKING:
    from tokenhub.maas.gateway.server import GatewayServer

INFERENCE = "inference"
KIND: dict[Endpoint, str] = {
    "chat.completions": "chat",
    "completions": "completion",
    "embeddings": "embedding",
}


def credential(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The secret of `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`."""
    value = headers.get(b"authorization")
    if value is not None:
        if value[:7] == b"Bearer " or value[:7].lower() == b"bearer ":
            return value[7:].strip()
        return None
    return headers.get(b"x-api-key") or headers.get(b"x-goog-api-key")


def find_principal(snapshot: Snapshot, secret: bytes) -> Principal | None:
    """Who holds this secret; None if it is unknown. Its expiry is the caller's to check."""
    try:
        return snapshot.keys.get(hash_secret(secret.decode("ascii")))
    except UnicodeDecodeError:
        return None


def known_principal(server: "GatewayServer", exchange: Exchange) -> Principal | None:
    """Whose key came with the head, if the snapshot knew it, is still the current one, and it has not expired.

    A body may come long after its head: meanwhile the key may have been revoked.
    """
    principal = exchange.principal
    if (
        principal is None
        or exchange.snapshot is not server.keeper.current
        or (principal.expires_at_ms is not None and principal.expires_at_ms <= exchange.started_ms)
    ):
        return None
    return principal


async def authenticate(server: "GatewayServer", exchange: Exchange) -> Principal:
    """Who calls. An unknown key looks once for a newer snapshot. Raises: Unauthenticated."""
    principal, at_ms = known_principal(server, exchange), exchange.started_ms
    if principal is not None:
        return principal
    secret = credential(exchange.headers)
    if secret is None:
        raise Unauthenticated(
            "No API key given. Send it as `Authorization: Bearer KEY`; make one with `hub key create`.",
            code="missing_api_key",
        )
    principal = find_principal(server.keeper.current, secret)
    if principal is None:
        await Strand.wait(server.keeper.check())
        principal = find_principal(server.keeper.current, secret)
    if principal is None or (principal.expires_at_ms is not None and principal.expires_at_ms <= at_ms):
        raise Unauthenticated("The API key is not known here, was revoked, or has expired.")
    return principal


def check_access(principal: Principal, request: ParsedRequest, snapshot: Snapshot) -> tuple[Deployment, ...]:
    """The deployments of the model. Raises: PermissionDenied, NotFound, InvalidRequest (a model of another kind)."""
    if not principal.allows(INFERENCE):
        raise PermissionDenied("This key may not run models; it lacks the scope `inference`.")
    model = request.model
    deployments = snapshot.deployments.get(model)
    if not deployments:
        raise NotFound(
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
            param="model",
        )
    if principal.models is not None and model not in principal.models:
        raise PermissionDenied(
            f"This key may not use the model `{model}`.", code="model_not_allowed", param="model"
        )
    kind = KIND[request.endpoint]
    fitting = tuple(one for one in deployments if kind in one.kinds)
    if not fitting:
        raise InvalidRequest(
            f"The model `{model}` does not serve {request.endpoint.replace('.', ' ')}.",
            code="model_not_supported",
            param="model",
        )
    return fitting


@dataclass(slots=True)
class Admission:
    """A hold and what it pays for."""

    hold: Hold
    size: HoldSize
    paid_tokens: int | None
    """Output tokens paid when the hold must grow; None when everything is."""
    prompt: bytes | None = None
    """The prompt's text, where its bound was taken from it: what the upstream counts is to be learnt."""


def admit_fast(clerk: Clerk, path: Path, size: HoldSize, *, request_id: str, at_ms: int) -> Admission | None:
    """Far from every cap, from memory."""
    hold = clerk.try_authorize(path, size.wanted(), request_id, at_ms)
    return None if hold is None else Admission(hold, size, None)


async def admit(
    clerk: Clerk,
    path: Path,
    size: HoldSize,
    *,
    request: ParsedRequest,
    deployments: Sequence[Deployment],
    counter: PromptCounter | None,
    known: PromptBounds,
    at_ms: int,
) -> Admission:
    """Near a cap, or for the first request of a path: exact prompt, then as much output as can be had.

    deployments: those that may serve it, `request.deployment` first of all; `counter` counts for that one.
    Raises: LimitReached, PaymentRequired, Unavailable, ContextLengthExceeded.
    """
    exact = None
    if counter is not None and request.endpoint != "embeddings":
        exact = await _counted(size, request, counter)
    prompt = plain_text(request) if exact is None else None
    size = exact or size
    while True:
        size = _bounded(size, prompt, deployments, known)
        try:
            hold = await Strand.wait(_authorize(clerk, path, size, request, at_ms), give_back=clerk.void)
            break
        except (LimitReached, PaymentRequired):
            # Others may have ended meanwhile, and told how many tokens such a prompt has.
            if _bounded(size, prompt, deployments, known) is size:
                raise
    try:
        paid = await _complete(clerk, hold, size)
    except BaseException:
        clerk.void(hold)
        raise
    return Admission(hold, size, paid, prompt)


async def _counted(size: HoldSize, request: ParsedRequest, counter: PromptCounter) -> HoldSize | None:
    """Sized with the prompt's exact count; None where the engine cannot tell. Raises: ContextLengthExceeded."""
    deployment = request.deployment
    assert deployment is not None
    exact = await Strand.wait(counter.count(deployment, request))
    if exact is None:
        return None
    if deployment.context_tokens and exact >= deployment.context_tokens:
        raise ContextLengthExceeded(
            f"The prompt has {exact} tokens; the context of `{request.model}` is {deployment.context_tokens}.",
            param="messages",
        )
    return with_exact_prompt(size, exact, deployment)


def _bounded(
    size: HoldSize, prompt: bytes | None, deployments: Sequence[Deployment], known: PromptBounds
) -> HoldSize:
    """`size` itself, or sized with a closer bound that holds at each of the deployments."""
    if prompt is None:
        return size
    most = [known.bound(one.id, prompt) for one in deployments]
    return with_prompt_bound(size, max(size.input_tokens if one is None else one for one in most))


async def _authorize(clerk: Clerk, path: Path, size: HoldSize, request: ParsedRequest, at_ms: int) -> Hold:
    return await clerk.authorize(
        path,
        wanted=size.need(size.first()),
        minimum=size.need(size.least()),
        request_id=request.request_id,
        now_ms=at_ms,
    )


async def _complete(clerk: Clerk, hold: Hold, size: HoldSize) -> int | None:
    """Grow the first hold to everything the request may use (None), unless a cap is near: what it pays for."""
    paid = size.affordable(hold.granted)
    if paid >= size.output_tokens:
        return None
    rest = size.step(paid, size.output_tokens - paid)
    if clerk.try_grow(hold, rest):
        return None
    if not any(cell.near for cell in hold.cells) and await Strand.wait(clerk.grow(hold, rest)):
        return None
    return paid


async def grow(clerk: Clerk, admission: Admission) -> int:
    """Output tokens by which the hold could grow: a full step, else what is left; 0 = refused."""
    assert admission.paid_tokens is not None
    size, hold, paid = admission.size, admission.hold, admission.paid_tokens
    left = size.output_tokens - paid
    if left <= 0:
        return 0
    wanted = min(GROW_TOKENS, left)
    if clerk.try_grow(hold, size.step(paid, wanted)):
        return wanted
    least = size.step(paid, 1)
    if await Strand.wait(clerk.grow(hold, size.step(paid, min(GROW_NEAR_TOKENS, left)), minimum=least)):
        return max(1, size.affordable(hold.granted) - paid)
    return 0


def learn(known: PromptBounds, admission: Admission, meter: Meter) -> None:
    """Remember how many tokens the upstream counted in the prompt of an answer that has ended."""
    if admission.prompt is not None and meter.usage is not None and meter.told:
        known.learn(
            meter.deployment.id,
            admission.prompt,
            tokens=meter.usage.prompt_tokens,
            bound=admission.size.input_tokens,
        )


def unavailable(model: str) -> Unavailable:
    """No healthy deployment."""
    return Unavailable(
        f"No deployment of `{model}` is ready; it may be starting. Try again in a moment.",
        code="model_not_ready",
    )
