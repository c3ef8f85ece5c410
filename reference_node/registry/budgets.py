"""How much a tenant may store: limits in bytes, and in entries because every name costs a line of the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from models.errors import InputError
from reference_node.registry.errors import BudgetError
from reference_node.registry.index import Index


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits of a registry.

    Parameters
    ----------
    upload_bytes
        Weights, configuration and manifest of one upload.
    tenant_bytes
        Distinct objects of one tenant; an object that two tenants uploaded counts for both.
    total_bytes
        Objects on disk, each once.
    tenant_aliases
        Aliases of one tenant, deleted ones included: an alias is never given to somebody else.
    alias_versions
        Versions kept under one alias.
    """

    upload_bytes: int = 1 << 30
    tenant_bytes: int = 16 << 30
    total_bytes: int = 256 << 30
    tenant_aliases: int = 1_000
    alias_versions: int = 100

    def __post_init__(self) -> None:
        wrong = [
            f"budgets.{field.name}: {getattr(self, field.name)!r} is out of range; allowed 1 and above"
            for field in fields(self)
            if type(getattr(self, field.name)) is not int or getattr(self, field.name) < 1
        ]
        if wrong:
            raise InputError(wrong)

    def check_upload(self, size: int) -> None:
        """Raise `BudgetError` when one upload is too large."""
        if size > self.upload_bytes:
            raise BudgetError(f"upload of {size} bytes; allowed {self.upload_bytes}")

    def check_entries(self, index: Index, alias: str, tenant: str) -> None:
        """Raise `BudgetError` when an alias or a version more would be one too many."""
        entry = index.aliases.get(alias)
        if entry is None:
            owned = sum(other.tenant == tenant for other in index.aliases.values())
            if owned >= self.tenant_aliases:
                raise BudgetError(f"tenant {tenant!r} has {owned} aliases; allowed {self.tenant_aliases}")
        elif len(entry.versions) >= self.alias_versions:
            raise BudgetError(
                f"alias {alias!r} has {len(entry.versions)} versions; allowed {self.alias_versions}: delete old ones"
            )

    def check_bytes(
        self,
        new: Mapping[str, int],
        *,
        of_tenant: Mapping[str, int],
        on_disk: Mapping[str, int],
        tenant_bytes: int | None = None,
    ) -> None:
        """Raise `BudgetError` when new objects exceed what the tenant or the node may store.

        Parameters
        ----------
        new
            Bytes by hash of what the upload brings.
        of_tenant, on_disk
            Bytes by hash of what the tenant, and the node, have already.
        tenant_bytes
            The tenant's own limit, when it is lower than everybody's.
        """
        limit = self.tenant_bytes if tenant_bytes is None else min(tenant_bytes, self.tenant_bytes)
        for whose, held, allowed in (
            ("the tenant", of_tenant, limit),
            ("the node", on_disk, self.total_bytes),
        ):
            used = sum(held.values())
            asked = sum(size for sha256, size in new.items() if sha256 not in held)
            if asked and used + asked > allowed:
                raise BudgetError(
                    f"{asked} bytes more than the {used} that {whose} stores; allowed {allowed}"
                )
