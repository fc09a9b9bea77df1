"""The ledger as the assistant reads it: lines of statements, limits with what is left, and the mark of what was applied."""

from tokenhub.assistant.ports import Envelope
from tokenhub.assistant.types import BooksLine
from tokenhub.budgets.forecast import forecast
from tokenhub.budgets.paths import limits_for
from tokenhub.budgets.store import load_limits
from tokenhub.budgets.types import Limit
from tokenhub.budgets.windows import bucket_spec
from tokenhub.clearing import applied
from tokenhub.clearing.statements import StatementLine, statement_line
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.ledger.buckets import BucketState, states
from tokenhub.ledger.types import BucketSpec, Unit

NEVER_MS = 2**62
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class LedgerBooks:
    """`ports.Books` over the ledger's database. Every call is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def line(self, request_id: str) -> BooksLine | None:
        """What was booked for this request; None while nothing is settled."""
        with self._database.read("ledger") as connection:
            found = statement_line(connection, request_id)
        return None if found is None else _line(found)

    def mark_applied(self, request_id: str, *, applied_tokens: int, discarded_tokens: int) -> None:
        """Tell how many delivered tokens reached the person. Idempotent."""
        with self._database.write("ledger") as connection:
            applied.mark_applied(
                connection, request_id, applied_tokens=applied_tokens, discarded_tokens=discarded_tokens
            )

    def envelopes(self, principal: Principal) -> list[Envelope]:
        """Limits on the principal's path that do not depend on the model; budgets before rates, tightest first."""
        at_ms = now_ms()
        with self._database.read("ledger") as connection:
            limits = limits_for(load_limits(connection), principal, "")
            found = states(connection, [limit.id for limit in limits], now_ms=at_ms)
        return [
            _envelope(limit, found.get(limit.id), at_ms=at_ms)
            for limit in sorted(limits, key=lambda limit: _order(limit, found.get(limit.id), at_ms))
        ]


def _line(found: StatementLine) -> BooksLine:
    event = found.event
    details: dict[str, str | int | None] = {
        "hash": found.transfer_hash,
        "seq": found.transfer_seq,
        "applied": found.applied_tokens,
        "discarded": found.discarded_tokens,
        "corrected_by": found.corrected_by,
        "app": event.app,
        "deployment": event.deployment_id,
        "ttft_ms": event.ttft_ms,
        "latency_ms": event.latency_ms,
    }
    return BooksLine(
        request_id=event.request_id,
        transfer_id=found.transfer_id,
        at_ms=event.at_ms,
        key_id=event.key_id,
        model=event.model,
        input_tokens=event.prompt_tokens - event.cache_read_tokens,
        cached_tokens=event.cache_read_tokens,
        output_tokens=event.completion_tokens - event.reasoning_tokens,
        reasoning_tokens=event.reasoning_tokens,
        total_tokens=event.total_tokens,
        amount_nano=event.amount_nano,
        currency=event.currency,
        price_version_id=event.price_version_id,
        finish=event.finish,
        source=event.source,
        details={name: value for name, value in details.items() if value not in (None, "")},
    )


def _envelope(limit: Limit, state: BucketState | None, *, at_ms: int) -> Envelope:
    spec = bucket_spec(limit, now_ms=at_ms)
    cap, used, held = (state.cap, state.used + state.overage, state.held) if state else (limit.cap, 0, 0)
    resets_at_ms = state.resets_at_ms if state else spec.window_end_ms
    return Envelope(
        limit_id=limit.id,
        name=limit.name,
        scope=limit.scope_type,
        unit=limit.unit.name.lower(),
        window=" ".join(part for part in (limit.window.kind, limit.window.length) if part),
        cap=cap,
        used=used,
        held=held,
        hard=limit.hard,
        resets_at_ms=None if resets_at_ms >= NEVER_MS else resets_at_ms,
        forecast_at_ms=_forecast(limit, spec, cap=cap, used=used, at_ms=at_ms),
    )


def _forecast(limit: Limit, spec: BucketSpec, *, cap: int, used: int, at_ms: int) -> int | None:
    """When a budget is used up at the pace so far; None in a window's first hour, which tells nothing yet."""
    until_ms = None if spec.window_end_ms >= NEVER_MS else spec.window_end_ms
    lasting = until_ms is not None and until_ms - spec.window_start_ms > DAY_MS
    if limit.unit not in (Unit.TOKENS, Unit.MONEY) or not lasting or at_ms - spec.window_start_ms < HOUR_MS:
        return None
    return forecast(
        used=used, cap=cap, since_ms=spec.window_start_ms, until_ms=until_ms, now_ms=at_ms
    ).used_up_at_ms


def _order(limit: Limit, state: BucketState | None, at_ms: int) -> tuple[bool, bool, float, str]:
    """Budgets (tokens or money over a day and more) first, hard before soft, then by the part that is used."""
    spec = bucket_spec(limit, now_ms=at_ms)
    budget = limit.unit in (Unit.TOKENS, Unit.MONEY) and spec.window_end_ms - spec.window_start_ms >= DAY_MS
    part = (state.used + state.held) / max(state.cap, 1) if state else 0.0
    return not budget, not limit.hard, -part, limit.id
