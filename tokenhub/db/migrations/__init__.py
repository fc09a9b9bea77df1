"""Schema changes, in order: `hub/versions` and `ledger/versions` are two independent Alembic chains.

A migration uses Alembic operations only and imports no table of ours, because tables move on and it must not.
"""
