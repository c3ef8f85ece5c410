"""Pool: transactions that wait for a block.

Rule decided here: a transaction waits until its nonce is its sender's; those that can run do so in the order in which
they came. One that waits can be replaced by one of the same sender and nonce that pays at least a tenth more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.chain.rpc.errors import LIMIT_EXCEEDED, REFUSED, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sim.chain.message import Transaction

WAITING_MAX = 4_096
QUEUED_MAX = 64
"""Most transactions that wait in all, and most of one sender that wait for a nonce before theirs."""

Waiting = tuple[bytes, "Transaction"]
"""A transaction with its hash."""


@dataclass
class Pool:
    """Waiting transactions in the order in which they came."""

    _waiting: dict[bytes, Transaction] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self._waiting.items()))

    def get(self, digest: bytes) -> Transaction | None:
        """Return a waiting transaction, or None."""
        return self._waiting.get(digest)

    def copy(self) -> Pool:
        """Return the same pool, apart."""
        return Pool(dict(self._waiting))

    def add(self, digest: bytes, transaction: Transaction, state_nonce: int) -> None:
        """Let a transaction wait.

        Raises
        ------
        RpcError
            If it waits already, pays too little to replace another, or there are too many.
        """
        if digest in self._waiting:
            raise RpcError(REFUSED, "already known")
        sender = transaction.message.sender
        own = [(d, t) for d, t in self._waiting.items() if t.message.sender == sender]
        same = next((d for d, t in own if t.nonce == transaction.nonce), None)
        if same is not None:
            before, after = self._waiting[same].message, transaction.message
            if not _pays_more(before.max_fee, after.max_fee) or not _pays_more(
                before.max_priority_fee, after.max_priority_fee
            ):
                raise RpcError(REFUSED, "replacement transaction underpriced")
            del self._waiting[same]
        elif len(self._waiting) >= WAITING_MAX or (
            transaction.nonce >= self.next_nonce(sender, state_nonce) + QUEUED_MAX
        ):
            raise RpcError(LIMIT_EXCEEDED, f"txpool is full: {len(self._waiting)} transactions wait")
        self._waiting[digest] = transaction

    def drop(self, digest: bytes) -> None:
        """Let a transaction wait no longer."""
        self._waiting.pop(digest, None)

    def drop_stale(self, nonce_of: Callable[[bytes], int]) -> None:
        """Forget transactions whose nonce has passed."""
        for digest, transaction in self:
            if transaction.nonce < nonce_of(transaction.message.sender):
                self.drop(digest)

    def next_nonce(self, sender: bytes, state_nonce: int) -> int:
        """Return the first nonce that neither the state nor a transaction in turn has taken."""
        taken = {t.nonce for t in self._waiting.values() if t.message.sender == sender}
        while state_nonce in taken:
            state_nonce += 1
        return state_nonce

    def next_in_turn(
        self, nonce_of: Callable[[bytes], int], without: Collection[bytes] = ()
    ) -> Waiting | None:
        """Return the first transaction whose nonce is its sender's, apart from those of some senders."""
        for digest, transaction in self:
            sender = transaction.message.sender
            if sender not in without and transaction.nonce == nonce_of(sender):
                return digest, transaction
        return None

    def is_in_turn(self, transaction: Transaction, nonce_of: Callable[[bytes], int]) -> bool:
        """Whether a transaction can run once those before it have."""
        sender = transaction.message.sender
        return transaction.nonce < self.next_nonce(sender, nonce_of(sender))


def _pays_more(before: int, after: int) -> bool:
    return after > before and 10 * after >= 11 * before
