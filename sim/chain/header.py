"""Headers: what a block says of itself, and the base fee of the next one (EIP-1559).

Rule decided here: fields and their order are Prague's; what a chain without validators and blobs has no use for (the
uncles, difficulty, randomness, withdrawals, blobs, beacon root and requests) has the value of an empty block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import keccak

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.chain.backend import Log
    from sim.chain.message import BlockEnv

ZERO_HASH = bytes(32)
EMPTY_TRIE_ROOT = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
EMPTY_UNCLES_HASH = bytes.fromhex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347")
EMPTY_REQUESTS_HASH = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
NO_STATE_ROOT = ZERO_HASH
"""State root of a block whose state was never written into a trie."""

BLOOM_BITS = 2048
ELASTICITY = 2
BASE_FEE_CHANGE_DENOMINATOR = 8


@dataclass(slots=True)
class Extent:
    """A block before its header: where its transactions begin and which state it ends with.

    Parameters
    ----------
    env
        Number, time and base fee.
    first_transaction, first_log
        Positions on the chain.
    state_root
        State at its end; 32 zero bytes where it was not written into a trie.
    """

    env: BlockEnv
    first_transaction: int
    first_log: int
    state_root: bytes = NO_STATE_ROOT


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header.

    Parameters
    ----------
    parent_hash, state_root, transactions_root, receipts_root
        32 bytes each.
    coinbase
        Who gets the priority fees, 20 bytes.
    bloom
        The bits that the events of the block set.
    number, timestamp
        Position, and time in seconds.
    gas_limit, gas_used
        Gas.
    base_fee
        Wei per gas.
    """

    parent_hash: bytes
    coinbase: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    base_fee: int

    def encode(self) -> bytes:
        """Return the RLP whose hash is the block's."""
        import rlp

        fields = [
            self.parent_hash, EMPTY_UNCLES_HASH, self.coinbase, self.state_root, self.transactions_root,
            self.receipts_root, bloom_bytes(self.bloom), 0, self.number, self.gas_limit, self.gas_used,
            self.timestamp, b"", ZERO_HASH, bytes(8), self.base_fee, EMPTY_TRIE_ROOT, 0, 0, ZERO_HASH,
            EMPTY_REQUESTS_HASH,
        ]  # fmt: skip
        return bytes(rlp.encode(fields))

    def hash(self) -> bytes:
        """Return the block hash."""
        return keccak(self.encode())


def bloom_bytes(bloom: int) -> bytes:
    """Return a bloom filter as its 256 bytes."""
    return bloom.to_bytes(BLOOM_BITS // 8, "big")


def bloom_of(logs: Iterable[Log]) -> int:
    """Return the bits that events set: three for each address and topic."""
    bloom = 0
    for log in logs:
        for item in (log.address, *log.topics):
            digest = keccak(item)
            for i in (0, 2, 4):
                bloom |= 1 << (int.from_bytes(digest[i : i + 2], "big") % BLOOM_BITS)
    return bloom


def next_base_fee(base_fee: int, gas_used: int, gas_limit: int) -> int:
    """Return the base fee after a block (EIP-1559); one of 0 stays 0, because fees are switched off then.

    Examples
    --------
    >>> next_base_fee(1_000_000_000, 0, 60_000_000)
    875000000
    >>> next_base_fee(0, 60_000_000, 60_000_000)
    0
    """
    target = gas_limit // ELASTICITY
    if base_fee == 0 or gas_used == target:
        return base_fee
    change = base_fee * abs(gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
    return base_fee + max(change, 1) if gas_used > target else base_fee - change
