"""Record: the bytes of one entry of the billing log.

Rules decided here. A record is a CBOR map with small whole numbers as keys, in deterministic encoding (RFC 8949,
4.2.1): integers and byte strings alone, so every correct encoder writes the same bytes. It names what was
served (model, adapters with their weights as IEEE 754 binary64, output), what it cost, under which tariff, who
has a claim on it (`datanet_root`) and how influence was measured: with method "none" the residual holds the
whole weight of 10^9. Records are chained by `prev_hash`, the SHA-256 of the record before, zeros for the first.
They carry no signature; heads of the log are what is signed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cbor2

from models.attribution import WHOLE
from reference_node.billing.hashes import sha256

VERSION = 1
GENESIS = bytes(32)
NO_METHOD = "none"
NO_PARAMS_HASH = sha256(cbor2.dumps({}, canonical=True))

_UINT64_MAX = 2**64 - 1
_NUMBERS = ("seq", "tokens_in", "cached_tokens", "tokens_out", "fee_gwei", "ts", "residual")
_HASHES = ("prev_hash", "model_hash", "datanet_root", "output_hash", "params_hash", "tariff_hash")
# Position in this tuple = key in the map; new fields are appended and raise VERSION.
FIELDS = (
    "version", "seq", "prev_hash", "request_id", "model_hash", "adapters", "datanet_root", "output_hash", "method",
    "params_hash", "tokens_in", "tokens_out", "fee_gwei", "top_k", "residual", "ts", "cached_tokens", "tariff_hash",
)  # fmt: skip


class RecordError(ValueError):
    """A record that is not what it should be.

    Parameters
    ----------
    field
        Name of the field.
    message
        What is wrong with it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """An adapter in a record: content hash, 32 bytes, and weight."""

    sha256: bytes
    weight: float


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One entry of the log.

    Parameters
    ----------
    seq
        0 for the first record.
    prev_hash
        Hash of the record before.
    request_id
        16 bytes.
    model_hash
        Base model.
    adapters
        What served it beside the base model.
    datanet_root
        Root of the statement of payees (`terms.statement_root`).
    output_hash
        Of tokenizer and generated ids (`output_hash`).
    tariff_hash
        The tariff that billed it.
    tokens_in, cached_tokens, tokens_out
        Tokens; cached ones are among those in.
    fee_gwei
        Fee.
    ts
        Unix milliseconds.
    method, params_hash
        How influence was measured.
    top_k
        (data id of 8 to 32 bytes, weight) of the most influential data.
    residual
        Weight of all other data; with `top_k` exactly 10^9.
    version
        Of this format.
    """

    seq: int
    prev_hash: bytes
    request_id: bytes
    model_hash: bytes
    adapters: tuple[AdapterEntry, ...]
    datanet_root: bytes
    output_hash: bytes
    tariff_hash: bytes
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int
    ts: int
    method: str = NO_METHOD
    params_hash: bytes = NO_PARAMS_HASH
    top_k: tuple[tuple[bytes, int], ...] = ()
    residual: int = WHOLE
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise RecordError("version", f"{self.version!r}; this node reads {VERSION}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= _UINT64_MAX:
                raise RecordError(name, f"{value!r} is no unsigned 64-bit number")
        for name in (*_HASHES, "request_id"):
            value, size = getattr(self, name), 16 if name == "request_id" else 32
            if type(value) is not bytes or len(value) != size:
                raise RecordError(name, f"{value!r} is not {size} bytes")
        if self.cached_tokens > self.tokens_in:
            raise RecordError("cached_tokens", f"{self.cached_tokens} of {self.tokens_in} tokens in")
        whole = sum(weight for _, weight in self.top_k) + self.residual
        if whole != WHOLE:
            raise RecordError("residual", f"with top_k {whole}; expected {WHOLE}")

    def encode(self) -> bytes:
        """Return the record's bytes."""
        values = {name: getattr(self, name) for name in FIELDS}
        values["adapters"] = [[one.sha256, struct.pack(">d", one.weight)] for one in self.adapters]
        values["top_k"] = [[data_id, weight] for data_id, weight in self.top_k]
        return cbor2.dumps({key: values[name] for key, name in enumerate(FIELDS)}, canonical=True)

    @classmethod
    def decode(cls, data: bytes) -> LogRecord:
        """Return the record that `data` is the encoding of.

        Raises
        ------
        RecordError
            If it is no record, a field is malformed, or another encoding of it exists.
        """
        try:
            tree = cbor2.loads(data)
        except Exception as error:  # whatever cbor2 raises on foreign bytes
            raise RecordError("record", f"not CBOR: {error}") from error
        if not isinstance(tree, dict) or set(tree) != set(range(len(FIELDS))):
            raise RecordError("record", f"not a map of the keys 0 to {len(FIELDS) - 1}")
        values: dict[str, Any] = {name: tree[key] for key, name in enumerate(FIELDS)}
        try:
            values["adapters"] = tuple(
                AdapterEntry(digest, struct.unpack(">d", weight)[0]) for digest, weight in values["adapters"]
            )
            values["top_k"] = tuple((data_id, weight) for data_id, weight in values["top_k"])
            record = cls(**values)
        except RecordError:
            raise
        except (TypeError, ValueError, struct.error) as error:
            raise RecordError("adapters or top_k", str(error)) from error
        if record.encode() != data:
            raise RecordError("record", "not in deterministic encoding")
        return record


def output_hash(tokenizer_sha256: str, completion: tuple[int, ...]) -> bytes:
    """Return SHA-256(tokenizer hash | generated ids as unsigned 32-bit big-endian), 32 bytes.

    Parameters
    ----------
    tokenizer_sha256
        Says what the ids mean; "" for a model without one counts as zeros.
    completion
        Generated token ids.
    """
    ids = struct.pack(f">{len(completion)}I", *completion)
    return sha256(bytes.fromhex(tokenizer_sha256 or "0" * 64) + ids)
