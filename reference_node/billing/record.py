"""Record: the bytes of one entry of the billing log.

Rules decided here. A record is a CBOR map with small whole numbers as keys, in deterministic encoding (RFC 8949,
4.2.1): integers and byte strings alone, so every correct encoder writes the same bytes. It names what was served
(model, adapters with their weights as IEEE 754 binary64, output), who has a claim on it (`datanet_root`), by which
rules it was billed and influence measured (`rules_hash`), what it cost, and whose data had how much of the influence:
with method "none" the residual holds the whole weight of 10^9. Records are chained by `prev_hash`, the SHA-256 of the
record before, zeros for the first. They carry no signature; heads of the log are what is signed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cbor2

from models.attribution import WHOLE
from reference_node.billing import top_k as packing
from reference_node.billing.hashes import ids_bytes

VERSION = 2
GENESIS = bytes(32)

_UINT64_MAX = 2**64 - 1
_NUMBERS = ("seq", "tokens_in", "cached_tokens", "tokens_out", "fee_gwei", "ts", "residual")
_HASHES = ("prev_hash", "model_hash", "datanet_root", "output_hash", "rules_hash", "request_id")
_HASH_SIZES = [32, 32, 32, 32, 32, 16]
# Position in this tuple = key in the map; new fields are appended and raise VERSION.
FIELDS = (
    "version", "seq", "prev_hash", "request_id", "model_hash", "adapters", "datanet_root", "output_hash", "rules_hash",
    "tokens_in", "tokens_out", "fee_gwei", "top_k", "residual", "ts", "cached_tokens",
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


class AdapterEntry(NamedTuple):
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
    rules_hash
        What billed it, and how influence was measured (`rules.Rules`).
    tokens_in, cached_tokens, tokens_out
        Tokens; cached ones are among those in.
    fee_gwei
        Fee.
    ts
        Unix milliseconds.
    top_k
        (data id of 8 to 32 bytes, weight) of the most influential data (`top_k`, `terms.data_id`).
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
    rules_hash: bytes
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int
    ts: int
    top_k: packing.TopK = ()
    residual: int = WHOLE
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise RecordError("version", f"{self.version!r}; this node reads {VERSION}")
        numbers = [getattr(self, name) for name in _NUMBERS]
        if set(map(type, numbers)) != {int} or min(numbers) < 0 or max(numbers) > _UINT64_MAX:
            raise _named_number(zip(_NUMBERS, numbers, strict=True))
        hashes = [getattr(self, name) for name in _HASHES]
        if set(map(type, hashes)) != {bytes} or list(map(len, hashes)) != _HASH_SIZES:
            raise _named_hash(zip(_HASHES, hashes, _HASH_SIZES, strict=True))
        if self.cached_tokens > self.tokens_in:
            raise RecordError("cached_tokens", f"{self.cached_tokens} of {self.tokens_in} tokens in")
        whole = sum([weight for _, weight in self.top_k], self.residual)
        if whole != WHOLE:
            raise RecordError("residual", f"with top_k {whole}; expected {WHOLE}")

    def encode(self) -> bytes:
        """Return the record's bytes."""
        adapters = [[one.sha256, struct.pack(">d", one.weight)] for one in self.adapters]
        # keys ascend and every value has one encoding, so this is the deterministic form without a sort
        return cbor2.dumps(
            {
                0: self.version, 1: self.seq, 2: self.prev_hash, 3: self.request_id, 4: self.model_hash, 5: adapters,
                6: self.datanet_root, 7: self.output_hash, 8: self.rules_hash, 9: self.tokens_in, 10: self.tokens_out,
                11: self.fee_gwei, 12: packing.pack(self.top_k), 13: self.residual, 14: self.ts,
                15: self.cached_tokens,
            }
        )  # fmt: skip

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
        if type(tree) is not dict or tree.get(0) != VERSION:
            found = tree.get(0) if isinstance(tree, dict) else None
            raise RecordError("version", f"{found!r}; this node reads {VERSION}")
        # what was read is written again: keys in order and every value in its one form give the same bytes
        if tuple(tree) != _KEYS or cbor2.dumps(tree) != data:
            raise RecordError("record", f"not a map of the keys 0 to {_KEYS[-1]} in deterministic encoding")
        return cls(**_values(tree))


_KEYS = tuple(range(len(FIELDS)))


def _named_number(fields: Iterable[tuple[str, Any]]) -> RecordError:
    """Return the error that names the first field that is no number."""
    wrong = (pair for pair in fields if type(pair[1]) is not int or not 0 <= pair[1] <= _UINT64_MAX)
    name, value = next(wrong)
    return RecordError(name, f"{value!r} is no unsigned 64-bit number")


def _named_hash(fields: Iterable[tuple[str, Any, int]]) -> RecordError:
    """Return the error that names the first field of another size than it has to have."""
    wrong = (field for field in fields if type(field[1]) is not bytes or len(field[1]) != field[2])
    name, value, size = next(wrong)
    return RecordError(name, f"{value!r} is not {size} bytes")


def _values(tree: dict[int, Any]) -> dict[str, Any]:
    values = dict(zip(FIELDS, tree.values(), strict=True))
    try:
        values["adapters"] = tuple(
            [AdapterEntry(digest, struct.unpack(">d", weight)[0]) for digest, weight in values["adapters"]]
        )
    except (TypeError, ValueError, struct.error) as error:
        raise RecordError("adapters", str(error)) from error
    if any(type(one.sha256) is not bytes or len(one.sha256) != 32 for one in values["adapters"]):
        raise RecordError("adapters", "names one by something else than 32 bytes")
    try:
        values["top_k"] = packing.unpack(values["top_k"])
    except (TypeError, ValueError, struct.error) as error:
        raise RecordError("top_k", str(error)) from error
    return values


def output_hash(tokenizer_sha256: str, completion: Sequence[int]) -> bytes:
    """Return SHA-256(tokenizer hash | generated ids as unsigned 32-bit big-endian), 32 bytes.

    Parameters
    ----------
    tokenizer_sha256
        Says what the ids mean; "" for a model without one counts as zeros.
    completion
        Generated token ids.
    """
    digest = _of_tokenizer(tokenizer_sha256).copy()
    digest.update(ids_bytes(completion))
    return digest.digest()


@lru_cache(16)
def _of_tokenizer(tokenizer_sha256: str) -> Any:
    return hashlib.sha256(bytes.fromhex(tokenizer_sha256 or "0" * 64))
