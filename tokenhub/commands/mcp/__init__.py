"""The commands as MCP tools: `search`, `describe`, `call` and the caller's pinned ones, over HTTP and stdio.

Owns: what an MCP client is shown and how a tool call becomes a command. Never: permission, audit or anything else of
the door; a tool call is `execute()` with other words around it. Start at `desk.py` (a tool call to a command and back),
then `pin_verbs.py` (what is listed), `server.py` (the protocol, by the official SDK) and `route.py` (`POST /mcp`).

The SDK is imported by `server.py` alone, and that at the first MCP request: it costs 0.7 s and 18 MB.
"""
