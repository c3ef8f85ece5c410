"""Usage: what keys and tenants used, added up from the same records that are billed.

Rule decided here: totals are kept per UTC hour, so a question "since when" begins at the start of the hour it
falls in and never leaves a served request out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

HOUR_MS = 3_600_000
BASE = "base"
"""Label of requests without an adapter."""


def label_of(adapters: Iterable[bytes]) -> str:
    """Return what usage names adapters by: their content hashes, joined by + for an ensemble, or `BASE`."""
    return "+".join(one.hex() for one in adapters) or BASE


@dataclass(slots=True)
class Totals:
    """Sums over requests.

    Parameters
    ----------
    requests
        Billed requests.
    tokens_in, cached_tokens, tokens_out
        Tokens; cached ones are among those in.
    fee_gwei
        Fees, gwei.
    """

    requests: int = 0
    tokens_in: int = 0
    cached_tokens: int = 0
    tokens_out: int = 0
    fee_gwei: int = 0

    def add(self, other: Totals) -> None:
        """Add other sums."""
        self.requests += other.requests
        self.tokens_in += other.tokens_in
        self.cached_tokens += other.cached_tokens
        self.tokens_out += other.tokens_out
        self.fee_gwei += other.fee_gwei


@dataclass(frozen=True, slots=True)
class Usage:
    """An answer to who used how much.

    Parameters
    ----------
    total
        All of it.
    by_adapter
        The same by `label_of` adapters.
    since_ms
        Start of the first hour that was counted, Unix milliseconds; 0 for everything.
    """

    total: Totals
    by_adapter: dict[str, Totals]
    since_ms: int


@dataclass(slots=True)
class UsageBook:
    """Sums per (hour, key, tenant, adapters)."""

    _sums: dict[tuple[int, str, str, str], Totals] = field(default_factory=dict)

    def add(self, ts: int, key_id: str, tenant: str, label: str, one: Totals) -> None:
        """Count requests of one hour, key, tenant and `label_of` adapters.

        Parameters
        ----------
        ts
            Unix milliseconds, anywhere in the hour.
        key_id, tenant, label
            Whose, and by what.
        one
            Their sums.
        """
        self._sums.setdefault((ts // HOUR_MS, key_id, tenant, label), Totals()).add(one)

    def usage(self, key_id: str | None, tenant: str | None, since_ms: int | None) -> Usage:
        """Return the sums of one key, one tenant or everybody; see `BillingLog.usage`."""
        first, total, by_adapter = (since_ms or 0) // HOUR_MS, Totals(), dict[str, Totals]()
        for (hour, key, owner, label), sums in self._sums.items():
            if hour >= first and key_id in (None, key) and tenant in (None, owner):
                total.add(sums)
                by_adapter.setdefault(label, Totals()).add(sums)
        return Usage(total, by_adapter, first * HOUR_MS)
