"""Feed: the events of a contract, each one once.

Rule decided here: the bridge learns what happened from the contracts' events alone, whoever sent the transaction. A
transaction that a chain has gone back on is forgotten, unless an event of it was already read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.chain.abi import Event
    from sim.chain.backend import Receipt, SandboxChain
    from sim.chain.bridge.clients import OpStackContract


class Feed:
    """Events of some names of one contract.

    Parameters
    ----------
    chain
        Where it lives.
    contract
        Its client.
    names
        Which events.
    """

    def __init__(self, chain: SandboxChain, contract: OpStackContract, *names: str) -> None:
        self._chain, self._contract = chain, contract
        self._topics = frozenset(contract.topic(name) for name in names)
        self._next = 0

    def new(self) -> Iterator[tuple[Receipt, Event]]:
        """Yield the events since the last time with their receipts, in order."""
        first, self._next = min(self._next, self._chain.transaction_count), self._chain.transaction_count
        for index in range(first, self._next):
            receipt = self._chain.receipt(index)
            for log in receipt.logs:
                if log.address == self._contract.address and log.topics and log.topics[0] in self._topics:
                    event = self._contract.abi.decode_event(log)
                    assert event is not None, "the topic is one of this contract's events"
                    yield receipt, event
