"""Entries: what is written for a group of requests, made together.

Rules decided here. A group is whole or refused, with the request that is wrong. Requests with the same payees and
weights are billed together (`group_bills`), few of them one by one (`bill.make_bill`); the amounts are the same. Bytes
are those of `record.LogRecord`, put together by its layout.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from models.attribution import WHOLE
from models.errors import InputError
from reference_node.billing.bill import Bill, Tokens, make_bill
from reference_node.billing.documents import KeptDocuments
from reference_node.billing.group_bills import GroupBilling
from reference_node.billing.hashes import digest_bytes, sha256
from reference_node.billing.layout import (
    ADAPTERS_MAX,
    Shape,
    adapters_bytes,
    layout_of,
    widths_of,
)
from reference_node.billing.operations import Repeated, operations_line
from reference_node.billing.payees import PayeeBook, Payees
from reference_node.billing.record import AdapterEntry, LogRecord, output_hash
from reference_node.billing.rules import NO_METHOD, NO_PARAMS
from reference_node.billing.served import ServedRequest
from reference_node.billing.tariff import Tariff
from reference_node.billing.top_k import TopK, pack

SALT_BYTES = 16
TOP_K = 8
"""Data named in a record; the weight of all other data is in its residual."""

_TOGETHER = 8
"""From this many requests on, billing them together is faster."""
_NOTHING = (b"", 0)
_WRONG = (ValueError, TypeError, OverflowError, struct.error)


class Facts(NamedTuple):
    """A request as its record tells it, before it is billed."""

    served: ServedRequest
    payees: Payees
    weights: tuple[float, ...]
    top_k: TopK
    rules_hash: bytes
    repeated: Repeated


@dataclass(slots=True)
class Entries:
    """What is written for a group.

    Parameters
    ----------
    facts, bills, data
        Of each request: its facts, its bill, its record's bytes.
    lines
        Operations lines of all.
    leaves
        Leaves of the records in the log's tree, one behind the other.
    head
        Hash of the last record.
    """

    facts: list[Facts]
    bills: list[Bill]
    data: list[bytes]
    lines: bytes
    leaves: bytes
    head: bytes


class EntryMaker:
    """Makes the entries of one node.

    Parameters
    ----------
    base_sha256, tokenizer_sha256, tariff, entropy
        As in `log.BillingLog`.
    documents
        Where rules and statements are kept.
    """

    def __init__(
        self,
        base_sha256: str,
        tokenizer_sha256: str,
        tariff: Tariff,
        documents: KeptDocuments,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._base, self._tokenizer, self._tariff = base_sha256, tokenizer_sha256, tariff
        self._documents, self._entropy = documents, entropy
        self._model_hash = digest_bytes(base_sha256, "base model")
        self._payees = PayeeBook(documents.statement, base_sha256, tokenizer_sha256)
        self._billing = lru_cache(1024)(
            lambda payees, weights: GroupBilling(tariff, payees.terms, weights, payees.address_of)
        )

    def make(self, group: Sequence[ServedRequest], seq: int, head: bytes, billed: set[bytes]) -> Entries:
        """Return the entries of a group.

        Parameters
        ----------
        group
            Requests in the order of their records.
        seq, head
            Number of the first record, and the hash of the one before it.
        billed
            Ids of all requests before.

        Raises
        ------
        InputError
            If a request was billed before or one of its facts is malformed.
        """
        facts, ids = [], set[bytes]()
        for number, served in enumerate(group, seq):
            try:
                facts.append(self._facts(served, number, billed, ids))
            except _WRONG as error:
                raise _refused(served, error) from error
        bills, data, leaves = self._bills(facts), [], []
        for one, bill in zip(facts, bills, strict=True):
            try:
                record = self._encoded(one, bill, head)
            except _WRONG as error:
                raise _refused(one.served, error) from error
            head = sha256(record)
            data.append(record)
            leaves.append(sha256(b"\0" + record))
        return Entries(facts, bills, data, self._lines(facts), b"".join(leaves), head)

    def _facts(self, served: ServedRequest, seq: int, billed: set[bytes], ids: set[bytes]) -> Facts:
        """Return the facts of a request; `ids` are those of its group before it, and then its own."""
        request_id = bytes.fromhex(served.request_id)
        if request_id in billed or request_id in ids:
            raise ValueError("it was billed before")
        ids.add(request_id)
        if served.base_sha256 != self._base:
            raise ValueError(
                f"base model {served.base_sha256!r} is not the one this log serves, {self._base}"
            )
        payees, by = self._payees.of(served.adapters), served.influence
        tokens_in, cached, completion = len(served.prompt_tokens), served.cached_tokens, served.completion
        if type(cached) is not int or not 0 <= cached <= tokens_in:
            Tokens(tokens_in, cached, len(completion))
            raise ValueError(f"cached tokens {cached!r} are no whole number")
        measured = (by.method, by.params) if by else (NO_METHOD, NO_PARAMS)
        output = output_hash(self._tokenizer, completion)
        return Facts(
            served,
            payees,
            tuple([float(one.weight) for one in served.adapters]),
            payees.top_k(by, TOP_K) if by else (),
            self._documents.rules_hash(*measured),
            Repeated(seq, request_id, tokens_in, cached, len(completion), output),
        )

    def _bills(self, facts: Sequence[Facts]) -> list[Bill]:
        groups: dict[tuple[Payees, tuple[float, ...]], list[int]] = {}
        for i, one in enumerate(facts):
            groups.setdefault((one.payees, one.weights), []).append(i)
        bills: dict[int, Bill] = {}
        for (payees, weights), places in groups.items():
            some = [facts[i] for i in places]
            together = self._together(payees, weights, some) if len(some) >= _TOGETHER else None
            bills |= zip(places, map(self._bill, some) if together is None else together, strict=True)
        return [bills[i] for i in range(len(facts))]

    def _together(
        self, payees: Payees, weights: tuple[float, ...], facts: Sequence[Facts]
    ) -> Iterator[Bill] | None:
        """Return the bills of requests with the same payees and weights, None where they are to be made alone."""
        if not all(map(math.isfinite, weights)):
            return None
        billing, most = self._billing(payees, weights), max(len(one.top_k) for one in facts)
        tokens = np.array([one.repeated[2:5] for one in facts], np.int64)
        named, places = np.zeros((2, len(facts), most), np.int64)
        for k in range(most):
            column = [one.top_k[k] if k < len(one.top_k) else _NOTHING for one in facts]
            named[:, k] = [weight for _, weight in column]
            places[:, k] = [billing.place_of.get(data_id, 0) for data_id, _ in column]
        found = billing.amounts(tokens, named, places)
        if found is None:
            return None
        return billing.bills([one.served.request_id for one in facts], tokens, found)

    def _bill(self, one: Facts) -> Bill:
        said, payees = one.repeated, one.payees
        tokens = Tokens(said.tokens_in, said.cached_tokens, said.tokens_out)
        attributed = [(payees.address_of[data_id], weight) for data_id, weight in one.top_k]
        try:
            return make_bill(
                one.served.request_id, tokens, self._tariff, payees.terms, one.weights, attributed
            )
        except _WRONG as error:
            raise _refused(one.served, error) from error

    def _encoded(self, one: Facts, bill: Bill, head: bytes) -> bytes:
        seq, request_id, tokens_in, cached, tokens_out, output = one.repeated
        payees, ts = one.payees, one.served.ts
        residual = WHOLE - sum([weight for _, weight in one.top_k])
        if (
            type(ts) is not int
            or not 0 <= ts < 1 << 63
            or len(request_id) != 16
            or len(payees.hashes) > ADAPTERS_MAX
        ):
            adapters = tuple([AdapterEntry(h, w) for h, w in zip(payees.hashes, one.weights, strict=True)])
            return LogRecord(
                seq, head, request_id, self._model_hash, adapters, payees.root, output, one.rules_hash, tokens_in,
                cached, tokens_out, bill.fee_gwei, ts, one.top_k, residual,
            ).encode()  # fmt: skip
        numbers = seq, tokens_in, tokens_out, bill.fee_gwei, residual, ts, cached
        layout = layout_of(Shape(widths_of(numbers), len(payees.hashes), len(one.top_k)))
        return layout.written(
            seq, head, request_id, self._model_hash, adapters_bytes(payees.hashes, one.weights), payees.root, output,
            one.rules_hash, tokens_in, tokens_out, bill.fee_gwei, pack(one.top_k), residual, ts, cached,
        )  # fmt: skip

    def _lines(self, facts: Sequence[Facts]) -> bytes:
        lines, salts = [], self._entropy(SALT_BYTES * len(facts))
        for i, one in enumerate(facts):
            salt = salts[SALT_BYTES * i : SALT_BYTES * (i + 1)]
            try:
                lines.append(operations_line(one.served, one.repeated, one.payees.shown, salt))
            except _WRONG as error:
                raise _refused(one.served, error) from error
        return "".join(lines).encode()


def _refused(served: ServedRequest, error: Exception) -> InputError:
    return InputError(f"request {served.request_id!r} cannot be billed: {error}")
