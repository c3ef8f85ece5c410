"""eth-tester with web3 as an engine of the bench, as its users drive it: a block and a receipt for each transaction."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import hex_address
from sim.chain.artifacts import load
from sim.chain.bench.scene import ACCOUNTS, COIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.bench.scene import Call

INSTALL = "needs eth-tester and web3: pip install 'olsim[dev]'"
GAS = 8_000_000
FREE = {"gas": GAS, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}


def installed() -> bool:
    """Return whether the peer can be measured here."""
    return find_spec("eth_tester") is not None and find_spec("web3") is not None


class EthTesterEngine:
    """eth-tester behind web3 (satisfies `sim.chain.bench.scene.Engine`)."""

    def __init__(self) -> None:
        from eth_tester import EthereumTester, PyEVMBackend
        from web3 import EthereumTesterProvider, Web3

        parameters = PyEVMBackend.generate_genesis_params({"gas_limit": 60_000_000})
        parameters["base_fee_per_gas"] = 0  # the tester's own function refuses the key
        state = PyEVMBackend.generate_genesis_state(
            overrides={"balance": 10**6 * COIN}, num_accounts=ACCOUNTS
        )
        backend = PyEVMBackend(genesis_parameters=parameters, genesis_state=state)
        self._tester = EthereumTester(backend=backend)
        self._web3: Any = Web3(EthereumTesterProvider(self._tester))
        self._names = list(self._web3.eth.accounts)[:ACCOUNTS]
        self.accounts = [bytes.fromhex(name[2:]) for name in self._names]
        self._contracts: dict[str, Any] = {}

    def deploy(self, name: str, *arguments: object) -> bytes:
        """Create a contract by the first account."""
        artifact = load(name)
        factory = self._web3.eth.contract(abi=artifact.abi.entries, bytecode=artifact.creation_code)
        sent = factory.constructor(*map(_named, arguments)).transact({"from": self._names[0], **FREE})
        address = self._web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
        self._contracts[name] = self._web3.eth.contract(address=address, abi=artifact.abi.entries)
        return bytes.fromhex(address[2:])

    def run(self, calls: Sequence[Call]) -> float:
        """Send transactions and wait for their receipts."""
        prepared = [
            (self._function(call), {"from": self._names[call.who], "value": call.value}) for call in calls
        ]
        began = time.perf_counter()
        for call, (function, envelope) in zip(calls, prepared, strict=True):
            sent = function(*map(_named, call.arguments)).transact(envelope | FREE)
            if self._web3.eth.wait_for_transaction_receipt(sent)["status"] != 1:
                raise RuntimeError(f"{call} was refused")
        return time.perf_counter() - began

    def jump(self, seconds: int) -> None:
        """Travel in time."""
        self._tester.time_travel(self._tester.get_block_by_number("pending")["timestamp"] + seconds)

    def _function(self, call: Call) -> Any:
        return self._contracts[call.contract].functions[call.function]


def _named(value: Any) -> Any:
    """Return addresses as web3 takes them."""
    if isinstance(value, bytes) and len(value) == 20:
        return hex_address(value)
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    return value
