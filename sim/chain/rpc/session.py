"""Session: one WebSocket with its subscriptions.

Rule decided here: a subscription is a filter whose news are sent instead of asked for. A client that does not read
what it gets is disconnected.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import invalid, quantity, shown
from sim.chain.rpc.dispatcher import Dispatcher
from sim.chain.rpc.errors import INVALID_PARAMS, LIMIT_EXCEEDED, RpcError
from sim.chain.rpc.filters import HEADS, LOGS, PENDING, Filter
from sim.chain.rpc.methods import METHODS
from sim.chain.rpc.requests import parse_criteria

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params

SUBSCRIPTIONS_MAX = 100
UNREAD_MAX = 10_000
"""Most subscriptions of one client, and most messages that it may leave unread."""


class Session:
    """What one client subscribed to.

    Parameters
    ----------
    dispatcher
        Answers everything else.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        own = {"eth_subscribe": self._subscribe, "eth_unsubscribe": self._unsubscribe}
        self._dispatcher = Dispatcher(dispatcher.node, {**METHODS, **own}, dispatcher.observe)
        self._filters: dict[int, Filter] = {}
        self._next = 1
        self.outgoing: asyncio.Queue[str] = asyncio.Queue(UNREAD_MAX)

    @property
    def has_subscriptions(self) -> bool:
        """Whether there is anything to announce."""
        return bool(self._filters)

    def handle(self, text: bytes) -> bytes | None:
        """Return the answer to a message."""
        return self._dispatcher.handle(text)

    def news(self) -> list[str]:
        """Return what the client has not been told yet, as messages."""
        messages = []
        for number, one in self._filters.items():
            for result in self._dispatcher.node.filters.changes(one):
                params = {"subscription": quantity(number), "result": result}
                message = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                messages.append(json.dumps(message, separators=(",", ":")))
        return messages

    def _subscribe(self, node: Node, params: Params) -> str:
        kind = params.take("subscription", _kind)
        criteria = None
        if kind == LOGS:
            criteria = params.take("filter", parse_criteria(node.chain, 0), None)
            criteria = criteria or parse_criteria(node.chain, 0)({}, "filter")
        else:
            params.take("options", lambda value, what: value, None)
        params.end()
        if len(self._filters) >= SUBSCRIPTIONS_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"{SUBSCRIPTIONS_MAX} subscriptions are open")
        number, self._next = self._next, self._next + 1
        self._filters[number] = node.filters.new(kind, criteria)
        return quantity(number)

    def _unsubscribe(self, node: Node, params: Params) -> bool:
        number = params.take("subscription", _number)
        params.end()
        if self._filters.pop(number, None) is None:
            raise RpcError(INVALID_PARAMS, "subscription not found")
        return True


def _kind(value: Any, what: str) -> str:
    kinds = (HEADS, LOGS, PENDING)
    if value not in kinds:
        raise invalid(what, value, f"one of {', '.join(kinds)}")
    return str(value)


def _number(value: Any, what: str) -> int:
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise RpcError(INVALID_PARAMS, f"subscription not found: {shown(value)}") from error
