"""Sandbox: what this network has that others do not: its deployment, and the bridge between its two chains.

Rule decided here: whoever withdraws gets from here what the portal on L1 asks for. The blocks that L1 counts L2 by are
two seconds of time each and not those of L2's node, so that a client cannot find the covered state by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import data, parse_hash, quantity
from sim.chain.rpc.errors import REFUSED, RpcError

if TYPE_CHECKING:
    from sim.chain.bridge import Withdrawal
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params


def deployment(node: Node, params: Params) -> dict[str, Any]:
    """Return what `deployment.json` says."""
    params.end()
    return node.network.document()


def withdrawals(node: Node, params: Params) -> list[dict[str, Any]]:
    """Return the withdrawals that were not paid, in order, with the times of their next steps."""
    params.end()
    _require_bridge(node)
    return [_withdrawal(node, one) for one in node.network.bridge.pending_withdrawals()]


def _require_bridge(node: Node) -> None:
    if node.network.trouble:
        raise RpcError(REFUSED, f"the bridge stands still: {node.network.trouble}")


def _withdrawal(node: Node, one: Withdrawal) -> dict[str, Any]:
    bridge = node.network.bridge
    proven = one.proven_at is not None
    return {
        "withdrawalHash": data(one.digest),
        "transaction": _transaction(one),
        "initiatedAt": quantity(one.initiated_at),
        "provableAt": quantity(bridge.provable_at(one.number)),
        "provenAt": quantity(one.proven_at) if one.proven_at is not None else None,
        "payableAt": quantity(bridge.payable_at(one.number)) if proven else None,
    }


def _transaction(one: Withdrawal) -> dict[str, str]:
    """Return a withdrawal as the portal's struct has it."""
    return {
        "nonce": quantity(one.nonce),
        "sender": data(one.sender),
        "target": data(one.to),
        "value": quantity(one.amount_wei),
        "gasLimit": quantity(one.gas_limit),
        "data": data(one.data),
    }


def withdrawal_proof(node: Node, params: Params) -> dict[str, Any]:
    """Return the arguments of the portal's `proveWithdrawalTransaction` for a withdrawal."""
    digest = params.take("withdrawalHash", parse_hash)
    params.end()
    _require_bridge(node)
    bridge = node.network.bridge
    one = next((w for w in bridge.pending_withdrawals() if w.digest == digest), None)
    if one is None:
        raise RpcError(REFUSED, f"withdrawal {data(digest)} is unknown or was paid")
    index = bridge.outputs.index_covering(one.initiated_at)
    if index >= len(bridge.outputs.proposed):
        raise RpcError(
            REFUSED, f"no output covers it yet; it can be proved from {bridge.provable_at(one.number)}"
        )
    output = bridge.outputs.claims[index]
    return {
        "transaction": _transaction(one),
        "outputIndex": quantity(index),
        "outputRootProof": {
            "version": data(bytes(32)),
            "stateRoot": data(output.state_root),
            "messagePasserStorageRoot": data(output.storage_root),
            "latestBlockhash": data(output.block_hash),
        },
        "withdrawalProof": [data(part) for part in bridge.messages.find(one.number).nodes],
    }


METHODS: dict[str, Any] = {
    "olsim_deployment": deployment,
    "olsim_withdrawals": withdrawals,
    "olsim_withdrawalProof": withdrawal_proof,
}
WRITES: tuple[str, ...] = ()
