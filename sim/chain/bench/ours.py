"""Our chain as an engine of the bench: through the contract clients, or with calldata that is ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sim.chain.abi import ContractAbi
from sim.chain.addresses import address_of
from sim.chain.artifacts import load
from sim.chain.bench.scene import ACCOUNTS, COIN, Call
from sim.chain.clients.base import ContractClient
from sim.chain.evm import L2_CHAIN_ID, Chain

if TYPE_CHECKING:
    from collections.abc import Sequence

GENESIS = 1_750_000_000
Prepared = tuple[bytes, bytes, bytes, int]
"""Sender, contract, calldata and value in wei."""


class OurEngine:
    """The chain class (satisfies `sim.chain.bench.scene.Engine`)."""

    def __init__(self) -> None:
        self.accounts = [address_of(f"bench {i}") for i in range(ACCOUNTS)]
        balances = dict.fromkeys(self.accounts, 10**6 * COIN)
        self.chain = Chain(chain_id=L2_CHAIN_ID, genesis_time=GENESIS, balances=balances)
        self._clients: dict[str, ContractClient] = {}

    def deploy(self, name: str, *arguments: object) -> bytes:
        """Create a contract by the first account."""
        artifact = load(name)
        code = artifact.creation_code + artifact.abi.encode_constructor(*arguments)
        address = self.chain.deploy(self.accounts[0], code).contract_address
        assert address is not None
        self._clients[name] = _Client(self.chain, address, artifact.abi)
        return address

    def run(self, calls: Sequence[Call]) -> float:
        """Execute calls through clients: encoding, execution, receipt."""
        began = time.perf_counter()
        for call in calls:
            self._clients[call.contract].transact(
                self.accounts[call.who], call.function, *call.arguments, value=call.value
            )
        return time.perf_counter() - began

    def jump(self, seconds: int) -> None:
        """Begin a later block."""
        self.chain.set_time(self.chain.time + seconds)


class OurEngineAlone(OurEngine):
    """The same with calldata encoded before the clock starts."""

    def run(self, calls: Sequence[Call]) -> float:
        """Execute prepared messages."""
        addresses = {name: client.address for name, client in self._clients.items()}
        prepared = prepare(calls, self.accounts, addresses)
        began = time.perf_counter()
        statuses = [self.chain.send(*message).status for message in prepared]
        seconds = time.perf_counter() - began
        if 0 in statuses:
            raise RuntimeError(f"{calls[statuses.index(0)]} was refused")
        return seconds


class _Client(ContractClient):
    """A client of any contract."""

    def __init__(self, chain: Chain, address: bytes, abi: ContractAbi) -> None:
        self.chain, self.address, self.abi = chain, address, abi


def prepare(calls: Sequence[Call], accounts: Sequence[bytes], addresses: dict[str, bytes]) -> list[Prepared]:
    """Return calls as messages."""
    return [
        (
            accounts[call.who],
            addresses[call.contract],
            load(call.contract).abi.encode_call(call.function, *call.arguments),
            call.value,
        )
        for call in calls
    ]
