"""Outside MCP servers by the official SDK: streamable HTTP, and programs in a sandbox.

Owns: how a server is reached, and bounds on everything that it can do to us (time, bytes, tools, words). Never: what a
tool may do; that is `agents/mcp`. Start at `session.py`. The SDK is loaded by the first exchange (`servers.py`).
"""
