"""State: what accounts hold and what calls would answer.

Rule decided here: a read without a block is of the latest one. What sends (an estimate, an access list) is without a
block of the one that comes next, in which the transaction would run: after a jump in time that is the new time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim.chain.estimates import access_list, estimate_gas, gas_cap
from sim.chain.rpc.codec import data, parse_address, parse_list, parse_slot, quantity, word
from sim.chain.rpc.errors import INVALID_PARAMS, REFUSED, RpcError, failed_execution
from sim.chain.rpc.requests import parse_block, parse_overrides, parse_transaction
from sim.chain.rpc.shapes import access_list_json, proof_json

if TYPE_CHECKING:
    from sim.chain.message import Message
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params
    from sim.chain.views import StateView

PROVED_MAX = 1_024
"""Most storage words of one proof."""


def _address_and_view(node: Node, params: Params) -> tuple[bytes, StateView]:
    address = params.take("address", parse_address)
    view = _view(node, params)
    params.end()
    return address, view


def _view(node: Node, params: Params, *, pending: bool = False) -> StateView:
    default = node.chain.block_number if pending else node.chain.blocks.latest
    return node.chain.view(params.take("block", parse_block(node.chain), default))


def get_balance(node: Node, params: Params) -> str:
    """Return an account's native coins, wei."""
    address, view = _address_and_view(node, params)
    return quantity(view.balance(address))


def get_transaction_count(node: Node, params: Params) -> str:
    """Return an account's nonce; for `pending`, past the transactions that wait in turn."""
    address, view = _address_and_view(node, params)
    nonce = view.nonce(address)
    if view.env.number == node.chain.block_number:
        nonce = node.pool.next_nonce(address, nonce)
    return quantity(nonce)


def get_code(node: Node, params: Params) -> str:
    """Return deployed code."""
    address, view = _address_and_view(node, params)
    return data(view.code(address))


def get_storage_at(node: Node, params: Params) -> str:
    """Return one storage word."""
    address = params.take("address", parse_address)
    slot = params.take("slot", parse_slot)
    view = _view(node, params)
    params.end()
    return word(view.storage(address, slot))


def get_proof(node: Node, params: Params) -> dict[str, Any]:
    """Return an account and storage words with their proofs against the state root of a block (EIP-1186)."""
    address = params.take("address", parse_address)
    keys = params.take("storageKeys", parse_list, [])
    if len(keys) > PROVED_MAX:
        raise RpcError(INVALID_PARAMS, f"storageKeys has {len(keys)} entries; allowed {PROVED_MAX}")
    slots = tuple(parse_slot(key, "storageKeys") for key in keys)
    view = _view(node, params)
    params.end()
    return proof_json(view.proof(address, slots), keys)


def call(node: Node, params: Params) -> str:
    """Execute a message and return what it returns; nothing is kept."""
    request = params.take("transaction", parse_transaction)
    view = _view(node, params)
    overrides = params.take("stateOverrides", parse_overrides, {})
    params.end()
    message = request.message
    check_funds(view, message, overrides.get(message.sender))
    execution = view.peek(replace(message, gas=gas_cap(view, message, node.chain.rules)), overrides=overrides)
    if execution.status == 0:
        raise failed_execution(execution)
    return data(execution.output)


def check_funds(view: StateView, message: Message, override: Any = None) -> None:
    """Refuse a message whose sender has less than it sends."""
    has = view.balance(message.sender)
    if override is not None and override.balance is not None:
        has = override.balance
    if has < message.value:
        raise RpcError(
            REFUSED,
            f"insufficient funds for gas * price + value: address 0x{message.sender.hex()} have {has}"
            f" want {message.value}",
        )


def estimate(node: Node, params: Params) -> str:
    """Return a gas limit with which a message succeeds."""
    request = params.take("transaction", parse_transaction)
    view = _view(node, params, pending=True)
    overrides = params.take("stateOverrides", parse_overrides, {})
    params.end()
    return quantity(estimated_gas(node, view, request.message, overrides))


def estimated_gas(node: Node, view: StateView, message: Message, overrides: Any = None) -> int:
    """Return a gas limit with which a message succeeds.

    Raises
    ------
    RpcError
        If it fails with all the gas there is.
    """
    check_funds(view, message, (overrides or {}).get(message.sender))
    gas, execution = estimate_gas(view, message, node.chain.rules, overrides)
    if not gas:
        raise failed_execution(execution)
    return gas


def create_access_list(node: Node, params: Params) -> dict[str, Any]:
    """Return the access list that a message would use, with its gas (EIP-2930)."""
    request = params.take("transaction", parse_transaction)
    view = _view(node, params, pending=True)
    params.end()
    check_funds(view, request.message)
    entries, execution = access_list(view, request.message, node.chain.rules)
    answer = {"accessList": access_list_json(entries), "gasUsed": quantity(execution.gas_used)}
    if execution.status == 0:
        answer["error"] = failed_execution(execution).message
    return answer


METHODS: dict[str, Any] = {
    "eth_getBalance": get_balance,
    "eth_getTransactionCount": get_transaction_count,
    "eth_getCode": get_code,
    "eth_getStorageAt": get_storage_at,
    "eth_getProof": get_proof,
    "eth_call": call,
    "eth_estimateGas": estimate,
    "eth_createAccessList": create_access_list,
}
