"""Derivation: the transactions that L1 orders on L2.

Rule decided here: every `TransactionDeposited` of the portal becomes one transaction on L2, in the order of the events,
whoever caused it and whether or not its call will succeed; none is dropped and none comes from anywhere else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.chain.bridge.feed import Feed
from sim.chain.bridge.interface import Deposit, Derived

if TYPE_CHECKING:
    from sim.chain.abi import Event
    from sim.chain.backend import SandboxChain
    from sim.chain.bridge.clients import OptimismPortal

_HEAD = 32 + 32 + 8 + 1
"""Bytes of mint, value, gas limit and the mark of a creation, which come before a deposit's data."""


class Derivation:
    """Deposits on their way to L2.

    Parameters
    ----------
    l1, l2
        The two chains.
    portal
        Whose events are derived from.
    delay_s
        From the event to the transaction on L2, seconds.
    """

    def __init__(self, l1: SandboxChain, l2: SandboxChain, portal: OptimismPortal, delay_s: int) -> None:
        self._l2, self._delay = l2, delay_s
        self._feed = Feed(l1, portal, "TransactionDeposited")
        self.pending: deque[Deposit] = deque()
        self.count = 0
        self.indices: set[int] = set()

    def read(self) -> None:
        """Take up the events since the last time."""
        for receipt, event in self._feed.new():
            self.count += 1
            self.pending.append(read_deposit(event, self.count, receipt.timestamp + self._delay))

    @property
    def next_time(self) -> int | None:
        """When the next deposit is due, seconds; None while none waits."""
        return self.pending[0].ready_at if self.pending else None

    def derive_due(self) -> list[Derived]:
        """Execute the deposits that are due on L2."""
        done = []
        while self.pending and self.pending[0].ready_at <= self._l2.time:
            d = self.pending.popleft()
            receipt = self._l2.execute_deposit(
                d.sender, d.to, mint=d.mint_wei, value=d.value_wei, gas=d.gas_limit, data=d.data
            )
            self.indices.add(receipt.index)
            done.append(Derived(d, receipt))
        return done


def read_deposit(event: Event, number: int, ready_at: int) -> Deposit:
    """Return the deposit of an event.

    Parameters
    ----------
    event
        ``TransactionDeposited``; its data is packed: mint, value, gas limit, mark of a creation, calldata.
    number, ready_at
        As in `Deposit`.
    """
    packed = event.arguments["opaqueData"]
    creates = packed[_HEAD - 1] == 1
    return Deposit(
        number=number,
        sender=event.arguments["from"],
        to=None if creates else event.arguments["to"],
        mint_wei=int.from_bytes(packed[:32], "big"),
        value_wei=int.from_bytes(packed[32:64], "big"),
        gas_limit=int.from_bytes(packed[64:72], "big"),
        data=packed[_HEAD:],
        ready_at=ready_at,
    )
