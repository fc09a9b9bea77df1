"""Conservation of tokens: what the engines made = what was delivered + what was not.

Per engine boot: the engine's own counters against the books. A residual is what a crash left open (tokens made
and never journaled, or a checkpoint recorded that was never sent); `post_residual` books it as undelivered.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tokenhub.clearing.tables import applied
from tokenhub.ledger.store import balance
from tokenhub.ledger.transfers import TOKENS, Account, Entry, Transfer, post
from tokenhub.metering.summary import EngineSum, engine_counts, engine_sums, unbalanced_requests

NAMED = 20
"""At most this many broken requests are named."""


@dataclass(frozen=True, slots=True)
class BootLine:
    """One engine boot. Tokens; prompt tokens exclude cached ones."""

    engine_boot: str
    counted_at_ms: int | None
    """When the engine last reported; None: it never did, so there is nothing to compare with."""
    requests: int
    created: int
    """Output tokens made, by the books."""
    delivered: int
    undelivered: int
    applied: int
    discarded: int
    unattributed: int
    engine_output: int
    output_residual: int
    """engine's count - created - what was booked as residual before; 0 = conserved."""
    prompt: int
    engine_prompt: int
    prompt_residual: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All boots, and the requests that do not add up in themselves."""

    boots: tuple[BootLine, ...]
    broken_requests: tuple[str, ...]

    @property
    def residual(self) -> int:
        """Sum of the output residuals' sizes; 0 = every token is accounted for."""
        return sum(abs(boot.output_residual) for boot in self.boots)


def reconcile(connection: Connection) -> Reconciliation:
    """Compare the engines' counters with the books, as they stand now."""
    sums = {item.engine_boot: item for item in engine_sums(connection)}
    counts = {item.engine_boot: item for item in engine_counts(connection)}
    marks = _marks(connection)
    lines: list[BootLine] = []
    for boot in sorted(sums.keys() | counts.keys()):
        booked = sums.get(boot, EngineSum(boot, 0, 0, 0, 0, 0))
        counted = counts.get(boot)
        used, thrown = marks.get(boot, (0, 0))
        output = counted.output_tokens if counted else booked.created_tokens
        prompt = counted.prompt_tokens if counted else booked.prompt_tokens
        lines.append(
            BootLine(
                engine_boot=boot,
                counted_at_ms=counted.at_ms if counted else None,
                requests=booked.requests,
                created=booked.created_tokens,
                delivered=booked.delivered_tokens,
                undelivered=booked.undelivered_tokens,
                applied=used,
                discarded=thrown,
                unattributed=booked.delivered_tokens - used - thrown,
                engine_output=output,
                output_residual=output - booked.created_tokens - _booked_residual(connection, boot),
                prompt=booked.prompt_tokens,
                engine_prompt=prompt,
                prompt_residual=prompt - booked.prompt_tokens,
            )
        )
    return Reconciliation(tuple(lines), tuple(unbalanced_requests(connection, limit=NAMED)))


def post_residual(connection: Connection, line: BootLine, *, actor: str, now_ms: int) -> str | None:
    """Book a boot's output residual as made and undelivered (negative: recorded and never made).

    Only for a boot with nothing in flight: requests that are not settled yet look like a residual.
    Returns: the transfer, or None if there is no residual.
    """
    if not line.output_residual:
        return None
    created, undelivered = _residual_accounts(line.engine_boot)
    booked = _booked_residual(connection, line.engine_boot)
    return post(
        connection,
        Transfer(
            kind="reconcile",
            idempotency_key=f"reconcile:{line.engine_boot}:{line.engine_output}:{booked}",
            entries=[Entry(created, -line.output_residual), Entry(undelivered, line.output_residual)],
            actor=actor,
            memo=f"engine {line.engine_boot} counted {line.engine_output} output tokens",
        ),
        now_ms=now_ms,
    )


def _booked_residual(connection: Connection, boot: str) -> int:
    return balance(connection, _residual_accounts(boot)[1].id)


def _residual_accounts(boot: str) -> tuple[Account, Account]:
    return Account("created", TOKENS, f"engine:{boot}"), Account("undelivered", TOKENS, f"engine:{boot}")


def _marks(connection: Connection) -> dict[str, tuple[int, int]]:
    query = select(
        applied.c.engine_boot, func.sum(applied.c.applied_tokens), func.sum(applied.c.discarded_tokens)
    ).group_by(applied.c.engine_boot)
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
