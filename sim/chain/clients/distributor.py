"""Client of the attribution distributor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.backend import Backend, Receipt


@dataclass(frozen=True, slots=True)
class Posted:
    """What one epoch posts.

    Parameters
    ----------
    number
        One more than the epoch before.
    log_root, log_size
        Root and size of the attribution log.
    payout_root
        Root of the payout tree.
    total_wei
        Cumulative funding.
    uri_hash
        Hash of the place where leaves and log can be read.
    """

    number: int
    log_root: bytes
    log_size: int
    payout_root: bytes
    total_wei: int
    uri_hash: bytes


class Distributor(ContractClient):
    """AttributionDistributor (contracts/AttributionDistributor.sol); amounts in wei of native OPEN."""

    artifact_name: ClassVar[str] = "AttributionDistributor"

    @classmethod
    def deploy(cls, chain: Backend, sender: bytes, *, admin: bytes, poster: bytes) -> Self:
        """Create an empty distributor."""
        return cls._create(chain, sender, admin, poster)

    def post_epoch(self, poster: bytes, epoch: Posted, value_wei: int) -> Receipt:
        """Post an epoch with the funds for the rise of its total."""
        return self.transact(
            poster, "postEpoch", epoch.number, epoch.log_root, epoch.log_size, epoch.payout_root,
            epoch.total_wei, epoch.uri_hash, value=value_wei,
        )  # fmt: skip

    def claim(
        self, sender: bytes, account: bytes, cumulative_wei: int, proof: Sequence[bytes]
    ) -> tuple[int, Receipt]:
        """Claim for an account; return the amount that the contract computed and paid."""
        receipt = self.transact(sender, "claim", account, cumulative_wei, list(proof))
        return int(self.event(receipt, "Claimed").arguments["amount"]), receipt

    def latest(self) -> Posted:
        """Return what the latest epoch posted."""
        number, log_size, log_root, payout_root, uri_hash, total = self.read("latest")
        return Posted(number, log_root, log_size, payout_root, total, uri_hash)

    def claimed(self, account: bytes) -> int:
        """Return what an account has been paid so far."""
        return int(self.read("claimed", account))

    def claimed_total(self) -> int:
        """Return what all accounts have been paid so far."""
        return int(self.read("claimedTotal"))
