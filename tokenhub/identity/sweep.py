"""Credentials that can never count again: deleted from time to time, so that tables stay small.

Keys themselves stay (the books name them); only secrets, sessions and links go.
"""

from sqlalchemy import Connection, delete, or_, select

from tokenhub.identity.tables import api_keys, console_sessions, key_secrets, login_tokens

KEPT_MS = 24 * 60 * 60 * 1000
"""Kept this long after their end, so that a caller is still told why they do not count."""


def sweep(connection: Connection, *, at_ms: int) -> int:
    """Delete what ended a day ago; returns how many rows went. A caller that repeats it loses nothing."""
    before = at_ms - KEPT_MS
    ended = select(api_keys.c.id).where(
        or_(api_keys.c.expires_at_ms < before, api_keys.c.revoked_at_ms < before)
    )
    gone = (
        delete(console_sessions).where(console_sessions.c.expires_at_ms < before),
        delete(login_tokens).where(login_tokens.c.expires_at_ms < before),
        delete(key_secrets).where(or_(key_secrets.c.expires_at_ms < before, key_secrets.c.key_id.in_(ended))),
    )
    return sum(connection.execute(statement).rowcount for statement in gone)
