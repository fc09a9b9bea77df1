"""The registry of every declared command, for the faces that run in this process."""

import importlib
import importlib.util
from functools import cache

from tokenhub.commands.registry import Registry

_MODULES = (
    "tokenhub.commands.identity_verbs",
    "tokenhub.budgets.verbs",
    "tokenhub.metering.verbs",
    "tokenhub.pricing.verbs",
    "tokenhub.clearing.verbs",
    "tokenhub.maas.catalog.verbs",
    "tokenhub.maas.deployments.verbs",
)


@cache
def registry() -> Registry:
    """Every command."""
    found = [importlib.import_module(name) for name in _MODULES if importlib.util.find_spec(name)]
    return Registry(*found)
