"""Filters: what a client has seen of blocks, events and waiting transactions, and what is new since.

Rule decided here: a filter is a place in the chain, not a queue; what is new is looked up when it is asked for. After
a chain went back to a snapshot, filters go on from its head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import data
from sim.chain.rpc.errors import LIMIT_EXCEEDED, REFUSED, RpcError
from sim.chain.rpc.shapes import header_json, logs_json

if TYPE_CHECKING:
    from sim.chain.evm import Chain
    from sim.chain.rpc.requests import LogCriteria

FILTERS_MAX = 1_000
LOGS_MAX = 100_000
"""Most filters of one chain, and most events in one answer."""

LOGS, BLOCKS, PENDING, HEADS = "logs", "newBlocks", "newPendingTransactions", "newHeads"


@dataclass(slots=True)
class Filter:
    """One filter or subscription.

    Parameters
    ----------
    kind
        What it follows.
    seen_block, seen_pending
        The last block, and the count of submitted transactions, that it has seen.
    criteria
        Which events it wants, for a filter of events.
    """

    kind: str
    seen_block: int
    seen_pending: int
    criteria: LogCriteria | None = None


class FilterBook:
    """Filters of one chain.

    Parameters
    ----------
    chain
        What they follow.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._filters: dict[int, Filter] = {}
        self._next = 1
        self.submitted: list[bytes] = []

    def add(self, kind: str, criteria: LogCriteria | None = None) -> int:
        """Begin a filter at the head of the chain and return its number."""
        if len(self._filters) >= FILTERS_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"{FILTERS_MAX} filters are open; uninstall one")
        number = self._next
        self._next += 1
        self._filters[number] = self.new(kind, criteria)
        return number

    def new(self, kind: str, criteria: LogCriteria | None = None) -> Filter:
        """Return a filter at the head of the chain that is nobody else's."""
        return Filter(kind, self._chain.blocks.latest, len(self.submitted), criteria)

    def remove(self, number: int) -> bool:
        """End a filter; False if there is none."""
        return self._filters.pop(number, None) is not None

    def get(self, number: int) -> Filter:
        """Return a filter.

        Raises
        ------
        RpcError
            If there is none of this number.
        """
        if number not in self._filters:
            raise RpcError(REFUSED, "filter not found")
        return self._filters[number]

    def changes(self, one: Filter) -> list[Any]:
        """Return what a filter has not seen, and count it as seen."""
        latest = self._chain.blocks.latest
        first = min(one.seen_block, latest) + 1
        pending, one.seen_pending = one.seen_pending, len(self.submitted)
        one.seen_block = latest
        if one.kind == PENDING:
            return [data(digest) for digest in self.submitted[pending:]]
        if one.kind == LOGS:
            assert one.criteria is not None
            return query_logs(self._chain, one.criteria, first)
        if one.kind == HEADS:
            return [header_json(self._chain, number) for number in range(first, latest + 1)]
        return [data(self._chain.blocks.hash_of(number)) for number in range(first, latest + 1)]


def query_logs(chain: Chain, criteria: LogCriteria, first: int = 0) -> list[Any]:
    """Return the events that match, from block `first` on.

    Raises
    ------
    RpcError
        If they are too many for one answer.
    """
    last = chain.blocks.latest if criteria.to_block is None else min(criteria.to_block, chain.blocks.latest)
    found = chain.find_logs(max(criteria.from_block, first), last, criteria.addresses, criteria.topics)
    if len(found) > LOGS_MAX:
        raise RpcError(LIMIT_EXCEEDED, f"query returned more than {LOGS_MAX} results; ask for fewer blocks")
    return logs_json(chain, found)
