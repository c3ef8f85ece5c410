"""Claims and proofs: what a payee sends to the contract, and what shows that a record is in the log.

Rules decided here. Anybody may send a payee's claim; the contract pays the payee. The call is built from the settlement
file alone: cumulative wei and proof. A record is shown to be in the log by the RFC 9162 path from its leaf to the root
that a settlement names and the chain has; making the path reads the log, checking it needs no log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from models.merkle import inclusion_proof, log_leaf, log_root, verify_inclusion
from reference_node.billing.distributor import selector
from reference_node.billing.hashes import sha256
from reference_node.billing.reading import LogReader

CLAIM = "claim(address,uint256,bytes32[])"


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
        If the log is damaged, or has no such record.
    """
    entries = list(LogReader(folder).entries())
    count = len(entries) if size is None else size
    if not 0 <= seq < count <= len(entries):
        message = f"record {seq} of {count}: the log holds {len(entries)}"
        raise InputError([Problem(message, "seq", str(folder))])
    leaves = [log_leaf(entry.data, sha256) for entry in entries[:count]]
    path = tuple(inclusion_proof(leaves, seq, sha256))
    return RecordProof(seq, entries[seq].data, count, path), log_root(leaves, sha256)
