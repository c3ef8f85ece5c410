"""Deployment of the OP Stack's contracts: L1's behind proxies, L2's at their predeploys.

Rule decided here: who may do what. The deployer owns the proxies and nothing else; owner, guardian, proposer and
challenger are accounts of their own. `SystemConfig` comes last, because its initialiser calls the portal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import ZERO_ADDRESS, address_of
from sim.chain.artifacts import OP_STACK, common_abi, load
from sim.chain.bridge.clients import (
    L1Block,
    L2OutputOracle,
    MessagePasser,
    OpStackContract,
    OptimismPortal,
    SuperchainConfig,
    SystemConfig,
)
from sim.chain.bridge.outputs import block_time
from sim.chain.bridge.predeploys import L1_BLOCK, MESSAGE_PASSER, install

if TYPE_CHECKING:
    from typing import TypeVar

    from sim.chain.backend import Backend, SandboxChain
    from sim.chain.bridge.interface import BridgeTimes

    C = TypeVar("C", bound=OpStackContract)

DEPLOYER = "bridge.deployer"
OWNER = "bridge.owner"
GUARDIAN = "bridge.guardian"
PROPOSER = "bridge.proposer"
CHALLENGER = "bridge.challenger"
"""Labels of the accounts that have a part in the bridge."""

RESOURCES = (20_000_000, 10, 8, 10**9, 1_000_000, 2**128 - 1)
"""Market of L2 gas for deposits: most per L1 block, elasticity, change denominator, least fee, system gas, most fee."""

L2_GAS_LIMIT = 30_000_000
"""At least the most deposit gas of a block with the system's."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """Clients of what stands behind a bridge; `passer` and `l1_block` are on L2, the others on L1."""

    superchain: SuperchainConfig
    oracle: L2OutputOracle
    portal: OptimismPortal
    system: SystemConfig
    passer: MessagePasser
    l1_block: L1Block

    @property
    def addresses(self) -> dict[str, bytes]:
        """Addresses by the contract's name."""
        clients = (self.superchain, self.oracle, self.portal, self.system, self.passer, self.l1_block)
        return {client.artifact_name: client.address for client in clients}


def deploy_contracts(
    l1: SandboxChain,
    l2: SandboxChain,
    times: BridgeTimes,
    *,
    gas_token: bytes = ZERO_ADDRESS,
    messenger: bytes = ZERO_ADDRESS,
    standard_bridge: bytes = ZERO_ADDRESS,
) -> Contracts:
    """Deploy what every bridge needs; L2's block 0 is at the present time.

    Parameters
    ----------
    l1, l2
        The two chains, at the same time.
    times
        Delays.
    gas_token
        Token of L1 that is L2's native coin; ether when zero.
    messenger, standard_bridge
        Those of L1, if there are any.
    """
    superchain, oracle = proxied(l1, SuperchainConfig), proxied(l1, L2OutputOracle)
    portal, system = proxied(l1, OptimismPortal), proxied(l1, SystemConfig)
    role, none = address_of, ZERO_ADDRESS
    initialise(superchain, role(GUARDIAN), False)
    step = block_time(times.output_every_s)
    blocks = times.output_every_s // step
    initialise(oracle, blocks, step, 0, l2.time, role(PROPOSER), role(CHALLENGER), times.window_s)
    initialise(portal, oracle.address, system.address, superchain.address)
    initialise(
        system, role(OWNER), 0, 0, bytes(32), L2_GAS_LIMIT, none, RESOURCES, none,
        (messenger, none, standard_bridge, none, portal.address, none, gas_token),
    )  # fmt: skip
    install(l2, {L1_BLOCK: L1Block.artifact_name, MESSAGE_PASSER: MessagePasser.artifact_name})
    return Contracts(
        superchain, oracle, portal, system, MessagePasser(l2, MESSAGE_PASSER), L1Block(l2, L1_BLOCK)
    )


def proxied(l1: SandboxChain, client: type[C]) -> C:
    """Deploy the proxy that a contract will stand behind."""
    arguments = load("Proxy", OP_STACK).abi.encode_constructor(address_of(DEPLOYER))
    return client(l1, _create(l1, "Proxy", arguments))


def initialise(contract: OpStackContract, *arguments: object) -> None:
    """Deploy the implementation of a proxied contract and initialise it behind its proxy.

    Raises
    ------
    Reverted
        If the contract refuses its arguments.
    """
    implementation = _create(contract.chain, contract.artifact_name)
    call = contract.abi.encode_call("initialize", *arguments)
    data = load("Proxy", OP_STACK).abi.encode_call("upgradeToAndCall", implementation, call)
    receipt = contract.chain.send(address_of(DEPLOYER), contract.address, data)
    if receipt.status == 0:
        raise common_abi().decode_revert(receipt.output, f"{contract.artifact_name}.initialize")


def _create(l1: Backend, name: str, arguments: bytes = b"") -> bytes:
    receipt = l1.deploy(address_of(DEPLOYER), load(name, OP_STACK).creation_code + arguments)
    if receipt.contract_address is None:
        raise common_abi().decode_revert(receipt.output, f"{name} constructor")
    return receipt.contract_address
