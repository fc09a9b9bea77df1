"""APPLY, personal: conversations, messages and runs.

Owns: what people say to a model and what it answers. A run is an object of the server with an event log: it goes on
when the tab closes, any number of tabs follow it, and `stop` ends the engine's work. Never: talks to an engine (it
calls models through the gateway with the user's own delegated key, so that every answer is authorised and metered),
never prices anything (the footer of an answer is a line of the ledger).
Start at `runs.py` (a run's life), then `store.py` (what is kept) and `api.py` (the routes).
"""
