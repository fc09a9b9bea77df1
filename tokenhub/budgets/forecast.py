"""When will a budget be used up, if use goes on as it has since its window began? Pure."""

from dataclasses import dataclass

HORIZON_MS = 36_525 * 86_400_000
"""A hundred years: no day is told that lies further ahead."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A straight line through what was used so far."""

    used_up_at_ms: int | None
    """None: not within the window or the horizon, or nothing was used yet."""
    at_end: int | None
    """Use expected by the end of the window; None for a window without an end or without use."""


def forecast(*, used: int, cap: int, since_ms: int, until_ms: int | None, now_ms: int) -> Forecast:
    """Run rate of [since_ms, now_ms) applied to the rest of the window. Amounts in the limit's unit."""
    elapsed = max(1, now_ms - since_ms)
    if used <= 0:
        return Forecast(None, None)
    at_end = None if until_ms is None else used + used * max(0, until_ms - now_ms) // elapsed
    if used >= cap:
        return Forecast(now_ms, at_end)
    used_up_at = now_ms + (cap - used) * elapsed // used
    if used_up_at >= (now_ms + HORIZON_MS if until_ms is None else until_ms):
        return Forecast(None, at_end)
    return Forecast(used_up_at, at_end)
