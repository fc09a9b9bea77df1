"""Tools of outside MCP servers as commands of the hub.

Owns: which servers an organisation knows, what each of their tools may do, and every call that leaves the hub. Never:
the protocol (`adapters/mcp`) and never trust: what a server says of its tools is a hint, what it answers is untrusted.
Start at `outside.py` (a tool as a command), then `calls.py` (how a call leaves) and decision 0015.
"""
