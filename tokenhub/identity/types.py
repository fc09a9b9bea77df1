"""Words of identity that every package speaks."""

from dataclasses import dataclass

from tokenhub.identity.scopes import allows


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls; carried through every call, never looked up again on the way."""

    key_id: str
    org_id: str
    team_id: str | None
    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    scopes: frozenset[str]
    """What the key may do, already narrowed by its owner's role; `*` = all (see `scopes.SCOPES`)."""
    models: frozenset[str] | None
    """Allow-list of model names; None = all."""
    expires_at_ms: int | None
    app: str
    """Empty for outside API use; "assistant", "cli", ... for the hub's own apps."""
    parent_key_id: str | None
    """A delegated key acts inside its parent: the parent's limits apply too."""
    grant_id: str | None = None
    """Set = an agent calls for its user, within this grant."""

    def allows(self, permission: str) -> bool:
        """True if the scopes cover `permission`; an empty permission asks for a known caller only."""
        return allows(self.scopes, permission)

    @property
    def administers(self) -> bool:
        """An administrator in person. An agent of one sees and decides only what is its person's own."""
        return self.allows("admin") and self.grant_id is None

    @property
    def actor(self) -> str:
        """The id of the person or service account that acts (the key's id for a key of neither)."""
        return self.user_id or self.service_account_id or self.key_id


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One live key as a gateway keeps it in memory."""

    hash: bytes
    """sha256 of the whole secret."""
    principal: Principal


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key just made. `secret` is shown to its maker once and stored nowhere."""

    key_id: str
    secret: str
    prefix: str
    """The secret's first characters, kept for display."""
    expires_at_ms: int | None
