"""Why the registry refuses, beyond malformed input (`InputError`): each reason is a status of the HTTP interface."""

from __future__ import annotations

from models.errors import InputError


class UnknownModelError(InputError):
    """No such alias, version or prefix: 404."""


class NotOwnerError(InputError):
    """The alias belongs to another tenant: 403."""


class BudgetError(InputError):
    """The upload would exceed a budget of bytes or entries: 413."""
