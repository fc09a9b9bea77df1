"""Conservation of tokens: what the engines made = what was delivered + what was not.

Per engine boot: the engine's own counters against the books. A residual is what a crash left open (tokens made
and never journaled, or a checkpoint recorded that was never sent); `post_residual` books it as undelivered.
An engine that is killed takes its last counts with it: those of requests that it had not finished (llama.cpp counts
a request when it ends), or finished after the last sample. What they made is known from the gateways alone, and
`unconfirmed` tells how many tokens rest on that.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tokenhub.clearing.tables import applied
from tokenhub.db.engine import Database
from tokenhub.ledger.store import balance, chain_length
from tokenhub.ledger.transfers import TOKENS, Account, Entry, Transfer, post
from tokenhub.metering.summary import (
    EngineCount,
    EngineSum,
    engine_counts,
    engine_sums,
    unbalanced_requests,
)

QUIET_MS = 5000
AGAIN_MS = 30_000
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
    unconfirmed: int
    """Of `created`: tokens that the engine did not live to count, or has yet to."""
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
        booked = sums.get(boot, EngineSum(boot, 0, 0, 0, 0, 0, 0))
        counted = counts.get(boot)
        used, thrown = marks.get(boot, (0, 0))
        output, prompt = _engine_totals(booked, counted)
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
                unconfirmed=max(0, output - (counted.output_tokens if counted else 0)),
                output_residual=output - booked.created_tokens - _booked_residual(connection, boot),
                prompt=booked.prompt_tokens,
                engine_prompt=prompt,
                prompt_residual=prompt - booked.prompt_tokens,
            )
        )
    return Reconciliation(tuple(lines), tuple(unbalanced_requests(connection, limit=NAMED)))


def _engine_totals(booked: EngineSum, counted: EngineCount | None) -> tuple[int, int]:
    """(output, prompt) tokens of an engine. Its counters only grow, so a sample that is older than the newest
    request is a lower bound: what the books have beyond it was made after the sample."""
    if counted is None:
        return booked.created_tokens, booked.prompt_tokens
    if counted.at_ms > booked.last_at_ms:
        return counted.output_tokens, counted.prompt_tokens
    return (
        max(counted.output_tokens, booked.created_tokens),
        max(counted.prompt_tokens, booked.prompt_tokens),
    )


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


@dataclass(slots=True)
class _Watch:
    """What a sweep remembers of one boot. `checked_seq`: the hash chain's length at its last check, -1 = unchecked."""

    output: int
    since_ms: int
    checked_seq: int = -1
    checked_at_ms: int = 0


class ResidualSweep:
    """Books residuals by itself, once nothing of a boot can be in flight any more: its counter stood still for
    `QUIET_MS`. Were that wrong, a later sweep books the difference back. The books are summed only for a boot that
    became quiet, and again at most every `AGAIN_MS` while transfers go on."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watch] = {}

    def run(self, database: Database, *, now_ms: int) -> int:
        """One look; returns how many boots were booked."""
        with database.read("ledger") as connection:
            length = chain_length(connection)
            due = [
                boot for boot in engine_counts(connection) if self._is_due(boot, length=length, now_ms=now_ms)
            ]
            names = {boot.engine_boot for boot in due}
            lines = [line for line in reconcile(connection).boots if line.engine_boot in names] if due else []
        open_lines = [line for line in lines if line.output_residual]
        for line in open_lines:
            with database.write("ledger") as connection:
                post_residual(connection, line, actor="hub", now_ms=now_ms)
        return len(open_lines)

    def _is_due(self, count: EngineCount, *, length: int, now_ms: int) -> bool:
        watch = self._watched.get(count.engine_boot)
        if watch is None or watch.output != count.output_tokens:
            self._watched[count.engine_boot] = _Watch(count.output_tokens, now_ms)
            return False
        if now_ms - watch.since_ms < QUIET_MS or watch.checked_seq == length:
            return False
        if watch.checked_seq >= 0 and now_ms - watch.checked_at_ms < AGAIN_MS:
            return False
        watch.checked_seq, watch.checked_at_ms = length, now_ms
        return True


def _booked_residual(connection: Connection, boot: str) -> int:
    return balance(connection, _residual_accounts(boot)[1].id)


def _residual_accounts(boot: str) -> tuple[Account, Account]:
    return Account("created", TOKENS, f"engine:{boot}"), Account("undelivered", TOKENS, f"engine:{boot}")


def _marks(connection: Connection) -> dict[str, tuple[int, int]]:
    query = select(
        applied.c.engine_boot, func.sum(applied.c.applied_tokens), func.sum(applied.c.discarded_tokens)
    ).group_by(applied.c.engine_boot)
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
