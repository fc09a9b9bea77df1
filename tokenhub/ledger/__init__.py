"""The books: accounts, transfers, entries, buckets, leases and owners; knows no models and no prices.

Owns: double entry (entries of a transfer sum to zero per unit), the hash chain, buckets whose cap the database
itself enforces, leases on them. Never: reads a request, rates a token, updates a posted row.
Start at `types.py`, then `transfers.py` (what happened) and `buckets.py` (what may still happen).
"""
