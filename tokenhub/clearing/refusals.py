"""How a refusal reads: which limit, how much of it is used, when it starts again."""

from datetime import UTC, datetime

from tokenhub.budgets.types import Limit
from tokenhub.clearing.cells import NEVER_MS, Cell
from tokenhub.clearing.quota import header_name
from tokenhub.kernel.errors import HubError, LimitReached, PaymentRequired
from tokenhub.kernel.money import NANO
from tokenhub.ledger.types import Unit

_RATE_MS = 3_600_000
"""Windows shorter than an hour are rates (retry soon), longer ones budgets (a decision is needed)."""


def refusal(cell: Cell, *, now_ms: int) -> HubError:
    """The error for a request that `cell` has no room for."""
    limit, state = cell.limit, cell.state
    headers = _headers(cell, now_ms)
    message = (
        f"The {_kind(limit)} {limit.name or limit.id!r} of this {limit.scope_type} is used up: "
        f"{_amount(limit, state.used + state.overage)} of {_amount(limit, state.cap)} used"
        f"{f', {_amount(limit, state.held)} held by requests in flight' if state.held else ''}."
    )
    if limit.unit == Unit.CONCURRENCY:
        return LimitReached(
            f"{message} Wait until one of the running requests ends.",
            headers={**headers, "retry-after": "1"},
            resets_at_ms=now_ms + 1000,
        )
    if state.resets_at_ms >= NEVER_MS:
        return PaymentRequired(
            f"{message} It has no reset: ask an administrator to raise it.", headers=headers
        )
    resets = datetime.fromtimestamp(state.resets_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    wait_s = max(1, -(-(state.resets_at_ms - now_ms) // 1000))
    code = "rate_limit_exceeded" if _is_rate(limit) else "insufficient_quota"
    return LimitReached(
        f"{message} It starts again at {resets}.",
        code=code,
        headers={**headers, "retry-after": str(wait_s)},
        resets_at_ms=state.resets_at_ms,
    )


def _is_rate(limit: Limit) -> bool:
    window = limit.window
    if window.length_ms:
        return window.length_ms < _RATE_MS
    return window.length == "minute"


def _kind(limit: Limit) -> str:
    match limit.unit:
        case Unit.CONCURRENCY:
            return "limit of requests at a time"
        case Unit.REQUESTS:
            return "request limit"
        case Unit.MONEY:
            return "money budget"
        case _:
            return "token limit" if _is_rate(limit) else "token budget"


def _amount(limit: Limit, amount: int) -> str:
    match limit.unit:
        case Unit.MONEY:
            return f"{amount / NANO:.6f}"
        case Unit.TOKENS:
            return f"{amount:,} tokens"
        case _:
            return f"{amount:,}"


def _headers(cell: Cell, now_ms: int) -> dict[str, str]:
    name = header_name(cell.limit)
    state = cell.state
    headers = {
        f"x-ath-quota-{name}-limit": str(state.cap),
        f"x-ath-quota-{name}-used": str(state.used + state.overage),
        f"x-ath-quota-{name}-held": str(state.held),
    }
    if state.resets_at_ms < NEVER_MS:
        headers[f"x-ath-quota-{name}-reset"] = str(max(0, -(-(state.resets_at_ms - now_ms) // 1000)))
    return headers
