"""Account book: the address behind each account label, and what the chains say that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.addresses import DEAD_ADDRESS, address_of
from sim.chain.deployment import POSTER
from sim.chain.journal import TIMELOCK_LABEL, Kind, home, kind_of, owner_wallet
from sim.chain.settlements import CLEARING

if TYPE_CHECKING:
    from sim.chain.bridge import Bridge
    from sim.chain.deployment import Deployment


class AccountBook:
    """Addresses and balances of account labels.

    Parameters
    ----------
    deployment
        The contracts.
    bridge
        The bridge between the chains.
    """

    def __init__(self, deployment: Deployment, bridge: Bridge) -> None:
        self._deployment, self._bridge = deployment, bridge
        self._contracts = {
            TIMELOCK_LABEL: deployment.timelock.address,
            "burned.l2": DEAD_ADDRESS,
            CLEARING: deployment.splitter.address,
            "distributor": address_of(POSTER),
        } | {f"vesting.{name}": client.address for name, client in deployment.vesting.items()}

    def address(self, label: str) -> bytes:
        """Return the address that pays and is paid for an account; for the distributor that of its poster."""
        if label.startswith("wrapped/"):
            return self.address(owner_wallet(label))
        return self._contracts.get(label) or address_of(label)

    def balance_wei(self, label: str) -> int:
        """Return what the chains say that an account holds, wei."""
        kind = kind_of(label)
        if kind in (Kind.L1, Kind.VESTING):
            return self._deployment.token.balance_of(self.address(label))
        if kind is Kind.BURNED_L1:
            return self._deployment.spec.cap_wei - self._deployment.token.total_supply()
        if kind is Kind.WRAPPED:
            return self._deployment.gopen.balance_of(self.address(label))
        if kind is Kind.DISTRIBUTOR:
            chain = self._deployment.l2
            return chain.balance(self._deployment.distributor.address) + chain.balance(self.address(label))
        if kind is Kind.DEPOSIT:
            payee = self.address(home(label, "l2"))
            return sum(d.mint_wei for d in self._bridge.pending_deposits() if d.to == payee)
        if kind is Kind.WITHDRAWAL:
            payee = self.address(home(label, "l1"))
            return sum(w.amount_wei for w in self._bridge.pending_withdrawals() if w.to == payee)
        return self._deployment.l2.balance(self.address(label))
