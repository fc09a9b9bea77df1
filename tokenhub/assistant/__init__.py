"""APPLY, personal: conversations and runs."""
