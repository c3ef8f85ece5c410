"""Sending: transactions that change a chain, and signatures of the development accounts.

Rule decided here: an account with a development key signs; an account that the node only acts for (a named one, an
impersonated one) sends without a signature and without a fee. What a client leaves open is filled in: the nonce after
those that wait, the gas by an estimate with a quarter on top, the fees as suggested.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import hex_address, keccak
from sim.chain.message import ACCESS_LIST, DYNAMIC_FEE, LEGACY, Message, Transaction
from sim.chain.rpc.codec import data, invalid, parse_address, parse_data, parse_object, parse_quantity, word
from sim.chain.rpc.errors import INVALID_PARAMS, REFUSED, RpcError
from sim.chain.rpc.methods.fees import suggested_tip
from sim.chain.rpc.methods.state import estimated_gas
from sim.chain.rpc.requests import TransactionRequest, parse_transaction
from sim.chain.rpc.shapes import waiting_json
from sim.chain.transactions import decode

if TYPE_CHECKING:
    from sim.chain.rpc.keys import DevelopmentKey
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params


def send_raw(node: Node, params: Params) -> str:
    """Take a signed transaction of type 0, 1 or 2 and return its hash."""
    raw = params.take("transaction", parse_data)
    params.end()
    transaction = decode(raw, node.chain.chain_id)
    node.chain.check(transaction)
    return data(node.submit(transaction))


def send(node: Node, params: Params) -> str:
    """Send a transaction of an account that the node acts for and return its hash."""
    request = _request(node, params)
    sender = request.message.sender
    if not node.acts_for(sender):
        raise RpcError(
            REFUSED, f"unknown account 0x{sender.hex()}; impersonate it or use one of eth_accounts"
        )
    filled = _fill(node, request)
    if sender in node.keys:
        transaction = decode(_sign(node, filled), node.chain.chain_id)
    else:
        free = replace(filled.message, max_fee=0, max_priority_fee=0)
        transaction = Transaction(free, filled.nonce or 0)
    node.chain.check(transaction)
    return data(node.submit(transaction))


def sign_transaction(node: Node, params: Params) -> dict[str, Any]:
    """Return a transaction signed with a development key, without sending it."""
    request = _request(node, params)
    _key(node, request.message.sender)
    raw = _sign(node, _fill(node, request))
    transaction = decode(raw, node.chain.chain_id)
    return {"raw": data(raw), "tx": waiting_json(keccak(raw), transaction, node.chain)}


def _request(node: Node, params: Params) -> TransactionRequest:
    value = params.take("transaction", parse_object)
    params.end()
    request = parse_transaction(value, "transaction")
    if not request.has_sender:
        raise RpcError(INVALID_PARAMS, "transaction.from is missing")
    if request.type not in (None, LEGACY, ACCESS_LIST, DYNAMIC_FEE):
        raise RpcError(INVALID_PARAMS, f"transaction type not supported: {request.type}")
    asked = value.get("chainId")
    if asked is not None and parse_quantity(asked, "transaction.chainId") != node.chain.chain_id:
        want = f"{node.chain.chain_id:#x}"
        raise RpcError(INVALID_PARAMS, f"chainId does not match node's (have={asked}, want={want})")
    return request


def _fill(node: Node, request: TransactionRequest) -> TransactionRequest:
    """Fill in nonce, gas and fees."""
    chain, message = node.chain, request.message
    nonce = request.nonce
    if nonce is None:
        nonce = node.pool.next_nonce(message.sender, chain.nonce(message.sender))
    max_fee, tip = message.max_fee, message.max_priority_fee
    if request.fees is None and message.sender in node.keys:
        tip = suggested_tip(node)
        max_fee = 2 * chain.base_fee + tip
    gas = message.gas
    if gas is None:
        probe = replace(message, max_fee=0, max_priority_fee=0)
        needed = estimated_gas(node, chain.view(chain.block_number), probe)
        gas = min(needed + needed // 4, chain.rules.gas_limit)
    kind = request.type
    if kind is None:
        kind = DYNAMIC_FEE if request.fees != "gasPrice" else ACCESS_LIST if message.access_list else LEGACY
    filled = replace(message, gas=gas, max_fee=max_fee, max_priority_fee=tip)
    return replace(request, message=filled, nonce=nonce, type=kind)


def _sign(node: Node, request: TransactionRequest) -> bytes:
    message: Message = request.message
    fields: dict[str, Any] = {
        "chainId": node.chain.chain_id,
        "nonce": request.nonce,
        "gas": message.gas,
        "value": message.value,
        "data": data(message.data),
        "type": request.type,
    }
    if message.to is not None:
        fields["to"] = hex_address(message.to)
    if request.type == DYNAMIC_FEE:
        fields |= {"maxFeePerGas": message.max_fee, "maxPriorityFeePerGas": message.max_priority_fee}
    else:
        fields["gasPrice"] = message.max_fee
    if request.type == LEGACY:
        del fields["type"]
    else:
        fields["accessList"] = [
            {"address": hex_address(a), "storageKeys": [word(slot) for slot in slots]}
            for a, slots in message.access_list
        ]
    return _key(node, message.sender).sign_transaction(fields)


def _key(node: Node, address: bytes) -> DevelopmentKey:
    if address not in node.keys:
        raise RpcError(REFUSED, f"no key for 0x{address.hex()}; the development accounts have one")
    return node.keys[address]


def eth_sign(node: Node, params: Params) -> str:
    """Sign a message with Ethereum's prefix."""
    address = params.take("address", parse_address)
    message = params.take("message", parse_data)
    params.end()
    return data(_key(node, address).sign_message(message))


def personal_sign(node: Node, params: Params) -> str:
    """Sign a message with Ethereum's prefix; a password is not looked at."""
    message = params.take("message", parse_data)
    address = params.take("address", parse_address)
    params.take("password", lambda value, what: value, None)
    params.end()
    return data(_key(node, address).sign_message(message))


def sign_typed_data(node: Node, params: Params) -> str:
    """Sign typed data (EIP-712), given as an object or as its text."""
    address = params.take("address", parse_address)
    document = params.take("typedData", _typed_data)
    params.end()
    key = _key(node, address)
    try:
        return data(key.sign_typed_data(document))
    except Exception as error:  # the encoder's errors are as many as its types
        raise invalid(
            "typedData", document, f"EIP-712 typed data ({type(error).__name__}: {error})"
        ) from error


def _typed_data(value: Any, what: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise invalid(what, value, "an object, or its JSON text") from error
    return parse_object(value, what)


METHODS: dict[str, Any] = {
    "eth_sendRawTransaction": send_raw,
    "eth_sendTransaction": send,
    "eth_signTransaction": sign_transaction,
    "eth_sign": eth_sign,
    "personal_sign": personal_sign,
    "eth_signTypedData": sign_typed_data,
    "eth_signTypedData_v4": sign_typed_data,
}

WRITES = ("eth_sendRawTransaction", "eth_sendTransaction")
