"""Calls: which contracts a run of the chains called, how often, and what that cost in gas.

Rule decided here: what is counted is what the receipts and their events say. Every event of a deployed contract
counts once under the contract that wrote it; the gas of a transaction stands once, at the event that names what
was called. A movement of tokens or coins that another event already explains bears no gas.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import ZERO_ADDRESS, address_of
from sim.chain.artifacts import common_abi
from sim.chain.bridge import ESCROW, MESSAGE_PASSER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.chain.backend import Backend, Log, Receipt
    from sim.chain.deployment import Deployment

CREATED = "contract created"
AT_CREATION = ", at creation"
"""Follows the name of an event that a contract wrote while it was created."""
RECEIVED = "coins received"
REVERTED = "reverted"
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


def count_calls(deployment: Deployment) -> tuple[CallCount, ...]:
    """Return what was called on both chains, in the order of contracts and names.

    Parameters
    ----------
    deployment
        The contracts and their chains.
    """
    counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    names = _names(deployment)
    for chain, label in ((deployment.l1, "L1"), (deployment.l2, "L2")):
        _count_chain(chain, label, names, counts)
    return tuple(CallCount(*key, *value) for key, value in sorted(counts.items()))


def _names(deployment: Deployment) -> dict[bytes, str]:
    """Return contract names by address; the vesting contracts of all buckets are one."""
    return {
        address: "TrancheVesting" if name.startswith("vesting.") else name
        for name, address in deployment.contracts.items()
    }


def _count_chain(
    chain: Backend, label: str, names: Mapping[bytes, str], counts: defaultdict[tuple[str, str], list[int]]
) -> None:
    for receipt in chain.receipts:
        own = [log for log in receipt.logs if log.address in names]
        when = AT_CREATION if receipt.to is None else ""
        keys = [(f"{names[log.address]} ({label})", _event(log) + when) for log in own]
        for key in keys:
            counts[key][0] += 1
        named = _named_by(receipt, keys, names, label)
        if named not in keys:
            counts[named][0] += 1
        counts[named][1] += receipt.gas_used


def _named_by(
    receipt: Receipt, keys: Sequence[tuple[str, str]], names: Mapping[bytes, str], label: str
) -> tuple[str, str]:
    """Return the row at which a transaction's gas stands."""
    if receipt.to is None:
        created = receipt.contract_address or b""
        return f"{names.get(created, 'other contract')} ({label})", CREATED
    if receipt.to not in names:
        kind = "withdrawal begun at the bridge" if receipt.to == MESSAGE_PASSER else "transfer"
        return f"{PLAIN} ({label})", kind
    called = f"{names[receipt.to]} ({label})"
    if receipt.status == 0:
        return called, REVERTED
    own = [key for key in keys if key[0] == called]
    telling = [key for key in own if not key[1].startswith(SIDE_EFFECTS)]
    executed = [key for key in telling if key[1] == EXECUTED]
    return (*executed, *telling, *own, (called, RECEIVED))[0]


def _event(log: Log) -> str:
    """Return an event's name; a transfer of tokens says what it was where its ends tell."""
    item = common_abi().events.get(log.topics[0]) if log.topics else None
    if item is None:
        return "unknown event"
    if item.name != "Transfer" or len(log.topics) < 3:
        return item.name
    return f"{item.name}{_purpose(log.topics[1][-20:], log.topics[2][-20:])}"


def _purpose(source: bytes, target: bytes) -> str:
    escrow = address_of(ESCROW)
    by_source = {ZERO_ADDRESS: " (mint)", escrow: " (bridge pays a withdrawal)"}
    by_target = {ZERO_ADDRESS: " (burn)", escrow: " (deposit at the bridge)"}
    return by_source.get(source, by_target.get(target, ""))
