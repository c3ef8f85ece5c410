"""Node: one chain as a network serves it, with its pool, its clock and the accounts that it acts for.

Rule decided here: outside of mining the present block is empty, so that the latest block's state is the state. With
automine every transaction is mined alone when its turn has come; without it, waiting transactions share the next
block as far as its gas goes. Whoever signs was checked before it waits; a transaction that can no longer run when its
turn comes is dropped.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sim.chain.addresses import keccak
from sim.chain.backend import ChainError
from sim.chain.rpc.errors import INVALID_PARAMS, RpcError
from sim.chain.rpc.filters import FilterBook
from sim.chain.rpc.pool import Pool
from sim.chain.transactions import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sim.chain.backend import SnapshotId
    from sim.chain.bridge import GasTokenBridge
    from sim.chain.evm import Chain
    from sim.chain.message import Transaction
    from sim.chain.rpc.keys import DevelopmentKey

JUMP_MAX_S = 20 * 365 * 86_400
MINED_MAX = 10_000
"""Longest jump in time, seconds, and most blocks that one request may ask for: an output is proposed for each day."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """A moment of a node."""

    chain: SnapshotId
    pool: Pool
    impersonated: frozenset[bytes]
    automine: bool
    time_added: int


class Network(Protocol):
    """What a node is part of."""

    bridge: GasTokenBridge
    trouble: str

    def settle(self) -> None:
        """Do what follows from new blocks or a new time on one chain."""

    def snapshot(self) -> int:
        """Remember this moment of everything and return its number."""

    def revert(self, number: int) -> bool:
        """Go back to a moment, which is forgotten; False if it is unknown."""

    def document(self) -> dict[str, Any]:
        """Return what `deployment.json` says."""


class Node:
    """A served chain.

    Parameters
    ----------
    name
        "l1" or "l2".
    chain
        A chain that seals.
    keys
        Development accounts.
    named
        Accounts without a key that the node acts for, by name.
    network
        What it is part of.
    automine
        Whether each transaction is mined at once.
    """

    def __init__(
        self,
        name: str,
        chain: Chain,
        keys: Iterable[DevelopmentKey],
        named: Mapping[str, bytes],
        *,
        network: Network,
        automine: bool = True,
    ) -> None:
        self.name, self.chain = name, chain
        self.keys = {key.address: key for key in keys}
        self.named = dict(named)
        self.automine = automine
        self.pool = Pool()
        self.filters = FilterBook(chain)
        self.impersonated: set[bytes] = set()
        self.time_added = 0
        self.network = network
        chain.automine = True

    @property
    def accounts(self) -> list[bytes]:
        """Accounts that the node acts for, without those that are impersonated for a while."""
        return [*self.keys, *self.named.values()]

    def acts_for(self, address: bytes) -> bool:
        """Whether the node sends transactions of an account."""
        return address in self.keys or address in self.impersonated or address in self.named.values()

    def submit(self, transaction: Transaction) -> bytes:
        """Take a transaction and return its hash.

        Raises
        ------
        RpcError, ChainError
            If it may not enter a block; nothing is changed then.
        """
        digest = keccak(encode(transaction, self.chain.chain_id))
        if self.automine and transaction.nonce == self.chain.nonce(transaction.message.sender):
            self.chain.include(transaction)
            self.pool.drop(digest)
        else:
            self.pool.add(digest, transaction, self.chain.nonce(transaction.message.sender))
        self.filters.submitted.append(digest)
        self._mine_in_turn()
        self.network.settle()
        return digest

    def _mine_in_turn(self) -> None:
        """Mine what waits and can run, one block each, as long as the node mines by itself."""
        self.pool.drop_stale(self.chain.nonce)
        while self.automine and (waiting := self.pool.next_in_turn(self.chain.nonce)):
            digest, transaction = waiting
            self.pool.drop(digest)
            with suppress(ChainError):
                self.chain.include(transaction)

    def set_automine(self, on: bool) -> None:
        """Mine each transaction at once from now on, or not."""
        self.automine = on
        self._mine_in_turn()
        self.network.settle()

    def mine(self, count: int = 1, interval: int = 1) -> None:
        """Mine blocks; the first takes what waits.

        Parameters
        ----------
        count
            How many.
        interval
            Seconds between them.
        """
        if count > MINED_MAX:
            raise RpcError(INVALID_PARAMS, f"{count} blocks; mine at most {MINED_MAX} at once")
        self._check_jump(count * interval)
        for left in range(count, 0, -1):
            self._fill_block()
            self.chain.seal(self.chain.time + (max(interval, 1) if left > 1 else 1))
        self.network.settle()

    def _fill_block(self) -> None:
        """Put waiting transactions into the present block, each sender's in order of nonce, as far as gas goes."""
        chain = self.chain
        chain.automine = False
        try:
            skipped: set[bytes] = set()
            while waiting := self.pool.next_in_turn(chain.nonce, skipped):
                digest, transaction = waiting
                if chain.blocks.gas_used(chain.block_number) + transaction.gas > chain.rules.gas_limit:
                    skipped.add(transaction.message.sender)
                    continue
                self.pool.drop(digest)
                with suppress(ChainError):
                    chain.include(transaction)
        finally:
            chain.automine = True
        self.pool.drop_stale(chain.nonce)

    def set_next_time(self, timestamp: int) -> None:
        """Give the next block a time.

        Raises
        ------
        RpcError
            If it is before the time at which both chains stand, or too far away.
        """
        if timestamp < self.chain.time:
            raise RpcError(
                INVALID_PARAMS, f"timestamp {timestamp} is before {self.chain.time}, where both chains stand"
            )
        self._check_jump(timestamp - self.chain.time)
        self.chain.schedule(timestamp)
        self.network.settle()

    def _check_jump(self, seconds: int) -> None:
        if seconds > JUMP_MAX_S:
            raise RpcError(INVALID_PARAMS, f"a jump of {seconds} seconds; at most {JUMP_MAX_S} at once")

    def snapshot(self) -> NodeSnapshot:
        """Remember this moment."""
        return NodeSnapshot(
            self.chain.snapshot(),
            self.pool.copy(),
            frozenset(self.impersonated),
            self.automine,
            self.time_added,
        )

    def revert(self, snapshot: NodeSnapshot) -> None:
        """Go back to a moment."""
        self.chain.revert(snapshot.chain)
        self.pool = snapshot.pool.copy()
        self.impersonated = set(snapshot.impersonated)
        self.automine, self.time_added = snapshot.automine, snapshot.time_added
