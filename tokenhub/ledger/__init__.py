"""Accounts, transfers, entries, buckets, leases, journal; knows no models."""
