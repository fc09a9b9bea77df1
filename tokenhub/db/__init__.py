"""Databases: two of them, `hub` (objects) and `ledger` (books), as SQLite files or PostgreSQL schemas.

Owns: engines, transactions, migrations, the revision counters. Never: a table of a domain package.
Start at `engine.py`. What crosses the two databases is idempotent by key, never one transaction.
"""
