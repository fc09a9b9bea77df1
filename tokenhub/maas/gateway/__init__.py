"""The data plane: protocol, admission, relay, settlement of the token paths. Start at `conductor.py`."""
