"""Registry of a node's adapters: uploads, names, versions, owners, and the bytes behind them."""

from reference_node.registry.budgets import Budgets
from reference_node.registry.errors import BudgetError, NotOwnerError, UnknownModelError
from reference_node.registry.index import Resolved, Version
from reference_node.registry.index_file import stored_base
from reference_node.registry.registry import Registry

__all__ = [
    "BudgetError",
    "Budgets",
    "NotOwnerError",
    "Registry",
    "Resolved",
    "UnknownModelError",
    "Version",
    "stored_base",
]
