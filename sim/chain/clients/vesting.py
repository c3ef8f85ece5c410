"""Client of a vesting contract, one per allocation bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.backend import Backend, Receipt


class TrancheVesting(ContractClient):
    """TrancheVesting (contracts/TrancheVesting.sol); amounts in wei, dates in seconds."""

    artifact_name: ClassVar[str] = "TrancheVesting"

    @classmethod
    def deploy(
        cls,
        chain: Backend,
        sender: bytes,
        *,
        token: bytes,
        beneficiary: bytes,
        allocation_wei: int,
        tge_wei: int,
        unit_wei: int,
        start: int,
        dates: Sequence[int],
        numerators: Sequence[int],
        denominator: int,
    ) -> Self:
        """Create a schedule; the contract still has to be funded with `allocation_wei`."""
        return cls._create(
            chain, sender, token, beneficiary, allocation_wei, tge_wei, unit_wei, start,
            list(dates), list(numerators), denominator,
        )  # fmt: skip

    def release(self, sender: bytes) -> tuple[int, Receipt]:
        """Pay what is vested and unpaid to the beneficiary; return the amount that the contract computed."""
        receipt = self.transact(sender, "release")
        return int(self.event(receipt, "Released").arguments["amount"]), receipt

    def vested(self, timestamp: int) -> int:
        """Return the cumulative amount vested at a time."""
        return int(self.read("vestedAmount", timestamp))

    def released(self) -> int:
        """Return the amount paid so far."""
        return int(self.read("released"))

    def releasable(self) -> int:
        """Return what a release would pay now."""
        return int(self.read("releasable"))
