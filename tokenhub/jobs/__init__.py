"""The durable queue: long work is a row that a worker takes, reports on and finishes.

Owns: the `jobs` table, the runner, leases that hand the work of a dead worker to the next. Never: what a job
does; handlers come from the package that owns the kind. Start at `store.py`, then `runner.py`.
"""
