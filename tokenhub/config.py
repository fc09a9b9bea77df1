"""Settings: the only reader of the environment. Every field is `TOKENHUB_<NAME>` too.

Built once in `bootstrap` and passed on. What an admin changes at run time is a table row, not a setting.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting, its default and its unit."""

    model_config = SettingsConfigDict(env_prefix="TOKENHUB_", extra="ignore")

    home: Path = Field(
        default=Path("var"), description="Folder of all state; deleting it is a factory reset."
    )
    host: str = Field(default="127.0.0.1", description="Address the public port listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="The one public port; 0 picks a free one.")
    database_url: str = Field(
        default="",
        description="PostgreSQL URL (postgresql://user:password@host/database); empty means SQLite files in home.",
    )
    admin_key: str = Field(
        default="", description="First admin key, for scripted installs; empty means a generated one."
    )
    url: str = Field(default="", description="Hub that the CLI talks to; empty means the one of this state folder.")
    api_key: str = Field(default="", description="Key that the CLI uses; empty means `home/credentials`.")
    model: str = Field(
        default="qwen2.5-coder-0.5b-instruct",
        description="Model deployed at the first start: a catalogue name or a path to a GGUF file; `none` starts without.",
    )
    gateways: int = Field(default=1, ge=1, le=64, description="Gateway processes that share the public port.")
    durability: Literal["process", "full"] = Field(
        default="process",
        description="`process` survives the death of any process; `full` also power loss (fsync per batch).",
    )
    currency: str = Field(
        default="USD", pattern="^[A-Z]{3}$", description="Currency of all prices, budgets and books."
    )
    body_bytes_max: int = Field(default=32 * 2**20, ge=1024, description="Largest request body, in bytes.")
    connections_max: int = Field(
        default=12_000, ge=1, description="Open client connections per gateway process."
    )
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="Time to send complete request headers, in seconds."
    )
    body_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest pause while sending a request body, in seconds."
    )
    idle_timeout_s: float = Field(
        default=75.0, gt=0, description="Idle keep-alive time of a client connection, in seconds."
    )
    write_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest time a client may take to accept bytes, in seconds."
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, description="Default time to connect to an upstream, in seconds."
    )
    first_token_timeout_s: float = Field(
        default=300.0, gt=0, description="Default time to an upstream's first byte, in seconds."
    )
    upstream_idle_timeout_s: float = Field(
        default=60.0, gt=0, description="Default pause between upstream bytes, in seconds."
    )
    hold_wait_s: float = Field(
        default=2.0,
        ge=0,
        description="How long a request near a cap waits for held tokens to come back before it is refused.",
    )
    drain_timeout_s: float = Field(
        default=30.0, gt=0, description="Time that open answers get to finish at shutdown, in seconds."
    )
    engine_slots: int = Field(
        default=4, ge=1, le=256, description="Parallel sequences of an embedded engine."
    )
    engine_context: int = Field(
        default=8192, ge=256, description="Context of each sequence of an embedded engine, in tokens."
    )
    engine_threads: int = Field(
        default=0, ge=0, description="Threads of an embedded engine; 0 means one per core."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _postgres_only(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError(
                "TOKENHUB_DATABASE_URL must start with postgresql:// (leave it empty for SQLite)"
            )
        return value

    @property
    def models_dir(self) -> Path:
        """Content-addressed model files: `models/<sha256>.gguf`."""
        return self.home / "models"

    @property
    def journal_dir(self) -> Path:
        """Append-only journals of the gateways, one file a boot."""
        return self.home / "journal"

    @property
    def run_dir(self) -> Path:
        """Sockets, pid files and `hub.json` of the running hub."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        """Log files of the supervised processes."""
        return self.home / "log"

    @property
    def app_socket(self) -> Path:
        """Unix socket on which the app process listens."""
        return self.run_dir / "app.sock"
