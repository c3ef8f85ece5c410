"""Batch: from the bills of an epoch to the document that settles it.

Rules decided here. Sums are sums: bills = parts = payees + accounts, exactly, so the dust is 0. Payees (model
owners, contributors, the fallback) are paid by the distributor and carry cumulative amounts, which never fall;
platform, stakers and burn are accounts that the fee splitter credits. The payout tree is OpenZeppelin's
`standard-v1` over (address, cumulative wei). Amounts are decimal strings, because JSON readers elsewhere round
large numbers. The document is a function of the log and of where the epochs before ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.merkle import consistency_proof, log_leaf, log_root, payout_leaf, payout_tree
from models.units import WEI_PER_GWEI
from reference_node.billing.bill import PAID_OUT, PARTS, Bill
from reference_node.billing.hashes import canonical_json, keccak, sha256
from reference_node.billing.reading import Billed, Entry
from reference_node.billing.settlement_file import bills_name

ACCOUNT_PARTS = tuple(name for name in PARTS if name not in PAID_OUT)
"""Parts that go to accounts instead of payees."""


@dataclass(slots=True)
class EpochSums:
    """Sums over the bills of one epoch.

    Parameters
    ----------
    first, size
        Records before the epoch, and up to its end.
    """

    first: int
    size: int = 0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("tokens_in", "cached_tokens", "tokens_out"), 0)
    )
    fee: int = 0
    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    accounts: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    payees: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    period_ms: tuple[int, int] = (2**64, 0)
    leaves: list[bytes] = field(default_factory=list)

    def grow(self, entry: Entry) -> None:
        """Count a record of the log, of this epoch or before it."""
        self.leaves.append(log_leaf(entry.data, sha256))
        self.size += 1

    def add(self, billed: Billed) -> None:
        """Add one bill of the epoch."""
        bill, record = billed.bill, billed.entry.record
        assert bill is not None
        assert billed.tariff is not None
        self.fee += bill.fee_gwei
        counts, parts, payees = self.counts, self.parts, self.payees
        counts["tokens_in"] += bill.tokens_in
        counts["cached_tokens"] += bill.cached_tokens
        counts["tokens_out"] += bill.tokens_out
        for name, amount in bill.parts.items():
            parts[name] += amount
        for name in ACCOUNT_PARTS:
            self.accounts[name, billed.tariff.addresses[name]] += bill.parts[name]
        for payee, amount in bill.payees.items():
            payees[payee] += amount
        first, last = self.period_ms
        if not first <= record.ts <= last:
            self.period_ms = min(first, record.ts), max(last, record.ts)


def bill_line(billed: Billed) -> bytes:
    """Return a bill's line of the sidecar."""
    assert billed.bill is not None
    return canonical_json(_bill_document(billed.entry.record.seq, billed.bill)) + b"\n"


def settlement_document(
    epoch: int, sums: EpochSums, before: Mapping[str, int], previous: dict[str, Any] | None, bills_sha256: str
) -> dict[str, Any]:
    """Return the settlement of an epoch as plain JSON values (`settlement.schema.json`).

    Parameters
    ----------
    epoch
        1 for the first.
    sums
        Its bills.
    before
        Payee -> what it had earned before the epoch, gwei.
    previous
        `previous_document` of the epoch before, or None.
    bills_sha256
        Of the sidecar.
    """
    cumulative = {a: before.get(a, 0) + sums.payees.get(a, 0) for a in sorted({*before, *sums.payees})}
    total = sum(cumulative.values())
    paid_out, kept = sum(sums.payees.values()), sum(sums.accounts.values())
    dust = sums.fee - paid_out - kept
    assert dust == 0 == sum(sums.parts.values()) - sums.fee, (sums.fee, sums.parts, paid_out, kept)
    root, payees = _payees(cumulative, sums.payees)
    return {
        "schema": 1,
        "epoch": epoch,
        "period_ms": {"first": sums.period_ms[0], "last": sums.period_ms[1]},
        "log": _log_document(sums),
        "previous": previous,
        "bills": {"file": bills_name(epoch), "sha256": bills_sha256, **_sums_document(sums)},
        "accounts": _accounts(sums),
        "payees": payees,
        "payout": {
            "root": "0x" + root.hex(),
            "epoch_gwei": str(paid_out),
            "total_gwei": str(total),
            "total_wei": str(total * WEI_PER_GWEI),
        },
        "rounding_dust_gwei": str(dust),
    }


def _accounts(sums: EpochSums) -> list[dict[str, str]]:
    return [
        {"part": part, "address": address, "gwei": str(amount), "wei": str(amount * WEI_PER_GWEI)}
        for (part, address), amount in sorted(sums.accounts.items())
    ]


def _sums_document(sums: EpochSums) -> dict[str, Any]:
    return {
        "count": sums.size - sums.first,
        **sums.counts,
        "fee_gwei": str(sums.fee),
        "parts_gwei": {name: str(amount) for name, amount in sums.parts.items()},
    }


def previous_document(
    epoch: int, sha256_hex: str, log_size: int, root: bytes, payout_root: bytes, total_wei: int
) -> dict[str, Any]:
    """Return how a settlement names the one before it.

    Parameters
    ----------
    epoch, sha256_hex
        Number and hash of the file before.
    log_size, root
        Records that it settled, and the log's root there.
    payout_root, total_wei
        Its payout root and cumulative total.
    """
    return {
        "epoch": epoch,
        "sha256": sha256_hex,
        "log_size": log_size,
        "log_root": "0x" + root.hex(),
        "payout_root": "0x" + payout_root.hex(),
        "total_wei": str(total_wei),
    }


def payout_root(cumulative_gwei: Mapping[str, int]) -> bytes:
    """Return the payout root of cumulative amounts, zeros where nobody is owed anything."""
    return _payees(cumulative_gwei, {})[0]


def _bill_document(seq: int, bill: Bill) -> dict[str, Any]:
    return {
        "seq": seq,
        "request_id": bill.request_id,
        "tokens_in": bill.tokens_in,
        "cached_tokens": bill.cached_tokens,
        "tokens_out": bill.tokens_out,
        "fee_gwei": str(bill.fee_gwei),
        "parts_gwei": {name: str(amount) for name, amount in bill.parts.items()},
        "payees_gwei": {payee: str(amount) for payee, amount in bill.payees.items()},
    }


def _payees(cumulative: Mapping[str, int], now: Mapping[str, int]) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the payout root (zeros where nobody is owed anything) and the payees with their proofs."""
    pairs = {
        payee: (bytes.fromhex(payee[2:]), gwei * WEI_PER_GWEI) for payee, gwei in cumulative.items() if gwei
    }
    if not pairs:
        return bytes(32), []
    tree = payout_tree(pairs.values(), keccak)
    rows = [
        {
            "address": payee,
            "gwei": str(now.get(payee, 0)),
            "cumulative_gwei": str(cumulative[payee]),
            "cumulative_wei": str(wei),
            "proof": ["0x" + node.hex() for node in tree.proof(payout_leaf(raw, wei, keccak))],
        }
        for payee, (raw, wei) in pairs.items()
    ]
    return tree.root, rows


def _log_document(sums: EpochSums) -> dict[str, Any]:
    proof = consistency_proof(sums.leaves, sums.first, sums.size, sha256) if sums.first else []
    return {
        "first": sums.first,
        "size": sums.size,
        "root": "0x" + log_root(sums.leaves, sha256).hex(),
        "consistency": ["0x" + node.hex() for node in proof],
    }
