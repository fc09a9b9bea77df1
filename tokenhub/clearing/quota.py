"""Headers that tell a caller how much is left: `x-ratelimit-*` as OpenAI writes them, `x-ath-quota-*` per limit."""

import re

from tokenhub.budgets.types import Limit
from tokenhub.clearing.cells import NEVER_MS, Cell, Path
from tokenhub.ledger.types import Unit

_NOT_TOKEN = re.compile(r"[^a-z0-9-]+")


def header_name(limit: Limit) -> str:
    """A limit's name as part of a header's name."""
    return _NOT_TOKEN.sub("-", (limit.name or limit.id).lower()).strip("-")


def quota_headers(path: Path, *, now_ms: int) -> list[tuple[bytes, bytes]]:
    """For each hard limit its cap, used, held and seconds to its reset; the tightest of a unit as a rate limit.

    The numbers are the database's as this process last saw them.
    """
    headers: list[tuple[bytes, bytes]] = []
    tightest: dict[int, Cell] = {}
    for cell in path.cells:
        state = cell.state
        used = state.used + state.overage
        prefix = f"x-ath-quota-{header_name(cell.limit)}"
        headers += [
            (f"{prefix}-limit".encode(), str(state.cap).encode()),
            (f"{prefix}-used".encode(), str(used).encode()),
            (f"{prefix}-held".encode(), str(state.held).encode()),
        ]
        if state.resets_at_ms < NEVER_MS:
            seconds = max(0, -(-(state.resets_at_ms - now_ms) // 1000))
            headers.append((f"{prefix}-reset".encode(), str(seconds).encode()))
        other = tightest.get(cell.unit)
        if other is None or _left(cell) < _left(other):
            tightest[cell.unit] = cell
    for unit, word in ((Unit.REQUESTS, "requests"), (Unit.TOKENS, "tokens")):
        cell = tightest.get(int(unit))
        if cell is not None:
            headers += [
                (f"x-ratelimit-limit-{word}".encode(), str(cell.state.cap).encode()),
                (f"x-ratelimit-remaining-{word}".encode(), str(_left(cell)).encode()),
            ]
            if cell.state.resets_at_ms < NEVER_MS:
                headers.append(
                    (f"x-ratelimit-reset-{word}".encode(), _duration(cell.state.resets_at_ms - now_ms))
                )
    return headers


def _left(cell: Cell) -> int:
    return max(0, cell.state.cap - cell.state.used - cell.state.overage)


def _duration(ms: int) -> bytes:
    """OpenAI's form: `12ms`, `6m0s`, `1h2m3s`."""
    if ms < 1000:
        return f"{max(0, ms)}ms".encode()
    seconds = ms // 1000
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return (f"{hours}h" if hours else "").encode() + (
        f"{minutes}m{seconds}s".encode() if hours or minutes else f"{seconds}s".encode()
    )
