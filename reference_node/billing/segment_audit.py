"""Audit of one segment: everything in it computed again, apart from the segments before it.

Rules decided here. What a segment needs of the one before it, number and hash of its last record, is taken as the file
names and frames say; the audit of that segment says whether it holds. Records are checked some thousands at a time
(`columns`, `group_bills`); where anything is not as it should be, or has another form than most, the same records are
read one by one, and that names the fault. Whether a request was billed in another segment is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.billing.bill import PARTS
from reference_node.billing.columns import ColumnReader, Columns, bytes_of
from reference_node.billing.flips import HEADER
from reference_node.billing.group_bills import Amounts, GroupBilling
from reference_node.billing.hashes import sha256
from reference_node.billing.layout import adapters_of
from reference_node.billing.operations import (
    OperationsJoin,
    Repeated,
    agrees,
    lines_of,
    operations_path,
    parse_line,
)
from reference_node.billing.reading import BillReader, Chain
from reference_node.billing.record import GENESIS, RecordError
from reference_node.billing.rules import NO_METHOD
from reference_node.billing.segments import Position, first_record, last_payload, torn_tail, whole_frames
from reference_node.billing.subtrees import Subtrees

Ints = NDArray[np.int64]

AT_ONCE = 2048
"""Records that are checked together; a power of two, so that most are one subtree."""
COUNTS = ("tokens_in", "cached_tokens", "tokens_out")

_FITS = 2**62


@dataclass(slots=True)
class SegmentSums:
    """What a segment holds, up to its first fault.

    Parameters
    ----------
    path
        The segment.
    tree
        Its leaves.
    ids
        Request ids of its records, 16 bytes each; where there is a fault, of those whose chain was checked.
    counts, fee, parts
        Sums over its records: tokens, gwei, `PARTS` in gwei.
    records, without_operations
        Its records, and those of them whose operations line is gone.
    torn
        What is known of an incomplete last record, or "".
    fault
        The first fault, or None.
    """

    path: Path
    tree: Subtrees
    ids: bytearray = field(default_factory=bytearray)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    fee: int = 0
    parts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    records: int = 0
    without_operations: int = 0
    torn: str = ""
    fault: Problem | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a log, the one before it (None for the first), and whether it is the last."""

    path: Path
    before: Path | None
    is_last: bool


def audit_segment(segment: Segment) -> SegmentSums:
    """Check one segment."""
    audit = _SegmentAudit(segment)
    try:
        audit.run()
    except InputError as error:
        audit.sums.fault = error.problems[0]
    return audit.sums


