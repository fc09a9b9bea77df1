"""The port `agents/mcp/ports.py`, loading the SDK when the first server is spoken to: most hubs never do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenhub.agents.mcp.types import Answer, Json, Seen, Server

SESSION = "tokenhub.adapters.mcp.session"


class OutsideServers:
    """Every outside server of a hub; `home`: its state folder, which programs do not see."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def tools(self, server: Server) -> list[Seen]:
        """What it lists now. Raises: NotReached."""
        session = await _session()
        return await session.tools(server, self._home)

    async def call(
        self,
        server: Server,
        tool: str,
        arguments: Json,
        *,
        before: Callable[[Sequence[Seen]], Awaitable[bool]],
    ) -> Answer | None:
        """See the port."""
        session = await _session()
        return await session.call(server, self._home, tool, arguments, before=before)


async def _session() -> Any:
    return await asyncio.to_thread(import_module, SESSION)
