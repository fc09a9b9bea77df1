"""The one door to the ledger: authorize, grow, checkpoint, capture, void; statements and reconciliation.

Owns: holds in memory, leases, the journal, settlement, recovery after a crash, statements. Never: talks to an
engine or rates a token. Start at `clerk.py`; what a crash leaves behind is read in `recovery.py`.
"""