class _SegmentAudit:
    def __init__(self, segment: Segment) -> None:
        self._segment, path = segment, segment.path
        self._number = first_record(path)
        self._head = sha256(last_payload(segment.before)) if segment.before is not None else GENESIS
        self._bills, self._columns = BillReader(path.parent), ColumnReader()
        self._billing = lru_cache(1024)(self._billing_of)
        self._lines = OperationsJoin(lines_of(operations_path(path)))
        self.sums = SegmentSums(path, Subtrees(self._number))

    def run(self) -> None:
        data, offset = self._segment.path.read_bytes(), 0
        while payloads := whole_frames(data, offset, AT_ONCE - self._number % AT_ONCE):
            self._check(payloads, offset)
            offset += sum(map(len, payloads)) + HEADER.size * len(payloads)
        torn = torn_tail(Position(self._segment.path, offset), data, is_last=self._segment.is_last)
        self.sums.torn = str(torn or "")

    def _check(self, payloads: Sequence[bytes], offset: int) -> None:
        hashes = list(map(sha256, payloads))
        columns = self._columns.read(payloads, self._number, [self._head, *hashes[:-1]])
        amounts = None if columns is None else [self._amounts(one) for one in columns]
        if columns is None or amounts is None or None in amounts:
            self._one_by_one(payloads, offset)
        else:
            self._together(payloads, offset, columns, [one for part in amounts for one in part or ()])
        self.sums.tree.extend([sha256(b"\0" + payload) for payload in payloads])
        self.sums.records += len(payloads)
        self._number, self._head = self._number + len(payloads), hashes[-1]

    def _one_by_one(self, payloads: Sequence[bytes], offset: int) -> None:
        chain, sums = Chain(self._number, self._head), self.sums
        for payload in payloads:
            position = Position(self._segment.path, offset)
            entry = chain.entry(position, payload)
            record = entry.record
            sums.ids += record.request_id
            bill = self._bills.billed(entry).bill
            assert bill is not None
            self._check_line(Repeated.of(record), position)
            for name in COUNTS:
                sums.counts[name] += getattr(record, name)
            sums.fee += bill.fee_gwei
            for name, gwei in bill.parts.items():
                sums.parts[name] += gwei
            offset += HEADER.size + len(payload)

    def _together(
        self, payloads: Sequence[bytes], offset: int, columns: Sequence[Columns], amounts: Sequence[Amounts]
    ) -> None:
        sums = self.sums
        said: list[Repeated] = [None] * len(payloads)  # type: ignore[list-item]
        for one in columns:
            names = zip(
                one.places.tolist(),
                one.numbers["seq"].tolist(),
                bytes_of(one.rows, "request_id"),
                *one.tokens().T.tolist(),
                bytes_of(one.rows, "output_hash"),
                strict=True,
            )
            for place, *fields in names:
                said[place] = Repeated(*fields)
            for name in COUNTS:
                sums.counts[name] += _total(one.numbers[name])
        for payload, repeated in zip(payloads, said, strict=True):
            sums.ids += repeated.request_id
            self._check_line(repeated, Position(self._segment.path, offset))
            offset += HEADER.size + len(payload)
        for some in amounts:
            sums.fee += _total(some.fee)
            for name, part in some.parts.items():
                sums.parts[name] += _total(part)

    def _amounts(self, columns: Columns) -> list[Amounts] | None:
        """Return the amounts of the records' bills; None where not every one is as its record says."""
        by_what: dict[tuple[bytes, bytes, bytes], list[int]] = {}
        named_by = (bytes_of(columns.rows, name) for name in ("adapters", "datanet_root", "rules_hash"))
        for i, what in enumerate(zip(*named_by, strict=True)):
            by_what.setdefault(what, []).append(i)
        found = []
        for what, some in by_what.items():
            amounts = self._amounts_of(columns, np.array(some), self._billing(*what))
            if amounts is None or not (amounts.fee == columns.numbers["fee_gwei"][some]).all():
                return None
            found.append(amounts)
        return found

    def _amounts_of(
        self, columns: Columns, some: Ints, billing: tuple[GroupBilling, bool] | None
    ) -> Amounts | None:
        if billing is None:
            return None
        group, is_measured = billing
        ids, which = np.unique(columns.data_ids[some], return_inverse=True)
        places = [group.place_of.get(int(one).to_bytes(8, "big"), -1) for one in ids]
        if -1 in places or (places and not is_measured):
            return None
        weights = columns.weights[some]
        there = np.array(places, np.int64)[which].reshape(weights.shape)
        return group.amounts(columns.tokens()[some], weights, there)

    def _billing_of(
        self, adapters: bytes, root: bytes, rules_hash: bytes
    ) -> tuple[GroupBilling, bool] | None:
        """Return what bills of these adapters and documents have in common, and whether influence was measured."""
        pairs = adapters_of(adapters)
        try:
            rules, tariff = self._bills.rules_of(rules_hash)
            claims = self._bills.claims_of(root)
            if pairs is None or pairs[0] != claims.adapters:
                return None
            return GroupBilling(tariff, claims.terms, pairs[1], claims.address_of), rules.method != NO_METHOD
        except (RecordError, ValueError):
            return None

    def _check_line(self, said: Repeated, position: Position) -> None:
        found = self._lines.line_of(said)
        if found is None:
            self.sums.without_operations += 1
            return
        place, line = found
        if agrees(line, said):
            return
        fields, expected = parse_line(line), said.fields()
        for name, value in expected.items():
            if fields.get(name) != value:
                message = f"is {fields.get(name)!r}; the record at {position} gives {value!r}"
                raise InputError([Problem(message, name, str(place))])


def _total(column: Ints) -> int:
    """Return the sum of numbers from 0 to 2^63, exactly."""
    most = int(column.max(initial=0)) * len(column)
    return int(column.sum()) if most < _FITS else sum(column.tolist())
