"""Services of the app role: the assistant with its books, credentials and way to the gateway."""

import json
import os
from collections.abc import Callable

from tokenhub.assistant.books import LedgerBooks
from tokenhub.assistant.credentials import DelegatedKeys
from tokenhub.assistant.runs import Runner
from tokenhub.assistant.service import Assistant
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.errors import Unavailable


def build_assistant(settings: Settings, database: Database) -> Assistant:
    """The assistant of this app process; start and close its `runner` with the app."""
    books = LedgerBooks(database)
    credentials = DelegatedKeys(database)
    gateway_url = gateway_url_of(settings)
    runner = Runner(
        database,
        gateway_url=gateway_url,
        credentials=credentials,
        books=books,
        process=f"{os.uname().nodename}:{settings.home}",  # the same in its next life, which ends its runs
    )
    return Assistant(database, runner, gateway_url=gateway_url, credentials=credentials, books=books)


def gateway_url_of(settings: Settings) -> Callable[[], str]:
    """Where this machine's gateway listens, as `hub up` wrote it down; read at each call, because it may move."""

    def url() -> str:
        try:
            written = json.loads((settings.run_dir / "hub.json").read_text())
        except FileNotFoundError:
            if settings.port == 0:
                raise Unavailable("No gateway runs on this machine.") from None
            return f"http://127.0.0.1:{settings.port}"
        return str(written["url"])

    return url
