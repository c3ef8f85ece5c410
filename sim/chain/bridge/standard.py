"""Standard bridge: the bridge on which OPEN is a token on L2 too.

Rule decided here: a deposit is a message from L1's bridge through both messengers, which acts on L2 under the alias of
L1's messenger; L2's bridge then mints. A message whose call fails is kept by the receiving messenger, and anybody may
send the same calldata again once what was wrong is repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.addresses import address_of
from sim.chain.artifacts import common_abi
from sim.chain.bridge.clients import (
    L1Messenger,
    L1StandardBridge,
    L2Messenger,
    L2StandardBridge,
    MintableToken,
    TokenFactory,
)
from sim.chain.bridge.deploy import DEPLOYER, deploy_contracts, initialise, proxied
from sim.chain.bridge.interface import BridgeTimes
from sim.chain.bridge.predeploys import CROSS_DOMAIN_MESSENGER, STANDARD_BRIDGE, TOKEN_FACTORY, install
from sim.chain.bridge.rollup import Rollup

if TYPE_CHECKING:
    from sim.chain.backend import Receipt, SandboxChain
    from sim.chain.bridge.clients import OpStackContract
    from sim.chain.bridge.interface import Deposit, Withdrawal
    from sim.chain.clients.open_token import OpenToken

MESSAGE_GAS = 200_000
"""Least gas of a message's call on the other chain: minting or paying tokens takes less."""
NAME, SYMBOL = "OpenLedger", "OPEN"


class StandardTokenBridge(Rollup):
    """OPEN as an `OptimismMintableERC20` on L2 (satisfies `Bridge`).

    Parameters
    ----------
    l1, l2
        The two chains, at the same time.
    token
        OPEN on L1.
    times
        Delays.
    """

    def __init__(
        self, l1: SandboxChain, l2: SandboxChain, token: OpenToken, times: BridgeTimes | None = None
    ) -> None:
        times = times or BridgeTimes()
        self._token = token
        self.l1_messenger, self.l1_bridge = proxied(l1, L1Messenger), proxied(l1, L1StandardBridge)
        deployed = deploy_contracts(
            l1, l2, times, messenger=self.l1_messenger.address, standard_bridge=self.l1_bridge.address
        )
        superchain, system = deployed.superchain.address, deployed.system.address
        initialise(self.l1_messenger, superchain, deployed.portal.address, system)
        initialise(self.l1_bridge, self.l1_messenger.address, superchain, system)
        self.l2_messenger = L2Messenger(l2, CROSS_DOMAIN_MESSENGER)
        self.l2_bridge = L2StandardBridge(l2, STANDARD_BRIDGE)
        self.factory = TokenFactory(l2, TOKEN_FACTORY)
        others = {
            self.l2_messenger: self.l1_messenger.address,
            self.l2_bridge: self.l1_bridge.address,
            self.factory: STANDARD_BRIDGE,
        }
        install(l2, {contract.address: contract.artifact_name for contract in others})
        for contract, other in others.items():
            contract.transact(address_of(DEPLOYER), "initialize", other)
        self.l2_token = MintableToken(l2, self.factory.address_for(token.address, NAME, SYMBOL))
        super().__init__(l1, l2, deployed, times)

    @property
    def contracts(self) -> dict[str, bytes]:
        """Addresses of the bridge's contracts by name."""
        more: tuple[OpStackContract, ...] = (
            self.l1_messenger, self.l1_bridge, self.l2_messenger, self.l2_bridge, self.factory, self.l2_token,
        )  # fmt: skip
        return super().contracts | {contract.artifact_name: contract.address for contract in more}

    @property
    def escrow_address(self) -> bytes:
        """Where the tokens lie on L1: at the bridge itself."""
        return self.l1_bridge.address

    def create_token(self, sender: bytes) -> Receipt:
        """Create OPEN on L2, without which no deposit arrives."""
        return self.factory.create(sender, self._token.address, NAME, SYMBOL)

    def deposit(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, tuple[Receipt, ...]]:
        """Lock tokens of `account` for `to` on L2.

        Raises
        ------
        Reverted
            If the account has too few tokens.
        """
        approved = self._token.transact(account, "approve", self.l1_bridge.address, amount_wei)
        tokens = (self._token.address, self.l2_token.address)
        receipt = self.l1_bridge.bridge(account, tokens, to or account, amount_wei, MESSAGE_GAS)
        self.derivation.read()
        return self.derivation.count, (approved, receipt)

    def initiate_withdrawal(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, Receipt]:
        """Burn tokens of `account` on L2 for `to` on L1.

        Raises
        ------
        Reverted
            If the account has too few tokens.
        """
        tokens = (self.l2_token.address, self._token.address)
        receipt = self.l2_bridge.bridge(account, tokens, to or account, amount_wei, MESSAGE_GAS)
        self.messages.read()
        return self.messages.count, receipt

    def escrow(self) -> int:
        """Tokens locked on L1 as the bridge counts them, wei."""
        return self.l1_bridge.escrowed(self._token.address, self.l2_token.address)

    def replay_deposit(self, deposit: Deposit, sender: bytes) -> Receipt:
        """Send a message again whose call failed on L2.

        Raises
        ------
        Reverted
            If the messenger has no such message, or it succeeded.
        """
        return _replay(self.l2_messenger, deposit.data, sender)

    def replay_withdrawal(self, withdrawal: Withdrawal, sender: bytes) -> Receipt:
        """Send a message again whose call failed on L1; raises as `replay_deposit` does."""
        return _replay(self.l1_messenger, withdrawal.data, sender)


def _replay(messenger: OpStackContract, data: bytes, sender: bytes) -> Receipt:
    receipt = messenger.chain.send(sender, messenger.address, data)
    if receipt.status == 0:
        raise common_abi().decode_revert(receipt.output, f"{messenger.artifact_name}.relayMessage")
    return receipt
