"""Devnet: the two chains with their contracts and their bridge, as one network.

Rule decided here: both chains are at one time. After every block or jump on one of them the other follows, and the
bridge does what is due: it derives deposits on L2 and proposes outputs on L1. A snapshot is of everything. Every
number is the same in each run: genesis, clock, keys and addresses are fixed, and nothing looks at the real time.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from sim.chain import deployment_spec as roles
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.backend import ChainError
from sim.chain.bridge import BridgeError, BridgeTimes, GasTokenBridge
from sim.chain.bridge import deploy as bridge_roles
from sim.chain.deployment import deploy_all
from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID, Chain
from sim.chain.rpc.keys import development_keys
from sim.chain.rpc.node import Node, NodeSnapshot

if TYPE_CHECKING:
    from sim.chain.deployment import Deployment, DeploymentSpec

ETHER = 10**18
OPEN = 10**18
DAY_S = 86_400
ACCOUNT_ETHER = 10_000 * ETHER
ACCOUNT_OPEN = 1_000_000 * OPEN
TREASURY_OPEN = 1_000_000 * OPEN
POSTER_OPEN = 100_000 * OPEN
"""What a development account has at most on each chain, and what treasury and poster of roots have on L2."""

SEQUENCER_FEE_VAULT = bytes.fromhex("4200000000000000000000000000000000000011")
BASE_FEE_VAULT = bytes.fromhex("4200000000000000000000000000000000000019")
"""Where L2's fees go, so that no coin is lost."""

