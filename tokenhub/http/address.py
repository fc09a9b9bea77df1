"""Where the hub of a state folder listens, as its supervisor wrote it down."""

import json
from dataclasses import dataclass

from tokenhub.config import Settings


@dataclass(frozen=True, slots=True)
class RunningHub:
    """What `run/hub.json` says while a hub runs."""

    url: str
    pid: int
    started_at_ms: int


def running_hub(settings: Settings) -> RunningHub | None:
    """The hub that was last started on this state folder, or None; its process may have died since."""
    try:
        said = json.loads((settings.run_dir / "hub.json").read_text())
        return RunningHub(str(said["url"]).rstrip("/"), int(said["pid"]), int(said["started_at_ms"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def hub_url(settings: Settings) -> str:
    """The hub's address for people: of the running hub, else as configured. No trailing slash."""
    running = running_hub(settings)
    if running is not None:
        return running.url
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def login_url(base: str, token: str) -> str:
    """The one-time sign-in link; the token stands in the fragment, which no server logs."""
    return f"{base}/login#token={token}"
