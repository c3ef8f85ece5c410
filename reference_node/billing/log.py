"""Billing log: the hash-chained account of everything that was served, and the only source of what is owed.

Rules decided here. One record per request, in the order in which requests ended; a request id is billed once.
Before the record there are on disk: the tariff and the statement of payees that it names, and its operations
line; so whatever a crash leaves can be billed again from the log alone. Each append is handed to the operating
system at once and survives the process; it is on the disk (and survives the machine) after `sync`, which runs
by itself every `sync_every` records or `sync_ms` milliseconds of appends. One process writes a log.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from models.errors import InputError
from models.merkle import log_leaf, log_root
from reference_node.access.files import take_lock, write_atomic
from reference_node.billing.bill import Bill, Tokens, make_bill
from reference_node.billing.hashes import canonical_json, digest_bytes, sha256
from reference_node.billing.operations import (
    OperationsWriter,
    operations_line,
    operations_path,
    read_operations,
)
from reference_node.billing.reading import LogReader, statement_path, tariff_path
from reference_node.billing.record import GENESIS, AdapterEntry, LogRecord, output_hash
from reference_node.billing.segments import SEGMENT_BYTES, SegmentWriter, TornTail
from reference_node.billing.served import ServedRequest
from reference_node.billing.tariff import Tariff
from reference_node.billing.terms import Terms, statement_document, statement_root
from reference_node.billing.usage import Usage, UsageBook

SALT_BYTES = 16
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
        self._base, self._tokenizer = base_sha256, tokenizer_sha256
        self._policy, self._entropy = sync or SyncPolicy(), entropy
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
        self._statement_root = lru_cache(4096)(self._keep_statement)
        self._tariff_hash = self._keep_tariff()

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
        with self._lock:
            try:
                record, bill = self._record(served)
                line = operations_line(served, record, self._tokenizer, self._entropy(SALT_BYTES))
            except (ValueError, TypeError, OverflowError, struct.error) as error:
                raise InputError(f"request {served.request_id!r} cannot be billed: {error}") from error
            self._writer.rotate()
            self._operations.append(operations_path(self._writer.path), line)
            data = record.encode()
            self._writer.append(data)
            self._count(record, data, served.key_id, served.tenant)
            self._unsynced += 1
            if self._is_due():
                self.sync()
            return bill

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
        owners = {
            line.get("request_id"): (str(line.get("key_id", "")), str(line.get("tenant", "")))
            for _, line in read_operations(self.folder)
        }
        reader = LogReader(self.folder)
        for entry in reader.entries():
            key_id, tenant = owners.get(entry.record.request_id.hex(), ("", ""))
            self._count(entry.record, entry.data, key_id, tenant)
        self._torn = reader.torn

    def _count(self, record: LogRecord, data: bytes, key_id: str, tenant: str) -> None:
        self._leaves += log_leaf(data, sha256)
        self._ids.add(record.request_id)
        self._head = sha256(data)
        self._usage.add(record, key_id, tenant)

    def _record(self, served: ServedRequest) -> tuple[LogRecord, Bill]:
        request_id = bytes.fromhex(served.request_id)
        if request_id in self._ids:
            raise ValueError("it was billed before")
        if served.base_sha256 != self._base:
            raise ValueError(
                f"base model {served.base_sha256!r} is not the one this log serves, {self._base}"
            )
        terms = tuple(Terms.of(one) for one in served.adapters)
        weights = [float(one.weight) for one in served.adapters]
        tokens = Tokens(len(served.prompt_tokens), served.cached_tokens, len(served.completion))
        bill = make_bill(served.request_id, tokens, self.tariff, terms, weights)
        record = LogRecord(
            seq=self.size,
            prev_hash=self._head,
            request_id=request_id,
            model_hash=bytes.fromhex(self._base),
            adapters=tuple(
                AdapterEntry(bytes.fromhex(one.sha256), w) for one, w in zip(terms, weights, strict=True)
            ),
            datanet_root=self._statement_root(terms),
            output_hash=output_hash(self._tokenizer, served.completion),
            tariff_hash=self._tariff_hash,
            tokens_in=tokens.prompt,
            cached_tokens=tokens.cached,
            tokens_out=tokens.generated,
            fee_gwei=bill.fee_gwei,
            ts=served.ts,
        )
        return record, bill

    def _keep_statement(self, terms: tuple[Terms, ...]) -> bytes:
        root = statement_root(terms)
        self._keep(statement_path(self.folder, root), canonical_json(statement_document(terms)))
        return root

    def _keep_tariff(self) -> bytes:
        tariff_hash = bytes.fromhex(self.tariff.sha256)
        self._keep(tariff_path(self.folder, tariff_hash), canonical_json(self.tariff.document()))
        return tariff_hash

    @staticmethod
    def _keep(path: Path, data: bytes) -> None:
        if not path.exists():
            write_atomic(path, data)

    def _is_due(self) -> bool:
        waited_ms = (time.monotonic() - self._synced_s) * 1000
        return self._unsynced >= self._policy.every or waited_ms >= self._policy.after_ms
