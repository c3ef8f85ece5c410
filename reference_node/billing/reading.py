"""Reading a log: everything is checked on the way, and bills are computed again from what the log holds.

Rules decided here. A reader trusts no byte: frame, encoding, number and chain of every record, no request
billed twice; then, for bills, that the rules, the tariff and the statement of payees hash to what the record names,
that the data named is of the statement, and that the fee follows from them. The first thing that does not hold is
said with segment, offset and field. A reader writes nothing and may run beside the writer.
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
from reference_node.billing.rules import NO_METHOD, Rules
from reference_node.billing.segments import Position, SegmentScan, TornTail, damaged
from reference_node.billing.tariff import Tariff
from reference_node.billing.terms import Terms, payees_by_data, statement_root

DOCUMENTS = "documents"
"""Folder of tariffs and statements, each under its hash."""

_T = TypeVar("_T")


def tariff_path(folder: Path, tariff_hash: bytes) -> Path:
    """Return where the log in `folder` keeps a tariff."""
    return folder / DOCUMENTS / f"tariff-{tariff_hash.hex()}.json"


def rules_path(folder: Path, rules_hash: bytes) -> Path:
    """Return where the log in `folder` keeps the rules of records."""
    return folder / DOCUMENTS / f"rules-{rules_hash.hex()}.json"


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
    """A record with its bill, the tariff that made it and its rules; all None where they were not asked for."""

    entry: Entry
    bill: Bill | None = None
    tariff: Tariff | None = None
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """A statement of payees: its terms, adapters' hashes, and data id -> address."""

    terms: tuple[Terms, ...]
    adapters: tuple[bytes, ...]
    address_of: dict[bytes, str]


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
        scan, chain = SegmentScan(self.folder), Chain()
        for position, data in scan:
            yield chain.entry(position, data)
        self.torn = scan.torn

    def bills(self, first: int = 0) -> Iterator[Billed]:
        """Yield all records, from number `first` on with their bills computed again.

        Raises
        ------
        InputError
            At the first record that does not hold.
        """
        bills = BillReader(self.folder)
        for entry in self.entries():
            yield Billed(entry) if entry.record.seq < first else bills.billed(entry)


@dataclass(slots=True)
class Chain:
    """Checks records one after the other: encoding, number, chain, and that no request is billed twice.

    Parameters
    ----------
    count, previous
        Records before the next one, and the hash of the last of them.
    """

    count: int = 0
    previous: bytes = GENESIS
    _seen: set[bytes] = field(default_factory=set)

    def entry(self, position: Position, data: bytes) -> Entry:
        """Return the next record.

        Raises
        ------
        InputError
            If it does not hold.
        """
        record = _checked(position, LogRecord.decode, data)
        if record.seq != self.count:
            raise damaged(position, "seq", f"is {record.seq}; expected {self.count}")
        if record.prev_hash != self.previous:
            message = f"is {record.prev_hash.hex()}; the record before hashes to {self.previous.hex()}"
            raise damaged(position, "prev_hash", message)
        if record.request_id in self._seen:
            raise billed_before(position, record.request_id)
        self._seen.add(record.request_id)
        self.count, self.previous = self.count + 1, sha256(data)
        return Entry(position, data, record)


def billed_before(position: Position, request_id: bytes) -> InputError:
    """Return the error for a request that a record bills again."""
    return damaged(position, "request_id", f"{request_id.hex()} was billed before")


class BillReader:
    """Computes bills again from what records name.

    Parameters
    ----------
    folder
        The log's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rules_of, self.claims_of = lru_cache(256)(self._rules), lru_cache(4096)(self._claims)

    def billed(self, entry: Entry) -> Billed:
        """Return a record with its bill.

        Raises
        ------
        InputError
            If the bill does not follow.
        """
        record, position = entry.record, entry.position
        rules, tariff = _checked(position, self.rules_of, record.rules_hash)
        claims = _checked(position, self.claims_of, record.datanet_root)
        return Billed(entry, _checked(position, bill_of, record, rules, tariff, claims), tariff, rules)

    def _rules(self, rules_hash: bytes) -> tuple[Rules, Tariff]:
        document = _document(rules_path(self._folder, rules_hash), "rules_hash")
        rules = _rebuilt(lambda: Rules.from_document(document), "rules_hash")
        if rules.digest != rules_hash:
            raise RecordError("rules_hash", f"the rules kept under it hash to {rules.digest.hex()}")
        path = tariff_path(self._folder, bytes.fromhex(rules.tariff_sha256))
        tariff = _rebuilt(lambda: Tariff.from_document(_document(path, "rules_hash")), "rules_hash")
        if tariff.sha256 != rules.tariff_sha256:
            raise RecordError("rules_hash", f"the tariff that it names hashes to {tariff.sha256}")
        return rules, tariff

    def _claims(self, root: bytes) -> Claims:
        document = _document(statement_path(self._folder, root), "datanet_root")
        terms = _rebuilt(
            lambda: tuple(Terms.from_document(one) for one in document["adapters"]), "datanet_root"
        )
        found = _rebuilt(lambda: statement_root(terms), "datanet_root")
        if found != root:
            raise RecordError("datanet_root", f"the statement kept under it has the root {found.hex()}")
        adapters = tuple(bytes.fromhex(one.sha256) for one in terms)
        return Claims(terms, adapters, _rebuilt(lambda: payees_by_data(terms), "datanet_root"))


def bill_of(record: LogRecord, rules: Rules, tariff: Tariff, claims: Claims) -> Bill:
    """Return the bill of a record.

    Raises
    ------
    RecordError
        If adapters, data or fee are not those that rules, tariff and claims give.
    """
    if tuple([one.sha256 for one in record.adapters]) != claims.adapters:
        raise RecordError("adapters", "are not those of the statement under datanet_root")
    if record.top_k and rules.method == NO_METHOD:
        raise RecordError("top_k", "names data, and the rules say that no influence was measured")
    tokens = Tokens(record.tokens_in, record.cached_tokens, record.tokens_out)
    weights = [one.weight for one in record.adapters]
    attributed = []
    for data_id, weight in record.top_k:
        if data_id not in claims.address_of:
            raise RecordError("top_k", f"{data_id.hex()} is no data of the statement under datanet_root")
        attributed.append((claims.address_of[data_id], weight))
    try:
        bill = make_bill(record.request_id.hex(), tokens, tariff, claims.terms, weights, attributed)
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
