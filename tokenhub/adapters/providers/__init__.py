"""Outside model providers."""
