"""Gas token: the bridge on which OPEN is L2's native coin (the OP Stack's custom gas token).

Rule decided here: OPEN enters by an approval of the exact amount and a deposit at the portal, which mints it to the
depositor on L2 and sends it on to the receiver; it leaves through L2's message passer and is paid by the portal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.bridge.deploy import deploy_contracts
from sim.chain.bridge.interface import BridgeTimes
from sim.chain.bridge.rollup import Rollup

if TYPE_CHECKING:
    from sim.chain.backend import Receipt, SandboxChain
    from sim.chain.clients.open_token import OpenToken

PLAIN_GAS = 21_000
"""L2 gas of a deposit to an account without code: the least that the portal takes."""
CODE_GAS = 100_000
"""The same to a contract: what the portal itself takes when nothing is said."""
WITHDRAWAL_GAS = 100_000
"""L1 gas of a withdrawal's call, of which a payment needs none."""


class GasTokenBridge(Rollup):
    """The bridge that carries the money (satisfies `Bridge`).

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
        super().__init__(l1, l2, deploy_contracts(l1, l2, times, gas_token=token.address), times)
        self._token = token

    @property
    def escrow_address(self) -> bytes:
        """Where the tokens lie on L1: at the portal."""
        return self.deployed.portal.address

    def deposit(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, tuple[Receipt, ...]]:
        """Lock tokens of `account` for `to` on L2.

        Returns
        -------
        tuple
            The deposit's number, and the receipts of approval and deposit.

        Raises
        ------
        Reverted
            If the account has too few tokens.
        """
        portal, target = self.deployed.portal, to or account
        approved = self._token.transact(account, "approve", portal.address, amount_wei)
        gas = CODE_GAS if self.l2.code(target) else PLAIN_GAS
        receipt = portal.deposit_erc20(account, target, mint=amount_wei, value=amount_wei, gas_limit=gas)
        self.derivation.read()
        return self.derivation.count, (approved, receipt)

    def initiate_withdrawal(
        self, account: bytes, amount_wei: int, to: bytes | None = None
    ) -> tuple[int, Receipt]:
        """Send coins of `account` to the message passer.

        Returns
        -------
        tuple
            The withdrawal's number and the receipt.

        Raises
        ------
        InsufficientFunds
            If the account has too few coins.
        """
        receipt = self.deployed.passer.initiate(
            account, to or account, value=amount_wei, gas_limit=WITHDRAWAL_GAS
        )
        self.messages.read()
        return self.messages.count, receipt

    def escrow(self) -> int:
        """Tokens locked on L1 as the portal counts them, wei; tokens sent to it by mistake are not in it."""
        return self.deployed.portal.balance()
