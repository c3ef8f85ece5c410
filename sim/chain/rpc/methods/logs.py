"""Logs: events by range, contract and topic, and filters over what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import parse_quantity, quantity
from sim.chain.rpc.errors import REFUSED, RpcError
from sim.chain.rpc.filters import BLOCKS, LOGS, PENDING, query_logs
from sim.chain.rpc.requests import parse_criteria

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params


def get_logs(node: Node, params: Params) -> list[Any]:
    """Return the events that match; a range without bounds is the latest block."""
    latest = node.chain.blocks.latest
    criteria = params.take("filter", parse_criteria(node.chain, latest))
    params.end()
    return query_logs(node.chain, criteria)


def new_filter(node: Node, params: Params) -> str:
    """Begin to follow events."""
    criteria = params.take("filter", parse_criteria(node.chain, 0))
    params.end()
    return quantity(node.filters.add(LOGS, criteria))


def new_block_filter(node: Node, params: Params) -> str:
    """Begin to follow blocks."""
    params.end()
    return quantity(node.filters.add(BLOCKS))


def new_pending_filter(node: Node, params: Params) -> str:
    """Begin to follow submitted transactions."""
    params.end()
    return quantity(node.filters.add(PENDING))


def get_filter_changes(node: Node, params: Params) -> list[Any]:
    """Return what a filter has not seen yet."""
    number = params.take("filterId", parse_quantity)
    params.end()
    return node.filters.changes(node.filters.get(number))


def get_filter_logs(node: Node, params: Params) -> list[Any]:
    """Return all events that a filter matches."""
    number = params.take("filterId", parse_quantity)
    params.end()
    found = node.filters.get(number)
    if found.criteria is None:
        raise RpcError(REFUSED, "filter not found: it follows no events")
    return query_logs(node.chain, found.criteria)


def uninstall_filter(node: Node, params: Params) -> bool:
    """End a filter."""
    number = params.take("filterId", parse_quantity)
    params.end()
    return node.filters.remove(number)


METHODS: dict[str, Any] = {
    "eth_getLogs": get_logs,
    "eth_newFilter": new_filter,
    "eth_newBlockFilter": new_block_filter,
    "eth_newPendingTransactionFilter": new_pending_filter,
    "eth_getFilterChanges": get_filter_changes,
    "eth_getFilterLogs": get_filter_logs,
    "eth_uninstallFilter": uninstall_filter,
}
