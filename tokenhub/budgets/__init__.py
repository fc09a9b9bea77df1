"""What may be spent: limits on keys, users, projects, teams, organisations and models, and their windows.

Owns: the limit, window arithmetic, the path of limits that a request touches. Never: counts anything itself
(buckets of the ledger do). Start at `types.py`, then `windows.py`.
"""
