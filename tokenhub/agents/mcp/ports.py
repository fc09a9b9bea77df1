"""How outside servers are reached; `adapters/mcp` implements it with the official SDK."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tokenhub.agents.mcp.types import Answer, Json, Seen, Server


class Outside(Protocol):
    """One exchange with a server at a time: connect, list, perhaps call, leave. Every wait and size is bounded."""

    async def tools(self, server: Server) -> list[Seen]:
        """What it lists now. Raises: NotReached."""
        ...

    async def call(
        self,
        server: Server,
        tool: str,
        arguments: Json,
        *,
        before: Callable[[Sequence[Seen]], Awaitable[bool]],
    ) -> Answer | None:
        """List, ask `before` with the list, then call; None if `before` said no and nothing was sent.

        Raises: NotReached if nothing was sent, NoAnswer if it was and no answer came.
        """
        ...
