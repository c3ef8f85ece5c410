"""Claims and proofs: what a payee sends to the contract, and what shows that a record is in the log.

Rules decided here. Anybody may send a payee's claim; the contract pays the payee. The call is built from the settlement
file alone: cumulative wei and proof. A record is shown to be in the log by the RFC 9162 path from its leaf to the root
that a settlement names and the chain has; making the path reads the log, checking it needs no log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from models.merkle import inclusion_proof, log_leaf, log_root, verify_inclusion
from reference_node.billing.distributor import selector
from reference_node.billing.hashes import sha256
from reference_node.billing.record import LogRecord
from reference_node.billing.segments import SegmentScan

CLAIM = "claim(address,uint256,bytes32[])"
_REQUEST_ID_BYTES = 16


def claim_call(payee: dict[str, Any]) -> bytes:
    """Return the call data of a payee's claim.

    Parameters
    ----------
    payee
        Its entry of the settlement (`Settlement.payee`).
    """
    proof = [bytes.fromhex(node[2:]) for node in payee["proof"]]
    words = [
        bytes.fromhex(payee["address"][2:]).rjust(32, b"\0"),
        int(payee["cumulative_wei"]).to_bytes(32, "big"),
        (96).to_bytes(32, "big"),  # where the proof begins, behind the three words
        len(proof).to_bytes(32, "big"),
        *proof,
    ]
    return selector(CLAIM) + b"".join(words)


@dataclass(frozen=True, slots=True)
class RecordProof:
    """A record and the path from it to a root of the log.

    Parameters
    ----------
    seq
        Number of the record.
    data
        Its bytes.
    size
        Records under the root.
    path
        Hashes, 32 bytes each.
    """

    seq: int
    data: bytes
    size: int
    path: tuple[bytes, ...]

    def leads_to(self, root: bytes) -> bool:
        """Return whether the record is number `seq` of the log of `size` records with this root."""
        return verify_inclusion(root, log_leaf(self.data, sha256), self.seq, self.size, self.path, sha256)


def prove_record(folder: Path, seq: int, size: int | None = None) -> tuple[RecordProof, bytes]:
    """Return the proof of a record, and the root that it leads to.

    Parameters
    ----------
    folder
        The log's folder.
    seq
        Number of the record.
    size
        Records under the root, such as a settlement's `log.size`; all of them by default.

    Raises
    ------
    InputError
        If a frame of the log is damaged, or it has no such record.
    """
    leaves, found = _leaves(folder, lambda number, _: number == seq)
    count = len(leaves) if size is None else size
    if found is None or not seq < count <= len(leaves):
        message = f"record {seq} of {count}: the log holds {len(leaves)}"
        raise InputError([Problem(message, "seq", str(folder))])
    path = tuple(inclusion_proof(leaves[:count], seq, sha256))
    return RecordProof(seq, found[1], count, path), log_root(leaves[:count], sha256)


def number_of(folder: Path, request_id: str) -> int:
    """Return the number of the record that bills a request.

    Parameters
    ----------
    folder
        The log's folder.
    request_id
        32 hexadecimal digits.

    Raises
    ------
    InputError
        If it is no request id, or the log does not bill it.
    """
    try:
        wanted = bytes.fromhex(request_id)
    except ValueError:
        wanted = b""
    if len(wanted) != _REQUEST_ID_BYTES:
        raise InputError(f"request id {request_id!r}: expected {2 * _REQUEST_ID_BYTES} hexadecimal digits")
    _, found = _leaves(folder, lambda _, data: wanted in data and LogRecord.decode(data).request_id == wanted)
    if found is None:
        raise InputError(
            [Problem(f"request {request_id} is billed by no record of the log", where=str(folder))]
        )
    return found[0]


def _leaves(
    folder: Path, is_wanted: Callable[[int, bytes], bool]
) -> tuple[list[bytes], tuple[int, bytes] | None]:
    """Return the leaves of a log, and number and bytes of the record that is wanted."""
    if not folder.is_dir():
        raise InputError([Problem("there is no such log folder", where=str(folder))])
    leaves, found = list[bytes](), None
    for number, (_, data) in enumerate(SegmentScan(folder)):
        leaves.append(log_leaf(data, sha256))
        if found is None and is_wanted(number, data):
            found = number, data
    return leaves, found
