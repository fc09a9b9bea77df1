"""The shared agent runtime."""