DEPOSIT_S = 1
"""Seconds from a deposit on L1 to the transaction on L2."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """How a network is set up.

    Parameters
    ----------
    accounts
        Number of development accounts.
    base_fee
        Base fee at genesis, wei per gas; 0 switches fees off.
    block_time
        Seconds between blocks; 0 mines each transaction at once.
    """

    accounts: int = 10
    base_fee: int = 0
    block_time: int = 0


@dataclass(frozen=True, slots=True)
class _Moment:
    nodes: tuple[NodeSnapshot, ...]
    bridge: GasTokenBridge


class Devnet:
    """A network of two served chains.

    Parameters
    ----------
    spec
        What is deployed.
    options
        How it is set up.
    """

    def __init__(self, spec: DeploymentSpec, options: DevnetOptions | None = None) -> None:
        self.options = options or DevnetOptions()
        self.urls: dict[str, str] = {}
        self.trouble = ""
        self._moments: dict[int, _Moment] = {}
        self._next_moment = 1
        keys = development_keys(self.options.accounts)
        self._make_chains(spec, {key.address: ACCOUNT_ETHER for key in keys})
        named = {label: address_of(label) for label in named_accounts(spec)}
        automine = self.options.block_time == 0
        l1, l2 = self.deployed.l1, self.deployed.l2
        assert isinstance(l1, Chain)
        assert isinstance(l2, Chain)
        self.l1 = Node("l1", l1, keys, named, network=self, automine=automine)
        self.l2 = Node("l2", l2, keys, named, network=self, automine=automine)
        self._fund([key.address for key in keys])

    def _make_chains(self, spec: DeploymentSpec, ether: dict[bytes, int]) -> None:
        common: dict[str, Any] = {
            "genesis_time": spec.tge_timestamp - DAY_S,
            "sealed": True,
            "automine": True,
            "traced": True,
            "base_fee": self.options.base_fee,
        }
        l1 = Chain(chain_id=L1_CHAIN_ID, balances=ether, **common)
        l2 = Chain(
            chain_id=L2_CHAIN_ID, coinbase=SEQUENCER_FEE_VAULT, base_fee_vault=BASE_FEE_VAULT, **common
        )
        self.deployed: Deployment = deploy_all(l1, l2, spec)
        now = max(l1.time, l2.time) + 1
        l1.set_time(now)
        l2.set_time(now)
        times = BridgeTimes(deposit_s=DEPOSIT_S)
        self.bridge: GasTokenBridge = GasTokenBridge(l1, l2, self.deployed.token, times)

    def _fund(self, accounts: list[bytes]) -> None:
        """Pay out of a bucket that is free from the start, and take L2's part over the bridge."""
        d = self.deployed
        free = [bucket for bucket in d.spec.buckets if not bucket.has_schedule]
        if not free:
            raise InputError("no bucket is free from the start; the development accounts would have nothing")
        source = max(free, key=lambda bucket: bucket.allocation_wei)
        holder = address_of(f"vesting.{source.name}")
        share = source.allocation_wei // 4 // max(len(accounts), 1) // OPEN * OPEN
        each = min(ACCOUNT_OPEN, share)
        self.bridge.advance(max(d.spec.tge_timestamp, self.l1.chain.time))
        for account in accounts:
            d.token.transfer(holder, account, each)
            self.bridge.deposit(holder, each, account)
        self.bridge.deposit(holder, TREASURY_OPEN, d.timelock.address)
        self.bridge.deposit(holder, POSTER_OPEN, address_of("distributor.poster"))
        self.settle()

    @property
    def nodes(self) -> dict[str, Node]:
        """The two nodes by name."""
        return {"l1": self.l1, "l2": self.l2}

    def settle(self) -> None:
        """Bring both chains to one time and let the bridge do what is due, until nothing is.

        A bridge whose contracts somebody broke by hand stands still, is named in `trouble`, and stops nothing else.
        """
        l1, l2 = self.l1.chain, self.l2.chain
        try:
            while self.bridge.advance(max(l1.time, l2.time)) or l1.time != l2.time:
                pass
            self.trouble = ""
        except (Reverted, ChainError, BridgeError) as error:
            self.trouble = str(error)
            now = max(l1.time, l2.time)
            for chain in (l1, l2):
                if chain.time < now:
                    chain.set_time(now)

    def snapshot(self) -> int:
        """Remember this moment of both chains and the bridge, and return its number."""
        number, self._next_moment = self._next_moment, self._next_moment + 1
        nodes = (self.l1.snapshot(), self.l2.snapshot())
        self._moments[number] = _Moment(nodes, self._copy_of(self.bridge))
        return number

    def revert(self, number: int) -> bool:
        """Go back to a moment; it and those after it are forgotten. False if it is unknown."""
        moment = self._moments.get(number)
        if moment is None:
            return False
        self._moments = {n: m for n, m in self._moments.items() if n < number}
        for node, kept in zip((self.l1, self.l2), moment.nodes, strict=True):
            node.revert(kept)
        self.bridge, self.trouble = moment.bridge, ""
        return True

    def _copy_of(self, bridge: GasTokenBridge) -> GasTokenBridge:
        """Return what the bridge knows, apart, on the same chains."""
        chains = (self.l1.chain, self.l2.chain)
        return deepcopy(bridge, {id(chain): chain for chain in chains})

    def document(self) -> dict[str, Any]:
        """Return what `deployment.json` says: both chains with their contracts."""
        from sim.chain.rpc.deployment_file import document

        return document(self)

    def tick(self) -> None:
        """Mine the block that the interval asks for on both chains."""
        for node in (self.l1, self.l2):
            latest = node.chain.view(node.chain.blocks.latest).env.timestamp
            node.set_next_time(max(node.chain.time, latest + self.options.block_time))
            node.mine()


def named_accounts(spec: DeploymentSpec) -> tuple[str, ...]:
    """Return the labels of the accounts that hold a role and have no key."""
    labels = (
        roles.POSTER, roles.LOG_POSTER, roles.SETTLER, roles.REWARDER, roles.SLASHER, roles.ARBITER,
        bridge_roles.GUARDIAN, bridge_roles.PROPOSER, bridge_roles.CHALLENGER, bridge_roles.OWNER,
    )  # fmt: skip
    return (*labels, spec.governance.guardian) if spec.governance.guardian else labels
