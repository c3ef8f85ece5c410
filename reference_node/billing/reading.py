"""Reading a log: everything is checked on the way, and bills are computed again from what the log holds.

Rules decided here. A reader trusts no byte: frame, encoding, number and chain of every record, no request
billed twice; then, for bills, that the tariff and the statement of payees hash to what the record names and
that the fee follows from them. The first thing that does not hold is said with segment, offset and field. A
reader writes nothing and may run beside the writer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from models.errors import InputError, Problem
from reference_node.billing.bill import Bill, Tokens, make_bill
from reference_node.billing.hashes import sha256
from reference_node.billing.record import GENESIS, LogRecord, RecordError
from reference_node.billing.segments import Position, SegmentScan, TornTail, damaged
from reference_node.billing.tariff import Tariff
from reference_node.billing.terms import Terms, statement_root

DOCUMENTS = "documents"
"""Folder of tariffs and statements, each under its hash."""

_T = TypeVar("_T")


def tariff_path(folder: Path, tariff_hash: bytes) -> Path:
    """Return where the log in `folder` keeps a tariff."""
    return folder / DOCUMENTS / f"tariff-{tariff_hash.hex()}.json"


def statement_path(folder: Path, root: bytes) -> Path:
    """Return where the log in `folder` keeps a statement of payees."""
    return folder / DOCUMENTS / f"payees-{root.hex()}.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it was read.

    Parameters
    ----------
    position
        Where its frame begins.
    data
        Its bytes.
    record
        The same, decoded.
    """

    position: Position
    data: bytes
    record: LogRecord


@dataclass(frozen=True, slots=True)
class Billed:
    """A record with its bill and the tariff that made it, both None where they were not asked for."""

    entry: Entry
    bill: Bill | None = None
    tariff: Tariff | None = None


@dataclass(slots=True)
class LogReader:
    """A billing log on disk.

    Parameters
    ----------
    folder
        The log's folder.
    torn
        After reading to the end: the tail that a crash left, if any.
    """

    folder: Path
    torn: TornTail | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError([Problem("there is no such log folder", where=str(self.folder))])

    def entries(self) -> Iterator[Entry]:
        """Yield all records, chain and duplicates checked.

        Raises
        ------
        InputError
            At the first record that does not hold.
        """
        scan, previous, seen = SegmentScan(self.folder), GENESIS, set[bytes]()
        for seq, (position, data) in enumerate(scan):
            record = _checked(position, LogRecord.decode, data)
            if record.seq != seq:
                raise damaged(position, "seq", f"is {record.seq}; expected {seq}")
            if record.prev_hash != previous:
                message = f"is {record.prev_hash.hex()}; the record before hashes to {previous.hex()}"
                raise damaged(position, "prev_hash", message)
            if record.request_id in seen:
                raise damaged(position, "request_id", f"{record.request_id.hex()} was billed before")
            seen.add(record.request_id)
            previous = sha256(data)
            yield Entry(position, data, record)
        self.torn = scan.torn

    def bills(self, first: int = 0) -> Iterator[Billed]:
        """Yield all records, from number `first` on with their bills computed again.

        Raises
        ------
        InputError
            At the first record that does not hold.
        """
        tariff_of, terms_of = lru_cache(256)(self._tariff), lru_cache(4096)(self._terms)
        for entry in self.entries():
            record, position = entry.record, entry.position
            if record.seq < first:
                yield Billed(entry)
                continue
            tariff = _checked(position, tariff_of, record.tariff_hash)
            terms = _checked(position, terms_of, record.datanet_root)
            yield Billed(entry, _checked(position, bill_of, record, tariff, terms), tariff)

    def _tariff(self, tariff_hash: bytes) -> Tariff:
        document = _document(tariff_path(self.folder, tariff_hash), "tariff_hash")
        tariff = _rebuilt(lambda: Tariff.from_document(document), "tariff_hash")
        if tariff.sha256 != tariff_hash.hex():
            raise RecordError("tariff_hash", f"the tariff kept under it hashes to {tariff.sha256}")
        return tariff

    def _terms(self, root: bytes) -> tuple[Terms, ...]:
        document = _document(statement_path(self.folder, root), "datanet_root")
        terms = _rebuilt(
            lambda: tuple(Terms.from_document(one) for one in document["adapters"]), "datanet_root"
        )
        found = _rebuilt(lambda: statement_root(terms), "datanet_root")
        if found != root:
            raise RecordError("datanet_root", f"the statement kept under it has the root {found.hex()}")
        return terms


def bill_of(record: LogRecord, tariff: Tariff, terms: tuple[Terms, ...]) -> Bill:
    """Return the bill of a record.

    Raises
    ------
    RecordError
        If adapters or fee are not those that tariff and terms give.
    """
    if [one.sha256.hex() for one in record.adapters] != [one.sha256 for one in terms]:
        raise RecordError("adapters", "are not those of the statement under datanet_root")
    tokens = Tokens(record.tokens_in, record.cached_tokens, record.tokens_out)
    weights = [one.weight for one in record.adapters]
    try:
        bill = make_bill(record.request_id.hex(), tokens, tariff, terms, weights)
    except ValueError as error:
        raise RecordError("adapters", str(error)) from error
    if bill.fee_gwei != record.fee_gwei:
        raise RecordError("fee_gwei", f"is {record.fee_gwei}; tariff and tokens give {bill.fee_gwei}")
    return bill


def _checked(position: Position, read: Callable[..., _T], *arguments: Any) -> _T:
    try:
        return read(*arguments)
    except RecordError as error:
        raise damaged(position, error.field, error.message) from error


def _document(path: Path, named_by: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(named_by, f"names a document that cannot be read: {error}") from error


def _rebuilt(make: Callable[[], _T], named_by: str) -> _T:
    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(named_by, f"names a document of another form: {error!r}") from error
