"""Shapes: blocks, transactions, receipts, events, proofs and call frames as clients read them.

Rule decided here: names are camelCase, quantities minimal hexadecimal, bytes padded; `to` is null for a creation, and
what a waiting transaction has not got yet is null. Events are numbered within their block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.header import (
    EMPTY_REQUESTS_HASH,
    EMPTY_TRIE_ROOT,
    EMPTY_UNCLES_HASH,
    ZERO_HASH,
    bloom_bytes,
    bloom_of,
)
from sim.chain.message import LEGACY, UNSIGNED
from sim.chain.rpc.codec import data, quantity, word
from sim.chain.rpc.errors import revert_reason
from sim.chain.transactions import source_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.chain.backend import AccountProof, Log
    from sim.chain.blocks import Block
    from sim.chain.evm import Chain
    from sim.chain.message import AccessList, Transaction
    from sim.chain.tracing import CallFrame

Json = dict[str, Any]


def block_json(chain: Chain, number: int, *, full: bool) -> Json:
    """Return a block that ended."""
    block = chain.blocks.block(number)
    header = block.header
    count = len(block.transactions)
    listed: list[Any] = [data(digest) for digest in block.transactions]
    if full:
        listed = [transaction_json(chain, block.first_transaction + i) for i in range(count)]
    return {
        **_block_fields(header.timestamp, header.base_fee, header.gas_limit),
        "number": quantity(header.number),
        "hash": data(block.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(bytes(8)),
        "miner": data(header.coinbase),
        "logsBloom": data(bloom_bytes(header.bloom)),
        "transactionsRoot": data(header.transactions_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipts_root),
        "size": quantity(block.size),
        "gasUsed": quantity(header.gas_used),
        "transactions": listed,
    }


def pending_json(chain: Chain, waiting: Sequence[tuple[bytes, Transaction]], *, full: bool) -> Json:
    """Return the block that comes next, with the transactions that wait."""
    listed: list[Any] = [waiting_json(*one, chain) if full else data(one[0]) for one in waiting]
    return {
        **_block_fields(chain.time, chain.base_fee, chain.rules.gas_limit),
        "number": quantity(chain.block_number),
        "hash": None,
        "parentHash": data(chain.blocks.hash_of(chain.blocks.latest)),
        "nonce": None,
        "miner": None,
        "logsBloom": None,
        "transactionsRoot": data(EMPTY_TRIE_ROOT),
        "stateRoot": data(ZERO_HASH),
        "receiptsRoot": data(EMPTY_TRIE_ROOT),
        "size": quantity(0),
        "gasUsed": quantity(0),
        "transactions": listed,
    }


def header_json(chain: Chain, number: int) -> Json:
    """Return a new head as a subscription announces it: a block without its transactions."""
    block = block_json(chain, number, full=False)
    return {name: value for name, value in block.items() if name not in ("transactions", "uncles", "size")}


def _block_fields(timestamp: int, base_fee: int, gas_limit: int) -> Json:
    return {
        "sha3Uncles": data(EMPTY_UNCLES_HASH),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "gasLimit": quantity(gas_limit),
        "timestamp": quantity(timestamp),
        "mixHash": data(ZERO_HASH),
        "baseFeePerGas": quantity(base_fee),
        "uncles": [],
        "withdrawals": [],
        "withdrawalsRoot": data(EMPTY_TRIE_ROOT),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": data(ZERO_HASH),
        "requestsHash": data(EMPTY_REQUESTS_HASH),
    }


def transaction_json(chain: Chain, index: int) -> Json:
    """Return a transaction that is in a block, by its position on the chain."""
    transaction, number = chain.blocks.transactions[index], chain.blocks.receipts[index].block_number
    block = chain.blocks.block(number)
    shape = _transaction_fields(transaction, chain.blocks.transaction_hash(index), chain.chain_id)
    price = 0 if transaction.type == UNSIGNED else transaction.price(block.header.base_fee)
    place = {
        "blockHash": data(block.hash),
        "blockNumber": quantity(number),
        "transactionIndex": quantity(index - block.first_transaction),
    }
    return {**shape, "gasPrice": quantity(price), **place}


def waiting_json(digest: bytes, transaction: Transaction, chain: Chain) -> Json:
    """Return a transaction that waits."""
    return {
        **_transaction_fields(transaction, digest, chain.chain_id),
        "gasPrice": quantity(transaction.message.max_fee),
        "blockHash": None,
        "blockNumber": None,
        "transactionIndex": None,
    }


def _transaction_fields(transaction: Transaction, digest: bytes, chain_id: int) -> Json:
    message = transaction.message
    v, r, s = transaction.signature
    shape: Json = {
        "hash": data(digest),
        "type": quantity(transaction.type),
        "chainId": quantity(chain_id),
        "nonce": quantity(transaction.nonce),
        "from": data(message.sender),
        "to": None if message.to is None else data(message.to),
        "value": quantity(message.value),
        "gas": quantity(transaction.gas),
        "input": data(message.data),
        "v": quantity(v),
        "r": quantity(r),
        "s": quantity(s),
    }
    if transaction.type == UNSIGNED:
        return shape | {
            "sourceHash": data(source_hash(transaction, chain_id)),
            "mint": quantity(transaction.mint),
        }
    if transaction.type != LEGACY:
        shape |= {"accessList": access_list_json(message.access_list), "yParity": quantity(v)}
    if transaction.type == 2:
        shape |= {
            "maxFeePerGas": quantity(message.max_fee),
            "maxPriorityFeePerGas": quantity(message.max_priority_fee),
        }
    return shape


def access_list_json(entries: AccessList) -> list[Json]:
    """Return an access list."""
    return [{"address": data(a), "storageKeys": [word(slot) for slot in slots]} for a, slots in entries]


def receipt_json(chain: Chain, index: int) -> Json:
    """Return a receipt by its transaction's position on the chain."""
    receipt, transaction = chain.blocks.receipts[index], chain.blocks.transactions[index]
    block = chain.blocks.block(receipt.block_number)
    place = index - block.first_transaction
    price = 0 if transaction.type == UNSIGNED else transaction.price(block.header.base_fee)
    created = receipt.contract_address
    return {
        "transactionHash": data(block.transactions[place]),
        "transactionIndex": quantity(place),
        "blockHash": data(block.hash),
        "blockNumber": quantity(receipt.block_number),
        "from": data(receipt.sender),
        "to": None if receipt.to is None else data(receipt.to),
        "cumulativeGasUsed": quantity(block.cumulative_gas[place]),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(price),
        "contractAddress": None if created is None else data(created),
        "logs": [_log_json(log, block) for log in receipt.logs],
        "logsBloom": data(bloom_bytes(bloom_of(receipt.logs))),
        "type": quantity(transaction.type),
        "status": quantity(receipt.status),
    }


