"""Audit: whether the log is whole, and whether a settlement follows from it.

Rules decided here. Everything is computed again from the log's bytes: chain, numbers, fees, parts, payees, roots,
and from them the settlement with its bills, proofs and cumulative amounts since the first record, whatever the
settlement before it says. Operations lines are no proof, but one that contradicts its record is a fault. The first
fault ends the audit and is named with its place and field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from models.merkle import log_root
from models.units import WEI_PER_GWEI
from reference_node.billing.batch import (
    EpochSums,
    bill_line,
    payout_root,
    previous_document,
    settlement_document,
)
from reference_node.billing.hashes import sha256
from reference_node.billing.log_audit import audit_log
from reference_node.billing.reading import Billed, LogReader
from reference_node.billing.settlement_file import Settlement, settlement_path


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit without a fault found.

    Parameters
    ----------
    records
        Records in the log.
    root
        Of the log, 64 hexadecimal digits.
    tokens_in, cached_tokens, tokens_out, fee_gwei
        Sums over all records.
    parts
        Sums over the parts of all bills, gwei.
    without_operations
        Records whose operations line is gone; no fault, lines may be deleted.
    torn
        What is known of an incomplete last record, or "".
    epoch
        Number of the settlement that was checked, or None.
    """

    records: int
    root: str
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int
    parts: dict[str, int]
    without_operations: int
    torn: str
    epoch: int | None


def audit(folder: Path, settlement: Path | None = None, *, processes: int = 1) -> AuditReport:
    """Check a billing log, then a settlement against it.

    Parameters
    ----------
    folder
        The log's folder.
    settlement
        A settlement file, or None for the log alone.
    processes
        How many check segments side by side; the result is the same.

    Raises
    ------
    InputError
        With the first fault of the log; if it has none, of the settlement.
    """
    claimed = Settlement.read(settlement) if settlement is not None else None
    found = audit_log(folder, processes)
    if claimed is not None:
        check, whole = _SettlementCheck(claimed), EpochSums(0)
        for billed in LogReader(folder).bills():
            check.take(billed, whole)
            whole.grow(billed.entry)
            whole.add(billed)
        check.finish(whole)
    return AuditReport(
        records=found.records,
        root=found.tree.root().hex(),
        **found.counts,
        fee_gwei=found.fee,
        parts=found.parts,
        without_operations=found.without_operations,
        torn=found.torn,
        epoch=claimed.epoch if claimed else None,
    )


@dataclass(slots=True)
class _SettlementCheck:
    """A settlement beside what the log gives for the same records."""

    claimed: Settlement
    sums: EpochSums = field(init=False)
    before: dict[str, int] = field(init=False)
    _lines: Iterator[tuple[int, bytes]] = field(init=False)
    _digest: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sums = EpochSums(self.claimed.document["log"]["first"])
        self.before, self._digest = {}, hashlib.sha256()
        self._lines = iter(enumerate(self._bills.read_bytes().splitlines(keepends=True), 1))

    @property
    def _bills(self) -> Path:
        return self.claimed.path.parent / str(self.claimed.document["bills"]["file"])

    def take(self, billed: Billed, whole: EpochSums) -> None:
        """Count a record, its bill if it is of the epoch; `whole` sums the records before it."""
        if whole.size == self.sums.first:
            self.before = dict(whole.payees)
        if whole.size >= self.claimed.log_size:
            return
        self.sums.grow(billed.entry)
        if whole.size >= self.sums.first:
            self.sums.add(billed)
            self._check_line(bill_line(billed), billed)

    def finish(self, whole: EpochSums) -> None:
        """Compare the whole settlement."""
        path, size = str(self.claimed.path), self.claimed.log_size
        if whole.size < size:
            raise InputError([Problem(f"is {size}; the log has {whole.size} records", "log.size", path)])
        document = settlement_document(
            self.claimed.epoch, self.sums, self.before, self._previous(), self._digest.hexdigest()
        )
        _compare(self.claimed.document, document, path, "the log")

    def _check_line(self, expected: bytes, billed: Billed) -> None:
        self._digest.update(expected)
        number, line = next(self._lines, (self.sums.size - self.sums.first, b"{}"))
        if line != expected:
            where = f"{self._bills}:{number}"
            try:
                found = json.loads(line)
            except ValueError:
                found = {}
            _compare(found, json.loads(expected), where, f"the record at {billed.entry.position}")
            raise InputError([Problem("is not in canonical form", where=where)])

    def _previous(self) -> dict[str, Any] | None:
        """Return the epoch before as the log gives it; only its file's hash cannot be computed from the log."""
        claimed = self.claimed.document["previous"]
        if self.claimed.epoch == 1 or claimed is None:
            return None
        file = settlement_path(self.claimed.path.parent, self.claimed.epoch - 1)
        return previous_document(
            self.claimed.epoch - 1,
            hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else claimed["sha256"],
            self.sums.first,
            log_root(self.sums.leaves[: self.sums.first], sha256),
            payout_root(self.before),
            sum(self.before.values()) * WEI_PER_GWEI,
        )


def _compare(found: Any, expected: Any, where: str, source: str) -> None:
    """Raise at the first value of `found` that is not as expected."""
    difference = _difference(found, expected, "")
    if difference is not None:
        path, left, right = difference
        raise InputError([Problem(f"is {left!r}; {source} gives {right!r}", path, where)])


def _difference(found: Any, expected: Any, path: str) -> tuple[str, Any, Any] | None:
    if found == expected:
        return None
    if isinstance(found, dict) and isinstance(expected, dict):
        pairs = [
            (key, found.get(key), expected.get(key)) for key in [*expected, *(found.keys() - expected.keys())]
        ]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = list(zip(map(str, range(len(found))), found, expected, strict=True))
    else:
        return path, found, expected
    inner = (_difference(left, right, f"{path}.{key}".strip(".")) for key, left, right in pairs)
    return next((one for one in inner if one is not None), None)
