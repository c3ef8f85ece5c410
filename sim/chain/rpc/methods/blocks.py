"""Blocks: blocks, transactions and receipts; null for what there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import parse_flag, parse_hash, parse_quantity, quantity
from sim.chain.rpc.requests import parse_block_or_none
from sim.chain.rpc.shapes import block_json, pending_json, receipt_json, transaction_json, waiting_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.chain.message import Transaction
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params


def _by_number(node: Node, params: Params) -> int | None:
    number: int | None = params.take("block", parse_block_or_none(node.chain))
    return number


def _by_hash(node: Node, params: Params) -> int | None:
    return node.chain.blocks.number_of(params.take("blockHash", parse_hash))


def _waiting(node: Node) -> list[tuple[bytes, Transaction]]:
    return [one for one in node.pool if node.pool.is_in_turn(one[1], node.chain.nonce)]


def _is_pending(node: Node, number: int | None) -> bool:
    return number == node.chain.block_number


def _get_block(find: Callable[[Node, Params], int | None]) -> Any:
    def get(node: Node, params: Params) -> Any:
        number = find(node, params)
        full = params.take("full", parse_flag, False)
        params.end()
        if number is None:
            return None
        if _is_pending(node, number):
            return pending_json(node.chain, _waiting(node), full=full)
        return block_json(node.chain, number, full=full)

    return get


def _get_count(find: Callable[[Node, Params], int | None]) -> Any:
    def count(node: Node, params: Params) -> str | None:
        number = find(node, params)
        params.end()
        if number is None:
            return None
        if _is_pending(node, number):
            return quantity(len(_waiting(node)))
        return quantity(len(node.chain.blocks.block(number).transactions))

    return count


def _get_uncle_count(find: Callable[[Node, Params], int | None]) -> Any:
    def count(node: Node, params: Params) -> str | None:
        number = find(node, params)
        params.end()
        return None if number is None else quantity(0)

    return count


def _get_in_block(find: Callable[[Node, Params], int | None]) -> Any:
    def get(node: Node, params: Params) -> Any:
        number = find(node, params)
        place = params.take("index", parse_quantity)
        params.end()
        if number is None:
            return None
        if _is_pending(node, number):
            waiting = _waiting(node)
            return waiting_json(*waiting[place], node.chain) if place < len(waiting) else None
        block = node.chain.blocks.block(number)
        if place >= len(block.transactions):
            return None
        return transaction_json(node.chain, block.first_transaction + place)

    return get


def get_transaction(node: Node, params: Params) -> Any:
    """Return a transaction by its hash, mined or waiting."""
    digest = params.take("transactionHash", parse_hash)
    params.end()
    index = node.chain.blocks.find(digest)
    if index is not None:
        return transaction_json(node.chain, index)
    waiting = node.pool.get(digest)
    return None if waiting is None else waiting_json(digest, waiting, node.chain)


def get_receipt(node: Node, params: Params) -> Any:
    """Return a mined transaction's receipt."""
    index = node.chain.blocks.find(params.take("transactionHash", parse_hash))
    params.end()
    return None if index is None else receipt_json(node.chain, index)


def get_block_receipts(node: Node, params: Params) -> Any:
    """Return all receipts of a block."""
    number = _by_number(node, params)
    params.end()
    if number is None:
        return None
    if _is_pending(node, number):
        return []
    block = node.chain.blocks.block(number)
    first = block.first_transaction
    return [receipt_json(node.chain, first + i) for i in range(len(block.transactions))]


METHODS: dict[str, Any] = {
    "eth_getBlockByNumber": _get_block(_by_number),
    "eth_getBlockByHash": _get_block(_by_hash),
    "eth_getBlockTransactionCountByNumber": _get_count(_by_number),
    "eth_getBlockTransactionCountByHash": _get_count(_by_hash),
    "eth_getUncleCountByBlockNumber": _get_uncle_count(_by_number),
    "eth_getUncleCountByBlockHash": _get_uncle_count(_by_hash),
    "eth_getTransactionByBlockNumberAndIndex": _get_in_block(_by_number),
    "eth_getTransactionByBlockHashAndIndex": _get_in_block(_by_hash),
    "eth_getTransactionByHash": get_transaction,
    "eth_getTransactionReceipt": get_receipt,
    "eth_getBlockReceipts": get_block_receipts,
}
