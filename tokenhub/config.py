"""Settings: the only reader of the environment. Every field is `TOKENHUB_<NAME>` too.

Built once in `bootstrap` and passed on. What an admin changes at run time is a table row, not a setting.
A plain dataclass, because the gateway process reads it too and is kept small (docs/decisions/0004).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from tokenhub.kernel.errors import HubError

PREFIX = "TOKENHUB_"


class InvalidSetting(HubError):
    """A setting has a value that cannot be; `param` names the variable."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_setting"


class SettingInfo(NamedTuple):
    """What documentation says of one setting."""

    name: str
    variable: str
    default: object
    description: str


def _setting(
    default: Any,
    description: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {
        "default": default,
        "description": description,
        "least": least,
        "most": most,
        "above": above,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, its default and its unit. Make one with `load_settings()` (environment) or by hand (tests)."""

    home: Path = _setting(Path("var"), "Folder of all state; deleting it is a factory reset.")
    host: str = _setting("127.0.0.1", "Address the public port listens on.")
    port: int = _setting(8080, "The one public port; 0 picks a free one.", least=0, most=65535)
    database_url: str = _setting(
        "", "PostgreSQL URL (postgresql://user:password@host/database); empty means SQLite files in home."
    )
    admin_key: str = _setting("", "First admin key, for scripted installs; empty means a generated one.")
    url: str = _setting("", "Hub that the CLI talks to; empty means the one of this state folder.")
    api_key: str = _setting("", "Key that the CLI uses; empty means `home/credentials`.")
    model: str = _setting(
        "qwen2.5-coder-0.5b-instruct",
        "Model deployed at the first start: a catalogue name or a path to a GGUF file; `none` starts without.",
    )
    gateways: int = _setting(1, "Gateway processes that share the public port.", least=1, most=64)
    durability: Literal["process", "full"] = _setting(
        "process",
        "`process` survives the death of any process; `full` also power loss (fsync per batch).",
        choices=("process", "full"),
    )
    currency: str = _setting("USD", "Currency of all prices, budgets and books (three capital letters).")
    body_bytes_max: int = _setting(32 * 2**20, "Largest request body, in bytes.", least=1024)
    connections_max: int = _setting(12_000, "Open client connections per gateway process.", least=1)
    header_timeout_s: float = _setting(10.0, "Time to send complete request headers, in seconds.", above=0)
    body_timeout_s: float = _setting(60.0, "Longest pause while sending a request body, in seconds.", above=0)
    idle_timeout_s: float = _setting(
        75.0, "Idle keep-alive time of a client connection, in seconds.", above=0
    )
    write_timeout_s: float = _setting(
        60.0, "Longest time a client may take to accept bytes, in seconds.", above=0
    )
    connect_timeout_s: float = _setting(5.0, "Default time to connect to an upstream, in seconds.", above=0)
    first_token_timeout_s: float = _setting(
        300.0, "Default time to an upstream's first byte, in seconds.", above=0
    )
    upstream_idle_timeout_s: float = _setting(
        60.0, "Default pause between upstream bytes, in seconds.", above=0
    )
    hold_wait_s: float = _setting(
        10.0,
        "How long a request near a cap waits at most for what requests in flight hold before it is refused;"
        " where nothing will come back it is refused at once.",
        least=0,
    )
    drain_timeout_s: float = _setting(
        30.0, "Time that open answers get to finish at shutdown, in seconds.", above=0
    )
    engine_slots: int = _setting(4, "Parallel sequences of an embedded engine.", least=1, most=256)
    engine_context: int = _setting(
        8192, "Context of each sequence of an embedded engine, in tokens.", least=256
    )
    engine_threads: int = _setting(0, "Threads of an embedded engine; 0 means one per core.", least=0)
    outbox_wait_s: float = _setting(
        20.0,
        "How long what leaves the hub waits in the outbox, so that `hub outbox unsend` can stop it, in seconds.",
        least=0,
        most=86_400,
    )
    outbox_private_hosts: str = _setting(
        "",
        "Hosts of your own network that hooks may reach, comma-separated names or addresses; every other address"
        " that is not public (loopback, private, link-local) is refused.",
    )
    compiled: Literal["yes", "no"] = _setting(
        "yes",
        "Use the parts of the gateway that `./hub` compiled; `no` runs the same work in Python.",
        choices=("yes", "no"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Least level that is logged.", choices=("debug", "info", "warning", "error")
    )

    def __post_init__(self) -> None:
        """Check and normalise. Raises: InvalidSetting."""
        object.__setattr__(self, "home", Path(self.home).expanduser().absolute())
        for found in fields(self):
            _check(found.name, getattr(self, found.name), found.metadata)
        if self.database_url and not self.database_url.startswith(
            ("postgresql://", "postgres://", "postgresql+psycopg://")
        ):
            raise _invalid("database_url", "must start with postgresql:// (leave it empty for SQLite)")
        try:
            _ = urlsplit(self.database_url).port
        except ValueError:
            raise _invalid("database_url", "must be postgresql://user:password@host:port/database") from None
        if not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isupper()):
            raise _invalid("currency", "must be three capital letters, for instance USD")

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


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process: the environment's values over the defaults. Raises: InvalidSetting."""
    given = os.environ if environment is None else environment
    return Settings(**{name: _parse(name, given[PREFIX + name.upper()]) for name in given_names(given)})


def wants_compiled(environment: Mapping[str, str] | None = None) -> bool:
    """`Settings.compiled`, for what is decided while modules are imported."""
    given = os.environ if environment is None else environment
    return given.get(PREFIX + "COMPILED") != "no"


def given_names(environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of the settings that the environment gives (an empty variable counts as absent)."""
    given = os.environ if environment is None else environment
    return [found.name for found in describe() if given.get(found.variable)]


def describe() -> list[SettingInfo]:
    """Every setting, in order, for documentation and `hub config show`."""
    return [
        SettingInfo(
            found.name, PREFIX + found.name.upper(), found.metadata["default"], found.metadata["description"]
        )
        for found in fields(Settings)
    ]


def _parse(name: str, text: str) -> Any:
    default: Any = next(found.default for found in describe() if found.name == name)
    try:
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except ValueError:
        raise _invalid(name, f"must be a number, not {text!r}") from None
    return Path(text) if isinstance(default, Path) else text


def _check(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    if rule["choices"] and value not in rule["choices"]:
        raise _invalid(name, f"must be one of {', '.join(rule['choices'])}, not {value!r}")
    if rule["least"] is not None and value < rule["least"]:
        raise _invalid(name, f"must be at least {rule['least']}, not {value}")
    if rule["most"] is not None and value > rule["most"]:
        raise _invalid(name, f"must be at most {rule['most']}, not {value}")
    if rule["above"] is not None and not value > rule["above"]:
        raise _invalid(name, f"must be above {rule['above']}, not {value}")


def _invalid(name: str, what: str) -> InvalidSetting:
    return InvalidSetting(f"{PREFIX}{name.upper()} {what}.", param=PREFIX + name.upper())
