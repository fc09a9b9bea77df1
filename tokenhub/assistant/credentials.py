"""Delegated keys: the assistant calls the gateway as the person, inside the person's own key and limits."""

import threading
from dataclasses import dataclass

from tokenhub.db.engine import Database
from tokenhub.identity.keys import delegate
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms

APP = "assistant"
TTL_MS = 3_600_000
RENEW_MS = 900_000
"""A key with less than this left is replaced, so that no answer outlives its key's admission."""


@dataclass(frozen=True, slots=True)
class _Held:
    secret: str
    expires_at_ms: int


class DelegatedKeys:
    """One child key per parent key, kept in memory only and renewed before it ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def secret_for(self, principal: Principal) -> str:
        """Secret of a live child of the principal's key. Raises: HubError if the parent may not act any more."""
        now = now_ms()
        with self._lock:
            held = self._held.get(principal.key_id)
            if held is not None and held.expires_at_ms - now > RENEW_MS:
                return held.secret
            with self._database.write("hub") as connection:
                made = delegate(connection, principal, app=APP, ttl_ms=TTL_MS)
            self._held = {key: one for key, one in self._held.items() if one.expires_at_ms > now}
            self._held[principal.key_id] = _Held(made.secret, made.expires_at_ms or now + TTL_MS)
            return made.secret

    def forget(self, principal: Principal) -> None:
        """Drop what is kept for this key (it was refused)."""
        with self._lock:
            self._held.pop(principal.key_id, None)
