"""Tracing: trees of calls, and what waits in the pool."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim.chain.estimates import gas_cap
from sim.chain.rpc.codec import data, parse_flag, parse_hash, parse_object, quantity
from sim.chain.rpc.errors import INVALID_PARAMS, REFUSED, RpcError
from sim.chain.rpc.methods.state import check_funds
from sim.chain.rpc.requests import parse_block, parse_transaction
from sim.chain.rpc.shapes import frame_json, waiting_json

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params
    from sim.chain.tracing import CallFrame

TRACER = "callTracer"


def trace_transaction(node: Node, params: Params) -> dict[str, Any]:
    """Return the tree of calls of a mined transaction."""
    digest = params.take("transactionHash", parse_hash)
    options = params.take("options", parse_object, {})
    params.end()
    index = node.chain.blocks.find(digest)
    if index is None or index not in node.chain.blocks.frames:
        raise RpcError(REFUSED, "transaction not found")
    frame = node.chain.blocks.frames[index]
    transaction, receipt = node.chain.blocks.transactions[index], node.chain.blocks.receipts[index]
    return _traced(replace(frame, gas=transaction.gas, gas_used=receipt.gas_used), options)


def trace_call(node: Node, params: Params) -> dict[str, Any]:
    """Return the tree of calls that a message would make; nothing is kept."""
    request = params.take("transaction", parse_transaction)
    view = node.chain.view(params.take("block", parse_block(node.chain), node.chain.blocks.latest))
    options = params.take("options", parse_object, {})
    params.end()
    check_funds(view, request.message)
    message = replace(request.message, gas=gas_cap(view, request.message, node.chain.rules))
    execution = view.peek(message, traced=True)
    assert execution.frame is not None
    return _traced(replace(execution.frame, gas=execution.gas, gas_used=execution.gas_used), options)


def _traced(frame: CallFrame, options: dict[str, Any]) -> dict[str, Any]:
    tracer = options.get("tracer", TRACER)
    if tracer != TRACER:
        raise RpcError(INVALID_PARAMS, f"tracer {tracer!r:.60} is not known; expected {TRACER!r}")
    config = parse_object(options.get("tracerConfig") or {}, "tracerConfig")
    return frame_json(
        frame,
        with_logs=parse_flag(config.get("withLog", False), "tracerConfig.withLog"),
        only_top=parse_flag(config.get("onlyTopCall", False), "tracerConfig.onlyTopCall"),
    )


def pool_status(node: Node, params: Params) -> dict[str, str]:
    """Return how many transactions wait in turn, and how many for a nonce before theirs."""
    params.end()
    pending = sum(node.pool.is_in_turn(transaction, node.chain.nonce) for _, transaction in node.pool)
    return {"pending": quantity(pending), "queued": quantity(len(node.pool) - pending)}


def pool_content(node: Node, params: Params) -> dict[str, Any]:
    """Return the waiting transactions by sender and nonce."""
    params.end()
    content: dict[str, Any] = {"pending": {}, "queued": {}}
    for digest, transaction in node.pool:
        kind = "pending" if node.pool.is_in_turn(transaction, node.chain.nonce) else "queued"
        own = content[kind].setdefault(data(transaction.message.sender), {})
        own[str(transaction.nonce)] = waiting_json(digest, transaction, node.chain)
    return content


METHODS: dict[str, Any] = {
    "debug_traceTransaction": trace_transaction,
    "debug_traceCall": trace_call,
    "txpool_status": pool_status,
    "txpool_content": pool_content,
}
