"""Claims: payout roots and the claims against them.

Rule decided here: a root holds the cumulative amount of every account that was ever paid, and of every
account that the ledger says has earned more; the contract pays what the leaf says beyond what it paid before,
and that has to be what the ledger booked.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from models.merkle import PayoutTree, payout_leaf, payout_tree
from sim.chain.addresses import address_of, keccak
from sim.chain.clients.distributor import Distributor, Posted
from sim.chain.deployment import POSTER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.chain.backend import Receipt


class ClaimBook:
    """Cumulative payouts of one witness run.

    Parameters
    ----------
    distributor
        The contract.
    address
        Address of an account label.
    wei_per_unit
        Wei per unit of the ledger.
    """

    def __init__(self, distributor: Distributor, address: Callable[[str], bytes], wei_per_unit: int) -> None:
        self._distributor, self._address, self._unit = distributor, address, wei_per_unit
        self.paid: defaultdict[str, int] = defaultdict(int)
        self._tree: PayoutTree | None = None
        self._leaves: dict[str, int] = {}

    @property
    def paid_total(self) -> int:
        """All claims so far, in ledger units."""
        return sum(self.paid.values())

    def post(
        self,
        due: Mapping[str, int],
        earned: Mapping[str, int],
        log_root: bytes = bytes(32),
        log_size: int = 0,
    ) -> Receipt | None:
        """Post an epoch's root with everything that waits at the poster.

        Parameters
        ----------
        due
            What each account claims next, ledger units.
        earned
            Cumulative earnings, claimed or not, of accounts with an address of their own, ledger units.
        log_root, log_size
            Root and size of the attribution log.

        Returns
        -------
        Receipt or None
            None if nobody has earned anything and nothing waits.
        """
        poster = address_of(POSTER)
        waiting = self._distributor.chain.balance(poster)
        leaves = {label: self.paid[label] + due.get(label, 0) for label in {*self.paid, *due}}
        leaves |= {label: max(total, leaves.get(label, 0)) for label, total in earned.items()}
        leaves = {label: total for label, total in sorted(leaves.items()) if total}
        if not leaves and not waiting:
            return None
        latest = self._distributor.latest()
        root = bytes(32)
        if leaves:
            pairs = [(self._address(label), total * self._unit) for label, total in leaves.items()]
            self._tree = payout_tree(pairs, keccak)
            root = self._tree.root
        self._leaves = leaves
        epoch = Posted(
            latest.number + 1,
            log_root,
            max(log_size, latest.log_size),
            root,
            latest.total_wei + waiting,
            bytes(32),
        )
        return self._distributor.post_epoch(poster, epoch, waiting)

    def claim(self, label: str) -> tuple[int, Receipt]:
        """Claim for an account by the posted root.

        Returns
        -------
        tuple[int, Receipt]
            What the contract paid, wei, and the receipt.

        Raises
        ------
        LookupError
            If the posted root has no leaf for the account.
        Reverted
            If the contract refuses the claim.
        """
        total = self._leaves.get(label)
        if self._tree is None or total is None:
            raise LookupError(f"no payout root holds account {label}")
        account = self._address(label)
        proof = self._tree.proof(payout_leaf(account, total * self._unit, keccak))
        paid, receipt = self._distributor.claim(account, account, total * self._unit, proof)
        self.paid[label] = total
        return paid, receipt
