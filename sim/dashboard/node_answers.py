"""Answers of a running node's interface, as the page on attribution reads them.

Rules decided here. A node is somebody else's program: what it answers is checked for form and range before anything is
drawn, and what it adds is ignored. A proof is checked here, in the reader's process, from the record's bytes alone:
RFC 9162 inclusion with SHA-256, and that the record is the request's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.attribution import WHOLE
from models.merkle import log_leaf, verify_inclusion

Name = Annotated[str, Field(max_length=400)]
RequestId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[str, Field(pattern="^([0-9a-f]{2})+$")]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
ID_MARK = b"\x03\x50"
"""How a record's canonical CBOR begins its request: key 3, then a string of 16 bytes."""


class Part(BaseModel):
    """What every part of an answer obeys."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Model(Part):
    """A name that may be asked for, and the content hash that it means now."""

    id: Name
    sha256: Sha256
    parent: Name | None = None


class ModelList(Part):
    """Answer of ``/v1/models``."""

    data: list[Model]


class Message(Part):
    """The words of an answer."""

    content: str


class Choice(Part):
    """The one choice of a completion."""

    message: Message
    finish_reason: Name


class BillNote(Part):
    """Fee of a request, gwei, and the id that names it in bills and log."""

    request_id: RequestId
    fee_gwei: Count


class Completion(Part):
    """Answer of ``/v1/chat/completions``."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    bill: BillNote

    @property
    def text(self) -> str:
        """The words of the answer."""
        return self.choices[0].message.content


class Holder(Part):
    """A contributor of a DataNet and where it is paid; names of restricted ones are blinded by the node."""

    datanet: Name
    contributor: Name
    address: Name

    @property
    def place(self) -> tuple[str, str]:
        """DataNet and contributor."""
        return self.datanet, self.contributor


class Weight(Holder):
    """Weight that the record carries, of 10^9."""

    weight: Annotated[int, Field(ge=0, le=WHOLE)]


class Share(Holder):
    """Part of the contributors' money by one method, fraction of 1."""

    share: Annotated[float, Field(ge=0, le=1 + 1e-9)]


class Source(Holder):
    """A document that holds a span."""

    document: Name


class Span(Part):
    """Tokens `start` to below `stop` of the answer, and how often the corpus holds them."""

    start: Count
    stop: Count
    count: Count
    sources: list[Source]


class Attribution(Part):
    """Answer of ``/v1/attributions``: `method` and `weights` are in the record, `methods` stand beside them."""

    method: Name
    took_ms: Annotated[float, Field(ge=0)]
    tokens: list[str]
    weights: list[Weight]
    methods: dict[str, list[Share]]
    spans: list[Span]

    @model_validator(mode="after")
    def _inside(self) -> Attribution:
        size = len(self.tokens)
        for span in self.spans:
            if not span.start < span.stop <= size:
                raise ValueError(f"span {span.start} to {span.stop}: the answer has {size} tokens")
        if sum(weight.weight for weight in self.weights) > WHOLE:
            raise ValueError(f"weights: they sum to more than {WHOLE}")
        return self

    @property
    def recorded(self) -> str | None:
        """Key in `methods` of the method that the record pays by: its name without the version."""
        name = self.method.rpartition(".v")[0] or self.method
        return name if name in self.methods else None

    def holders(self) -> Iterable[Holder]:
        """Yield everybody that the answer names, the record's first."""
        yield from self.weights
        for shares in self.methods.values():
            yield from shares


class Bill(Part):
    """One bill; amounts in gwei."""

    request_id: RequestId
    tokens_in: Count
    tokens_out: Count
    fee_gwei: Count
    parts_gwei: dict[str, Count]
    payees_gwei: dict[str, Count]

    def faults(self) -> list[str]:
        """Return what does not add up to the gwei."""
        parts, payees = sum(self.parts_gwei.values()), sum(self.payees_gwei.values())
        owed = sum(self.parts_gwei.get(part, 0) for part in ("model", "contributors"))
        found = []
        if parts != self.fee_gwei:
            found.append(f"the parts sum to {parts:,} gwei, the fee is {self.fee_gwei:,}")
        if payees != owed:
            found.append(f"payees get {payees:,} gwei, model and contributors' parts are {owed:,}")
        return found


class BillList(Part):
    """Answer of ``/v1/billing``, newest first."""

    data: list[Bill]


class Proof(Part):
    """Answer of ``/v1/proofs``: record number `seq` and its path to the root of the log's first `size` records."""

    request_id: RequestId
    seq: Count
    size: Count
    root: Sha256
    record: Bytes
    path: Annotated[list[Sha256], Field(max_length=63)]

    @property
    def record_sha256(self) -> str:
        """Hash of the record's bytes."""
        return hashlib.sha256(bytes.fromhex(self.record)).hexdigest()

    def leads_to_root(self) -> bool:
        """Return whether the record is number `seq` of a log of `size` records with this root."""
        leaf = log_leaf(bytes.fromhex(self.record), _sha256)
        path = [bytes.fromhex(node) for node in self.path]
        return verify_inclusion(bytes.fromhex(self.root), leaf, self.seq, self.size, path, _sha256)

    def is_of(self, request_id: str) -> bool:
        """Return whether the record's bytes name a request."""
        return ID_MARK + bytes.fromhex(request_id) in bytes.fromhex(self.record)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
