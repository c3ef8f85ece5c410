"""Billing log: the hash-chained account of everything that was served, and the only source of what is owed.

Rules decided here. One record per request, in the order in which requests ended; a request id is billed once.
Before the record there are on disk: the rules with their tariff and the statement of payees that it names, and its
operations line; so whatever a crash leaves can be billed again from the log alone. Each append is handed to the
operating system at once and survives the process; it is on the disk (and survives the machine) after `sync`, which runs
by itself every `sync_every` records or `sync_ms` milliseconds of appends. One process writes a log.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.merkle import log_leaf, log_root
from reference_node.access.files import take_lock
from reference_node.billing.bill import Bill
from reference_node.billing.documents import KeptDocuments
from reference_node.billing.entries import Entries, EntryMaker
from reference_node.billing.hashes import digest_bytes, sha256
from reference_node.billing.operations import (
    OperationsJoin,
    OperationsWriter,
    Repeated,
    operations_lines,
    parse_line,
)
from reference_node.billing.reading import LogReader
from reference_node.billing.record import GENESIS
from reference_node.billing.segments import SEGMENT_BYTES, SegmentWriter, TornTail
from reference_node.billing.served import ServedRequest
from reference_node.billing.tariff import Tariff
from reference_node.billing.usage import Totals, Usage, UsageBook, label_of

HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class SyncPolicy:
    """When appends are forced to the disk: after so many records, or when so long has passed since the last time.

    Parameters
    ----------
    every
        Records; 1 for each.
    after_ms
        Milliseconds.
    """

    every: int = 64
    after_ms: int = 1000


class BillingLog:
    """The log of one node; safe to call from several threads.

    Parameters
    ----------
    folder
        Its folder; made where it is missing, continued where it is not.
    base_sha256
        Base model that is served from now on.
    tokenizer_sha256
        What token ids mean; "" where there is no tokenizer.
    tariff
        What is charged from now on; older records keep theirs.
    sync
        When appends are forced to the disk.
    segment_bytes
        Size after which a new segment begins.
    entropy
        Random bytes for the salts of prompt hashes.

    Raises
    ------
    InputError
        If another process writes the log, or it is damaged anywhere but at its very end.
    """

    def __init__(
        self,
        folder: Path,
        base_sha256: str,
        tokenizer_sha256: str,
        tariff: Tariff,
        *,
        sync: SyncPolicy | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.folder, self.tariff = folder, tariff
        self._policy = sync or SyncPolicy()
        digest_bytes(base_sha256, "base model")
        self._lock = threading.RLock()
        self._held = take_lock(folder / ".lock", f"log {folder}")
        try:
            self._load()
            self._writer = SegmentWriter(folder, self.size, self._torn, segment_bytes)
        except BaseException:
            os.close(self._held)
            raise
        self._operations = OperationsWriter()
        self._unsynced, self._synced_s = 0, time.monotonic()
        documents = KeptDocuments(folder, tariff)
        self._entries = EntryMaker(base_sha256, tokenizer_sha256, tariff, documents, entropy)

    @property
    def recovered(self) -> TornTail | None:
        """The tail that a crash had left and that was cut when the log was opened, or None."""
        return self._torn

    @property
    def size(self) -> int:
        """Records in the log."""
        return len(self._leaves) // HASH_BYTES

    def append(self, served: ServedRequest) -> Bill:
        """Bill a request and record it.

        Returns
        -------
        Bill
            What it costs and who gets it.

        Raises
        ------
        InputError
            If the request was billed before or one of its facts is malformed; nothing is recorded then.
        OSError
            If the disk refuses the record; nothing is recorded then.
        """
        return self.append_all([served])[0]

    def append_all(self, group: Sequence[ServedRequest]) -> list[Bill]:
        """Bill requests and record them in one write each of records and operations lines (group commit).

        Parameters
        ----------
        group
            Requests in the order of their records.

        Returns
        -------
        list of Bill
            One of each request.

        Raises
        ------
        InputError
            As `append`, naming the request; none of the group is recorded then.
        OSError
            As `append`.
        """
        with self._lock:
            entries = self._entries.make(group, self.size, self._head, self._ids)
            self._writer.rotate()
            self._operations.append(self._writer.path, entries.lines)
            self._writer.append(entries.data)
            self._leaves += entries.leaves
            self._head = entries.head
            self._count(entries)
            self._unsynced += len(entries.data)
            if self._is_due():
                self.sync()
            return entries.bills

    def root(self) -> bytes:
        """Return the root of the log (RFC 9162, SHA-256), in time linear in its size."""
        with self._lock:
            leaves = bytes(self._leaves)
        return log_root([leaves[i : i + HASH_BYTES] for i in range(0, len(leaves), HASH_BYTES)], sha256)

    def head(self) -> bytes:
        """Return the hash of the last record, zeros for an empty log."""
        return self._head

    def usage(self, key_id: str | None = None, tenant: str | None = None, since: int | None = None) -> Usage:
        """Return what a key, a tenant or everybody used.

        Parameters
        ----------
        key_id, tenant
            None for all.
        since
            Unix milliseconds, taken back to the start of its UTC hour; None for all time.
        """
        with self._lock:
            return self._usage.usage(key_id, tenant, since)

    def sync(self) -> None:
        """Put everything that was appended on the disk."""
        with self._lock:
            self._operations.sync()
            self._writer.sync()
            self._unsynced, self._synced_s = 0, time.monotonic()

    def close(self) -> None:
        """Put everything on the disk and let another process write."""
        with self._lock:
            self._operations.close()
            self._writer.close()
            os.close(self._held)

    def _load(self) -> None:
        self._leaves, self._ids, self._head = bytearray(), set[bytes](), GENESIS
        self._usage = UsageBook()
        reader, lines = LogReader(self.folder), OperationsJoin(operations_lines(self.folder))
        for entry in reader.entries():
            found = lines.line_of(Repeated.of(entry.record))
            fields = parse_line(found[1]) if found else {}
            key_id, tenant = str(fields.get("key_id", "")), str(fields.get("tenant", ""))
            record = entry.record
            self._leaves += log_leaf(entry.data, sha256)
            self._head = sha256(entry.data)
            self._ids.add(record.request_id)
            totals = Totals(1, record.tokens_in, record.cached_tokens, record.tokens_out, record.fee_gwei)
            label = label_of(one.sha256 for one in record.adapters)
            self._usage.add(record.ts, key_id, tenant, label, totals)
        self._torn = reader.torn

    def _count(self, entries: Entries) -> None:
        """Count what was appended."""
        for one, bill in zip(entries.facts, entries.bills, strict=True):
            served, said = one.served, one.repeated
            self._ids.add(said.request_id)
            totals = Totals(1, said.tokens_in, said.cached_tokens, said.tokens_out, bill.fee_gwei)
            self._usage.add(served.ts, served.key_id, served.tenant, one.payees.label, totals)

    def _is_due(self) -> bool:
        waited_ms = (time.monotonic() - self._synced_s) * 1000
        return self._unsynced >= self._policy.every or waited_ms >= self._policy.after_ms
