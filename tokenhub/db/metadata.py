"""The two table registries. A package's `tables.py` adds its tables to one of them."""

from sqlalchemy import MetaData

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

hub_metadata = MetaData(naming_convention=_NAMES)
"""Objects: organisations, keys, models, prices, conversations."""

ledger_metadata = MetaData(naming_convention=_NAMES)
"""Books: accounts, transfers, buckets, leases, usage events, limits."""
