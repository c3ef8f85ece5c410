"""A network without a socket, built once, for tests that ask its dispatchers directly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

pytest.importorskip("eth", reason="needs the chain extra (py-evm)")
pytest.importorskip("eth_account", reason="needs the chain extra (eth-account)")

from sim.chain.addresses import address_of
from sim.chain.artifacts import load
from sim.chain.demo import open_spec
from sim.chain.rpc.devnet import Devnet, DevnetOptions
from sim.chain.rpc.dispatcher import Dispatcher
from sim.chain.rpc.errors import RpcError

OPEN = 10**18
GOPEN, TOKEN = load("GOPEN").abi, load("OPEN").abi
ZERO = "0x" + "00" * 20
NOBODY = "0x" + address_of("nobody").hex()


class Asked:
    """One node with its dispatcher."""

    def __init__(self, network: Devnet, name: str) -> None:
        self.network, self.node = network, network.nodes[name]
        self.dispatcher = Dispatcher(self.node)
        self.chain = self.node.chain
        self.accounts = ["0x" + key.hex() for key in self.node.keys]

    def __call__(self, method: str, *params: Any) -> Any:
        return self.dispatcher.call(method, list(params))

    def refused(self, method: str, *params: Any) -> RpcError:
        with pytest.raises(RpcError) as caught:
            self(method, *params)
        return caught.value

    def moment(self) -> tuple[Any, ...]:
        """What no refused request may change, on both chains."""
        return tuple(
            (n.chain.state_root(), n.chain.block_number, n.chain.time, n.chain.transaction_count, len(n.pool))
            for n in self.network.nodes.values()
        )

    def contract(self, name: str) -> str:
        document = self.network.document()
        return (document["contracts"] | document["l1"]["contracts"])[name]["address"]


@cache
def network() -> Devnet:
    built = Devnet(open_spec(), DevnetOptions(accounts=3))
    built.urls = {"l1": "http://127.0.0.1:1", "l2": "http://127.0.0.1:2"}
    return built


def restored(name: str) -> Iterator[Asked]:
    """Give one node, and take both back to where they were."""
    whole = network()
    moment = whole.snapshot()
    yield Asked(whole, name)
    assert whole.revert(moment)


def number(text: str) -> int:
    """Return a quantity."""
    return int(text, 16)


def call_of(abi: Any, function: str, *arguments: Any) -> str:
    """Return the data of a call."""
    return "0x" + abi.encode_call(function, *arguments).hex()


def send(node: Asked, fields: dict[str, Any]) -> Any:
    """Send, and return the receipt."""
    return node("eth_getTransactionReceipt", node("eth_sendTransaction", fields))


def wrap(l2: Asked, amount: int, account: int = 0) -> Any:
    """Wrap OPEN, and return the receipt."""
    whole = {"from": l2.accounts[account], "to": l2.contract("GOPEN"), "value": hex(amount)}
    return send(l2, whole | {"data": call_of(GOPEN, "deposit")})
