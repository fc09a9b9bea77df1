"""Deployments: where each model is served, by an engine of ours or by an outside provider.

Owns: the `deployments` and `providers` tables, what the gateway routes to, the supervisor that makes engines match
the desired state. Never: knows an engine's flags (see `adapters/engines`), relays a request.
Start at `types.py`, then `store.py` (`load_deployments`) and `supervisor.py`.
"""
