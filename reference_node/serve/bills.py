"""The newest bills of every tenant, at hand for who asks.

Rule: the log on disk is the account, and settlements are made from it; what is kept here is a bounded copy of its end,
read from the log at start, so that asking for bills never reads a whole log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reference_node.billing import Bill, BillingLog
from reference_node.billing.operations import read_operations
from reference_node.billing.reading import LogReader

KEPT = 10_000


@dataclass(frozen=True, slots=True)
class KeptBill:
    """A bill with whose it is and when its request ended, Unix milliseconds."""

    tenant: str
    key_id: str
    ts: int
    bill: Bill

    def document(self) -> dict[str, Any]:
        """Return the bill as the interface writes it."""
        bill = self.bill
        return {
            "request_id": bill.request_id,
            "key_id": self.key_id,
            "ts": self.ts,
            "tokens_in": bill.tokens_in,
            "cached_tokens": bill.cached_tokens,
            "tokens_out": bill.tokens_out,
            "fee_gwei": bill.fee_gwei,
            "parts_gwei": bill.parts,
            "payees_gwei": bill.payees,
        }


class RecentBills:
    """The newest bills, oldest ones dropped.

    Parameters
    ----------
    kept
        How many, of all tenants together.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._bills: deque[KeptBill] = deque(maxlen=kept)
        self.dropped = False

    @classmethod
    def of(cls, log: BillingLog, kept: int = KEPT) -> RecentBills:
        """Return the newest bills of a log."""
        recent = cls(kept)
        first = max(0, log.size - kept)
        owners = {
            line["seq"]: line for _, line in read_operations(log.folder) if line.get("seq", -1) >= first
        }
        for found in LogReader(log.folder).bills(first) if log.size else ():
            if found.bill is not None:
                record = found.entry.record
                line = owners.get(record.seq, {})
                whose = str(line.get("tenant", "")), str(line.get("key_id", ""))
                recent.add(KeptBill(*whose, record.ts, found.bill))
        recent.dropped = first > 0
        return recent

    def add(self, bill: KeptBill) -> None:
        """Keep one more."""
        self.dropped |= len(self._bills) == self._bills.maxlen
        self._bills.append(bill)

    def newest_of(self, tenant: str) -> Iterator[KeptBill]:
        """Yield a tenant's bills, newest first."""
        return (kept for kept in reversed(tuple(self._bills)) if kept.tenant == tenant)
