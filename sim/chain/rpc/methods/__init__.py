"""Methods: what a node answers, a module per group.

Rule decided here: a method is a function of a node and its arguments; which ones change something is listed, so that
a state file can hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sim.chain.rpc.methods import (
    blocks,
    development,
    fees,
    identity,
    logs,
    sandbox,
    sending,
    state,
    tracing,
)

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params

Method = Callable[["Node", "Params"], Any]

METHODS: dict[str, Method] = {
    **identity.METHODS,
    **state.METHODS,
    **fees.METHODS,
    **blocks.METHODS,
    **logs.METHODS,
    **sending.METHODS,
    **development.METHODS,
    **tracing.METHODS,
    **sandbox.METHODS,
}
"""All methods by name."""

WRITES = frozenset({*sending.WRITES, *development.METHODS, *sandbox.WRITES}) - {
    "anvil_dumpState",
    "hardhat_dumpState",
}
"""Methods that change the chains, or what later ones do."""
