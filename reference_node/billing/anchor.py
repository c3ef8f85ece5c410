"""LogAnchor as the node sees it: the heads that were anchored, and whether a record is under one.

Rule decided here: the answer is the contract's own; its node is asked for nothing but `eth_call`.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InputError
from reference_node.billing.claim import RecordProof
from reference_node.billing.distributor import Deployment, selector
from reference_node.billing.rpc import Refused, Rpc

COUNT = "headCount()"
HEAD = "head(uint256)"
INCLUDES = "includes(uint256,bytes,uint64,bytes32[])"
_WORD = 32


@dataclass(frozen=True, slots=True)
class Head:
    """A head: its number, and the root of the log's first `size` records."""

    index: int
    root: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """The contract of a deployment.

    Parameters
    ----------
    rpc
        The chain's node.
    address
        The contract.
    """

    rpc: Rpc
    address: str

    @classmethod
    def of(cls, rpc: Rpc, deployment: Deployment) -> Anchor:
        """Return the anchor that a deployment names.

        Raises
        ------
        InputError
            If it names none, or the node is on another chain.
        """
        if not deployment.log_anchor:
            raise InputError("the deployment names no contract LogAnchor")
        found = rpc.quantity("eth_chainId")
        if found != deployment.chain_id:
            raise InputError(f"{rpc.url} is chain {found}; the deployment is on chain {deployment.chain_id}")
        return cls(rpc, deployment.log_anchor)

    def latest(self) -> Head | None:
        """Return the latest head, None before the first.

        Raises
        ------
        InputError
            If the contract is another one.
        """
        count = int.from_bytes(self._call(selector(COUNT), 1), "big")
        if not count:
            return None
        answer = self._call(selector(HEAD) + _number(count - 1), 3)
        return Head(count - 1, answer[:_WORD], int.from_bytes(answer[_WORD : 2 * _WORD], "big"))

    def includes(self, head: Head, proof: RecordProof) -> bool:
        """Return whether the contract finds the record under the head."""
        return bool(int.from_bytes(self._call(includes_call(head.index, proof), 1), "big"))

    def _call(self, data: bytes, words: int) -> bytes:
        try:
            answer = self.rpc.read("eth_call", {"to": self.address, "data": "0x" + data.hex()}, "latest")
        except Refused as error:
            raise InputError(f"{self.address} is no LogAnchor: {error}") from error
        found = bytes.fromhex(str(answer)[2:])
        if len(found) != words * _WORD:
            raise InputError(
                f"{self.address} is no LogAnchor: it answered {len(found)} bytes; expected {words * _WORD}"
            )
        return found


def includes_call(head_index: int, proof: RecordProof) -> bytes:
    """Return the call data of `includes`."""
    padded = proof.data.ljust(-len(proof.data) // _WORD * -_WORD, b"\0")
    record_at = 4 * _WORD  # behind the four words of the arguments
    words = [
        _number(head_index),
        _number(record_at),
        _number(proof.seq),
        _number(record_at + _WORD + len(padded)),
        _number(len(proof.data)),
        padded,
        _number(len(proof.path)),
        *proof.path,
    ]
    return selector(INCLUDES) + b"".join(words)


def _number(value: int) -> bytes:
    return value.to_bytes(_WORD, "big")
