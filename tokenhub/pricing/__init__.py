"""The price book and `rate()`: what a token costs, as a pure function of usage and one immutable price version.

Owns: price versions (dated, hashed, never updated), rating in integers, the import of public price lists.
Never: a balance, a budget or a usage event (those are `budgets`, `ledger` and `metering`).
Start at `rating.py` (`rate` and `bound`), then `types.py` (what a price can say) and `store.py` (the book).
"""
