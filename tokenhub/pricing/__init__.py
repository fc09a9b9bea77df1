"""The price book and rate()."""
