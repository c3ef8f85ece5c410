"""Identity: which node and chain this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import keccak
from sim.chain.rpc.codec import data, parse_data, quantity

if TYPE_CHECKING:
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params


def client_version(node: Node, params: Params) -> str:
    """Return the name and version of the node."""
    params.end()
    try:
        return f"olsim/v{version('olsim')}/{node.name}"
    except PackageNotFoundError:
        return f"olsim/{node.name}"


def sha3(node: Node, params: Params) -> str:
    """Return the Keccak-256 hash of some bytes."""
    text = params.take("data", parse_data)
    params.end()
    return data(keccak(text))


def net_version(node: Node, params: Params) -> str:
    """Return the chain id in decimal."""
    params.end()
    return str(node.chain.chain_id)


def listening(node: Node, params: Params) -> bool:
    """Return true: the node answers."""
    params.end()
    return True


def peers(node: Node, params: Params) -> str:
    """Return 0: the network is this node."""
    params.end()
    return quantity(0)


def chain_id(node: Node, params: Params) -> str:
    """Return the chain id."""
    params.end()
    return quantity(node.chain.chain_id)


def syncing(node: Node, params: Params) -> bool:
    """Return false: there is nothing to wait for."""
    params.end()
    return False


def accounts(node: Node, params: Params) -> list[str]:
    """Return the accounts that the node acts for: development accounts first, then named ones without a key."""
    params.end()
    return [data(address) for address in node.accounts]


def block_number(node: Node, params: Params) -> str:
    """Return the number of the latest block."""
    params.end()
    return quantity(node.chain.blocks.latest)


METHODS: dict[str, Any] = {
    "web3_clientVersion": client_version,
    "web3_sha3": sha3,
    "net_version": net_version,
    "net_listening": listening,
    "net_peerCount": peers,
    "eth_chainId": chain_id,
    "eth_syncing": syncing,
    "eth_accounts": accounts,
    "eth_requestAccounts": accounts,
    "eth_blockNumber": block_number,
}
