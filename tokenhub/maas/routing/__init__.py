"""Routing: which deployment of a model takes a request. Start at `choice.py`; no I/O, no money."""
