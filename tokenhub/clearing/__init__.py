"""The door to the ledger: authorize, checkpoint, capture, void."""