def logs_json(chain: Chain, logs: Iterable[Log]) -> list[Json]:
    """Return events."""
    return [_log_json(log, chain.blocks.block(log.block_number)) for log in logs]


def _log_json(log: Log, block: Block) -> Json:
    place = log.transaction_index - block.first_transaction
    return {
        "address": data(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": quantity(log.block_number),
        "blockHash": data(block.hash),
        "transactionHash": data(block.transactions[place]),
        "transactionIndex": quantity(place),
        "logIndex": quantity(log.log_index - block.first_log),
        "removed": False,
    }


def proof_json(proof: AccountProof, keys: Sequence[Any]) -> Json:
    """Return an account's proof (EIP-1186); storage keys are repeated as they were asked for."""
    return {
        "address": data(proof.address),
        "accountProof": [data(node) for node in proof.nodes],
        "balance": quantity(proof.balance),
        "codeHash": data(proof.code_hash),
        "nonce": quantity(proof.nonce),
        "storageHash": data(proof.storage_root),
        "storageProof": [
            {"key": key, "value": quantity(one.value), "proof": [data(node) for node in one.nodes]}
            for key, one in zip(keys, proof.storage, strict=True)
        ],
    }


def frame_json(frame: CallFrame, *, with_logs: bool, only_top: bool) -> Json:
    """Return a tree of calls as `callTracer` writes it."""
    shape: Json = {
        "type": frame.kind,
        "from": data(frame.sender),
        "gas": quantity(frame.gas),
        "gasUsed": quantity(frame.gas_used),
        "input": data(frame.data),
    }
    if frame.to is not None:
        shape["to"] = data(frame.to)
    if frame.value is not None:
        shape["value"] = quantity(frame.value)
    if frame.output:
        shape["output"] = data(frame.output)
    if frame.error:
        shape["error"] = frame.error
        reason = revert_reason(frame.output)
        if reason:
            shape["revertReason"] = reason
    if with_logs and frame.logs and not frame.error:
        shape["logs"] = [
            {
                "address": data(log.address),
                "topics": [data(topic) for topic in log.topics],
                "data": data(log.data),
                "index": quantity(log.index),
            }
            for log in frame.logs
        ]
    if frame.calls and not only_top:
        shape["calls"] = [frame_json(one, with_logs=with_logs, only_top=False) for one in frame.calls]
    return shape
