"""Connection: which nodes a witness run can be executed on.

Rule decided here: a node has to be fresh, on the chain id that the sandbox expects, earlier than the run, without a
base fee (coins are money, and a fee would burn them), and it has to do what a development node does: act for any
account, set balances, code and time, go back to a snapshot. Everything is asked before the first transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.addresses import ZERO_ADDRESS
from sim.chain.backends.rpc import RpcChain
from sim.chain.backends.transport import METHOD_NOT_FOUND, NodeError, RpcRefused, Transport
from sim.chain.backends.wire import number, text
from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes

ZERO = text(ZERO_ADDRESS)
NEEDED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("anvil_impersonateAccount", (ZERO,)),
    ("anvil_setBalance", (ZERO, "0x0")),
    ("anvil_setCode", (ZERO, "0x")),
    ("anvil_setNonce", (ZERO, "0x0")),
    ("anvil_setBlockTimestampInterval", (0,)),
    ("evm_snapshot", ()),
    ("eth_getProof", (ZERO, [], "latest")),
)
"""Methods that not every node has, with arguments that change nothing; the interval makes blocks of one moment."""

START = (
    "anvil --hardfork prague --chain-id {} --timestamp {} --gas-limit 60000000"
    " --gas-price 0 --block-base-fee-per-gas 0"
)


def connect_all(nodes: Nodes, *, genesis_time: int) -> tuple[RpcChain | None, RpcChain]:
    """Return L1, None where it is in this process, and L2.

    Parameters
    ----------
    nodes
        Their addresses.
    genesis_time
        Timestamp of the first block of both, seconds.

    Raises
    ------
    NodeError
        As `connect` does.
    """
    l2 = connect(nodes.l2, chain_id=L2_CHAIN_ID, genesis_time=genesis_time)
    if nodes.l1 is None:
        return None, l2
    return connect(nodes.l1, chain_id=L1_CHAIN_ID, genesis_time=genesis_time), l2


def check_all(nodes: Nodes, *, genesis_time: int) -> None:
    """Refuse nodes that a run cannot be executed on, without a transaction.

    Raises
    ------
    NodeError
        As `connect` does.
    """
    for address, chain_id in ((nodes.l2, L2_CHAIN_ID), (nodes.l1, L1_CHAIN_ID)):
        if address is not None:
            node = Transport(address)
            try:
                checked(node, chain_id=chain_id, genesis_time=genesis_time)
            finally:
                node.close()


def connect(address: str, *, chain_id: int, genesis_time: int) -> RpcChain:
    """Return the chain at a node, at its first block.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    chain_id
        That it has to have.
    genesis_time
        Timestamp of the first block, seconds.

    Raises
    ------
    NodeError
        If nothing answers, or the node is not what a witness run needs; the text says how to start one.
    """
    node = Transport(address)
    try:
        block = checked(node, chain_id=chain_id, genesis_time=genesis_time)
        return RpcChain(node, chain_id=chain_id, gas_limit=number(block["gasLimit"]), timestamp=genesis_time)
    except BaseException:
        node.close()
        raise


def checked(node: Transport, *, chain_id: int, genesis_time: int) -> dict[str, Any]:
    """Return the node's only block.

    Raises
    ------
    NodeError
        As `connect` does.
    """
    how = f"; start one with: {START.format(chain_id, genesis_time - 1)}"
    has = number(_asked(node, "eth_chainId"))
    if has != chain_id:
        raise NodeError(node.address, f"has chain id {has}; expected {chain_id}{how}")
    height = number(_asked(node, "eth_blockNumber"))
    if height:
        raise NodeError(node.address, f"has {height} blocks; a witness run needs a fresh node{how}")
    block: dict[str, Any] = _asked(node, "eth_getBlockByNumber", "latest", False)
    latest, fee = number(block["timestamp"]), number(block.get("baseFeePerGas", 0))
    if latest >= genesis_time:
        raise NodeError(node.address, f"stands at {latest} s, the run begins at {genesis_time} s{how}")
    if fee:
        raise NodeError(node.address, f"has a base fee of {fee} wei; expected 0{how}")
    for method, params in NEEDED:
        _asked(node, method, *params)
    return block


def _asked(node: Transport, method: str, *params: Any) -> Any:
    try:
        return node(method, *params)
    except RpcRefused as refused:
        if refused.code == METHOD_NOT_FOUND:
            raise NodeError(node.address, f"has no method {method}; a witness run needs it") from refused
        raise NodeError(node.address, f"refuses {method}: {refused}") from refused
