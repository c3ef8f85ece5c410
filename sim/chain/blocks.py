"""Blocks: the record of what a chain did, and the blocks that it makes up.

Rule decided here: transactions and receipts are kept as they come; headers, hashes and roots are computed when
somebody asks for them, so that a chain nobody asks costs nothing more. What an answer says never depends on when or
whether it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import rlp

from sim.chain.addresses import keccak
from sim.chain.header import ZERO_HASH, Extent, Header, bloom_bytes, bloom_of
from sim.chain.list_trie import list_root
from sim.chain.message import LEGACY, UNSIGNED
from sim.chain.transactions import encode

if TYPE_CHECKING:
    from sim.chain.backend import Receipt
    from sim.chain.message import Rules, Transaction
    from sim.chain.tracing import CallFrame

DEPOSIT_RECEIPT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Block:
    """A block with its header.

    Parameters
    ----------
    header, hash
        The header and its hash.
    first_transaction, first_log
        Positions on the chain of its first transaction and event.
    transactions
        Hashes in order.
    cumulative_gas
        Gas used up to and with each transaction.
    size
        Bytes of the block.
    """

    header: Header
    hash: bytes
    first_transaction: int
    first_log: int
    transactions: tuple[bytes, ...]
    cumulative_gas: tuple[int, ...]
    size: int


class BlockBook:
    """Transactions, receipts and blocks of one chain.

    Parameters
    ----------
    rules
        Of the chain.
    genesis
        Block 0; its state root is known.
    """

    def __init__(self, rules: Rules, genesis: Extent) -> None:
        self._rules = rules
        self._extents = [genesis]
        self.transactions: list[Transaction] = []
        self.receipts: list[Receipt] = []
        self.frames: dict[int, CallFrame] = {}
        self._blocks: list[Block] = []
        self._numbers: dict[bytes, int] = {}
        self._hashes: list[bytes] = []
        self._indices: dict[bytes, int] = {}

    @property
    def present(self) -> Extent:
        """The block that transactions land in."""
        return self._extents[-1]

    @property
    def latest(self) -> int:
        """Number of the last block that ended."""
        return self.present.env.number - 1

    def begin(self, extent: Extent) -> None:
        """Begin the next block."""
        self._extents.append(extent)

    def add(self, transaction: Transaction, receipt: Receipt, frame: CallFrame | None) -> None:
        """Record a transaction of the present block."""
        if frame is not None:
            self.frames[len(self.transactions)] = frame
        self.transactions.append(transaction)
        self.receipts.append(receipt)

    def extent(self, number: int) -> Extent:
        """Return a block without its header."""
        return self._extents[number]

    def block(self, number: int) -> Block:
        """Return a block that ended.

        Raises
        ------
        IndexError
            If no block of this number has ended.
        """
        if not 0 <= number <= self.latest:
            raise IndexError(f"block {number} has not ended; the last one is {self.latest}")
        while len(self._blocks) <= number:
            block = self._compute(len(self._blocks))
            self._numbers[block.hash] = len(self._blocks)
            self._blocks.append(block)
        return self._blocks[number]

    def hash_of(self, number: int) -> bytes:
        """Return the hash of a block that ended."""
        return self.block(number).hash

    def number_of(self, block_hash: bytes) -> int | None:
        """Return the number of a block, or None for an unknown hash."""
        self.block(self.latest)
        return self._numbers.get(block_hash)

    def transaction_hash(self, index: int) -> bytes:
        """Return the hash of a transaction by its position on the chain."""
        while len(self._hashes) <= index:
            digest = keccak(encode(self.transactions[len(self._hashes)], self._rules.chain_id))
            self._indices[digest] = len(self._hashes)
            self._hashes.append(digest)
        return self._hashes[index]

    def find(self, transaction_hash: bytes) -> int | None:
        """Return a transaction's position on the chain, or None for an unknown hash."""
        if self.transactions:
            self.transaction_hash(len(self.transactions) - 1)
        return self._indices.get(transaction_hash)

    def gas_used(self, number: int) -> int:
        """Return the gas used so far in a block, ended or not."""
        return sum(receipt.gas_used for receipt in self.receipts[self._span(number)])

    def state_kept(self) -> tuple[int, int, Extent]:
        """Return what `forget_after` needs to come back to the present moment."""
        present = self.present
        return len(self._extents), len(self.transactions), Extent(
            present.env, present.first_transaction, present.first_log
        )  # fmt: skip

    def forget_after(self, kept: tuple[int, int, Extent]) -> None:
        """Forget what came after a moment."""
        extents, transactions, present = kept
        del self._extents[extents - 1 :]
        self._extents.append(present)
        for block in self._blocks[extents - 1 :]:
            del self._numbers[block.hash]
        del self._blocks[extents - 1 :]
        for digest in self._hashes[transactions:]:
            self._indices.pop(digest, None)
        del self._hashes[transactions:]
        for index in range(transactions, len(self.transactions)):
            self.frames.pop(index, None)
        del self.transactions[transactions:], self.receipts[transactions:]

    def _span(self, number: int) -> slice:
        """Return which transactions a block has."""
        after = self._extents[number + 1].first_transaction if number < self.present.env.number else None
        return slice(self._extents[number].first_transaction, after)

    def _compute(self, number: int) -> Block:
        extent, rules = self._extents[number], self._rules
        span = self._span(number)
        receipts, transactions = self.receipts[span], self.transactions[span]
        gas = tuple(accumulate(receipt.gas_used for receipt in receipts))
        blooms = [bloom_of(receipt.logs) for receipt in receipts]
        bodies = [encode(transaction, rules.chain_id) for transaction in transactions]
        bloom = 0
        for bits in blooms:
            bloom |= bits
        header = Header(
            parent_hash=self._blocks[number - 1].hash if number else ZERO_HASH,
            coinbase=rules.coinbase,
            state_root=extent.state_root,
            transactions_root=list_root(bodies),
            receipts_root=list_root(
                [encode_receipt(*row) for row in zip(transactions, receipts, gas, blooms, strict=True)]
            ),
            bloom=bloom,
            number=number,
            gas_limit=rules.gas_limit,
            gas_used=gas[-1] if gas else 0,
            timestamp=extent.env.timestamp,
            base_fee=extent.env.base_fee,
        )
        first = extent.first_transaction
        return Block(
            header=header,
            hash=header.hash(),
            first_transaction=first,
            first_log=extent.first_log,
            transactions=tuple(self.transaction_hash(first + i) for i in range(len(transactions))),
            cumulative_gas=gas,
            size=len(header.encode()) + sum(map(len, bodies)),
        )


def encode_receipt(transaction: Transaction, receipt: Receipt, cumulative_gas: int, bloom: int) -> bytes:
    """Return a receipt as its block's root is made of (EIP-2718; the OP Stack's for type 0x7E)."""
    logs = [[log.address, list(log.topics), log.data] for log in receipt.logs]
    fields: list[object] = [bytes([1]) if receipt.status else b"", cumulative_gas, bloom_bytes(bloom), logs]
    if transaction.type == UNSIGNED:
        fields += [transaction.nonce, DEPOSIT_RECEIPT_VERSION]
    prefix = b"" if transaction.type == LEGACY else bytes([transaction.type])
    return prefix + bytes(rlp.encode(fields))
