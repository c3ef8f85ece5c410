"""Calls: which contracts a run of the chains called, how often, and what that cost in gas.

Rule decided here: what is counted is what the receipts and their events say. Every event of a deployed contract
counts once under the contract that wrote it; the gas of a transaction stands once, at the event that names what
was called. A movement of tokens or coins that another event already explains bears no gas. The contracts of the bridge
count like all others.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import ZERO_ADDRESS
from sim.chain.artifacts import common_abi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.chain.backend import Backend, Log, Receipt
    from sim.chain.bridge import Bridge
    from sim.chain.deployment import Deployment

CREATED = "contract created"
AT_CREATION = ", at creation"
"""Follows the name of an event that a contract wrote while it was created."""
RECEIVED = "coins received"
REVERTED = "reverted"
DERIVED = "deposit derived from L1"
PLAIN = "native coins"
"""What stands in the contract's column where an account without code was paid."""
EXECUTED = "ProposalExecuted"
"""Comes before whatever an executed proposal changes at the governor itself."""
SIDE_EFFECTS = ("Transfer", "DelegateVotesChanged", "CallSalt", "RoleGranted")
"""Beginnings of events that accompany others: gas stands at one of them only where there is nothing else."""


@dataclass(frozen=True, slots=True)
class CallCount:
    """How often something was called.

    Parameters
    ----------
    contract
        Contract, with the chain it lives on.
    call
        Event or kind of transaction.
    count
        Number of events, or of transactions without an event.
    gas
        Gas of the transactions that stand here.
    """

    contract: str
    call: str
    count: int
    gas: int


def count_calls(deployment: Deployment, bridge: Bridge) -> tuple[CallCount, ...]:
    """Return what was called on both chains, in the order of contracts and names.

    Parameters
    ----------
    deployment
        The contracts and their chains.
    bridge
        The bridge between them.
    """
    l1 = _Counter("L1", _names(deployment, bridge), bridge.escrow_address)
    l2 = _Counter("L2", l1.names, b"", bridge.derived_indices)
    counts = l1.count(deployment.l1) | l2.count(deployment.l2)
    return tuple(CallCount(*key, *value) for key, value in sorted(counts.items()))


def _names(deployment: Deployment, bridge: Bridge) -> dict[bytes, str]:
    """Return contract names by address; the vesting contracts of all buckets are one."""
    own = {
        address: "TrancheVesting" if name.startswith("vesting.") else name
        for name, address in deployment.contracts.items()
    }
    return own | {address: name for name, address in bridge.contracts.items()}


@dataclass(frozen=True, slots=True)
class _Counter:
    """Counts what was called on one chain: its name, names of contracts, the escrow, and derived transactions."""

    chain: str
    names: Mapping[bytes, str]
    escrow: bytes
    derived: frozenset[int] = frozenset()

    def count(self, chain: Backend) -> dict[tuple[str, str], list[int]]:
        counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for receipt in chain.receipts:
            own = [log for log in receipt.logs if log.address in self.names]
            when = AT_CREATION if receipt.to is None else ""
            keys = [(self._row(log.address), self._event(log) + when) for log in own]
            for key in keys:
                counts[key][0] += 1
            named = self._named_by(receipt, keys)
            if named not in keys:
                counts[named][0] += 1
            counts[named][1] += receipt.gas_used
        return counts

    def _row(self, address: bytes) -> str:
        return f"{self.names.get(address, 'other contract')} ({self.chain})"

    def _named_by(self, receipt: Receipt, keys: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """Return the row at which a transaction's gas stands."""
        if receipt.to is None:
            return self._row(receipt.contract_address or b""), CREATED
        if receipt.to not in self.names:
            return f"{PLAIN} ({self.chain})", DERIVED if receipt.index in self.derived else "transfer"
        called = self._row(receipt.to)
        if receipt.status == 0:
            return called, REVERTED
        own = [key for key in keys if key[0] == called]
        telling = [key for key in own if not key[1].startswith(SIDE_EFFECTS)]
        executed = [key for key in telling if key[1] == EXECUTED]
        return (*executed, *telling, *own, (called, RECEIVED))[0]

    def _event(self, log: Log) -> str:
        """Return an event's name; a transfer of tokens says what it was where its ends tell."""
        item = common_abi().events.get(log.topics[0]) if log.topics else None
        if item is None:
            return "unknown event"
        if item.name != "Transfer" or len(log.topics) < 3:
            return item.name
        return f"{item.name}{self._purpose(log.topics[1][-20:], log.topics[2][-20:])}"

    def _purpose(self, source: bytes, target: bytes) -> str:
        by_source = {ZERO_ADDRESS: " (mint)", self.escrow: " (bridge pays a withdrawal)"}
        by_target = {ZERO_ADDRESS: " (burn)", self.escrow: " (deposit at the bridge)"}
        return by_source.get(source, by_target.get(target, ""))
