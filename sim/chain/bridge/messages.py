"""Messages: withdrawals from the event on L2 to the payment on L1.

Rule decided here: a message is proved against the first output that covers its block, with the storage proof taken
when that output was claimed; a proof holds only while the output that it names still says the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sim.chain.addresses import keccak
from sim.chain.bridge.feed import Feed
from sim.chain.bridge.interface import BridgeError, Withdrawal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.chain.abi import Event
    from sim.chain.backend import SandboxChain, StorageProof
    from sim.chain.bridge.clients import MessagePasser, OptimismPortal


@dataclass(slots=True)
class Message:
    """One message with its way through the contracts.

    Parameters
    ----------
    withdrawal
        What was sent, with the time of its last proof.
    nodes
        Trie nodes from the message passer's storage root to the message, once an output was claimed.
    """

    withdrawal: Withdrawal
    nodes: tuple[bytes, ...] = ()

    @property
    def slot(self) -> int:
        """Word of the message passer's storage that holds it: the mapping `sentMessages` at slot 0."""
        return int.from_bytes(keccak(self.withdrawal.digest + bytes(32)), "big")


class Messages:
    """All messages of one bridge.

    Parameters
    ----------
    l1, l2
        The two chains.
    portal, passer
        Where they end and where they begin.
    """

    def __init__(
        self, l1: SandboxChain, l2: SandboxChain, portal: OptimismPortal, passer: MessagePasser
    ) -> None:
        self._sent = Feed(l2, passer, "MessagePassed")
        self._relayed = Feed(l1, portal, "WithdrawalProven", "WithdrawalFinalized")
        self._by_number: dict[int, Message] = {}
        self._by_digest: dict[bytes, Message] = {}
        self._unclaimed: list[Message] = []

    def read(self) -> None:
        """Take up the events since the last time."""
        for receipt, event in self._sent.new():
            message = Message(_withdrawal(event, len(self._by_digest) + 1, receipt.timestamp))
            self._by_number[message.withdrawal.number] = message
            self._by_digest[message.withdrawal.digest] = message
            self._unclaimed.append(message)
        for receipt, event in self._relayed.new():
            message = self._by_digest[event.arguments["withdrawalHash"]]
            if event.name == "WithdrawalFinalized":
                del self._by_number[message.withdrawal.number]
            else:
                message.withdrawal = replace(message.withdrawal, proven_at=receipt.timestamp)

    @property
    def count(self) -> int:
        """Number of messages so far."""
        return len(self._by_digest)

    def unclaimed(self) -> list[Message]:
        """Return the messages that no output has been claimed for, and count them as claimed."""
        taken, self._unclaimed = self._unclaimed, []
        return taken

    @staticmethod
    def keep_proofs(messages: Iterable[Message], proofs: Iterable[StorageProof]) -> None:
        """Keep the storage proofs of messages in their order."""
        for message, proof in zip(messages, proofs, strict=True):
            message.nodes = proof.nodes

    def pending(self) -> list[Message]:
        """Return the messages that were not finalised, in order."""
        return list(self._by_number.values())

    def find(self, number: int) -> Message:
        """Return a message that was not finalised.

        Raises
        ------
        BridgeError
            If there is none of this number.
        """
        if number not in self._by_number:
            raise BridgeError(f"withdrawal {number} is unknown or was paid; {self.count} were initiated")
        return self._by_number[number]


def _withdrawal(event: Event, number: int, at: int) -> Withdrawal:
    told = event.arguments
    return Withdrawal(
        number=number,
        nonce=told["nonce"],
        sender=told["sender"],
        to=told["target"],
        amount_wei=told["value"],
        gas_limit=told["gasLimit"],
        data=told["data"],
        digest=told["withdrawalHash"],
        initiated_at=at,
    )
