"""Words of deployments that other packages speak."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Upstream time-outs, in seconds."""

    connect_s: float = 5.0
    first_token_s: float = 300.0
    idle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place where a model is served."""

    id: str
    model: str
    """Public name."""
    upstream_model: str
    base_url: str
    """`http://127.0.0.1:PORT/v1`."""
    api_key: str = ""
    adapter: str = "openai"
    kinds: frozenset[str] = frozenset({"chat", "completion"})
    context_tokens: int = 0
    slots: int = 0
    engine_boot: str = ""
    """Id of the engine process life; "" outside."""
    healthy: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    owned_by: str = ""
    created_at_s: int = 0
    own_engine: bool = False
