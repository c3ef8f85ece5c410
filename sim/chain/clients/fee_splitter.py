"""Client of the fee splitter, the reward formula on chain."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.addresses import to_address
from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt

DAY_S = 86_400
"""Bills belong to days of UTC, numbered from 1970."""


@dataclass(frozen=True, slots=True)
class Payees:
    """Addresses that the parts go to; the distributor takes the model owner's and the contributors' part."""

    operators: bytes
    treasury: bytes
    distributor: bytes
    stakers: bytes


@dataclass(frozen=True, slots=True)
class Rule:
    """How the bills of a day are split: shares in basis points, the flat amount in units, whole weights."""

    platform_bps: int
    platform_flat: int
    burn_bps: int
    model_weight: int
    stakers_weight: int
    contributors_weight: int


@dataclass(frozen=True, slots=True)
class BillParts:
    """Parts of one bill or of a sum of bills, wei."""

    platform: int
    burn: int
    model: int
    stakers: int
    contributors: int

    @property
    def total_wei(self) -> int:
        """The fee that the parts make up."""
        return sum(astuple(self))


@dataclass(frozen=True, slots=True)
class Settlement:
    """Sums of bills that were split one by one.

    Parameters
    ----------
    day
        A day, counted from 1970, whose rule split all of them.
    bills
        How many there were.
    booked
        What each part was given, wei.
    operator_claim_wei
        What the operators ask of the platform part.
    """

    day: int
    bills: int
    booked: BillParts
    operator_claim_wei: int = 0


@dataclass(frozen=True, slots=True)
class PlatformPayment:
    """What a settlement paid out of the platform part, held parts of single bills included, wei."""

    operators: int
    treasury: int


class FeeSplitter(ContractClient):
    """FeeSplitter (contracts/FeeSplitter.sol); amounts in wei of native OPEN, whole units."""

    artifact_name: ClassVar[str] = "FeeSplitter"

    @classmethod
    def deploy(
        cls,
        chain: Backend,
        sender: bytes,
        *,
        admin: bytes,
        settler: bytes,
        parameters: bytes,
        unit_wei: int,
        payees: Payees,
    ) -> Self:
        """Create a splitter that reads its rule from the governed parameters."""
        return cls._create(chain, sender, admin, settler, parameters, unit_wei, astuple(payees))

    def pay(
        self, payer: bytes, adapter_id: bytes, bill_hash: bytes, fee_wei: int
    ) -> tuple[BillParts, Receipt]:
        """Pay one bill for the use of an adapter; return the parts that the contract computed."""
        receipt = self.transact(payer, "pay", adapter_id, bill_hash, value=fee_wei)
        return BillParts(*self.event(receipt, "Paid").arguments["parts"]), receipt

    def settle(
        self, settler: bytes, settlement: Settlement, value_wei: int = 0
    ) -> tuple[PlatformPayment, Receipt]:
        """Pay out bills whose fees came in before, or come with the call.

        Raises
        ------
        Reverted
            ``OutOfBounds`` with the payee whose part no split of the bills can have given, among others.
        """
        booked = settlement.booked
        receipt = self.transact(
            settler,
            "settle",
            (
                settlement.day,
                settlement.bills,
                booked.total_wei,
                astuple(booked),
                settlement.operator_claim_wei,
            ),
            value=value_wei,
        )
        paid = self.event(receipt, "PlatformPaid").arguments
        return PlatformPayment(int(paid["operators"]), int(paid["treasury"])), receipt

    def quote(self, day: int, fee_wei: int) -> BillParts:
        """Return the parts of a bill under the rule of a day."""
        return BillParts(*self.read("quote", day, fee_wei))

    def rule_on(self, day: int) -> Rule:
        """Return the rule for the bills of a day: what was set by the end of the day before."""
        return Rule(*self.read("ruleOn", day))

    def held_wei(self) -> int:
        """Return the platform parts of single bills that wait for a settlement."""
        return int(self.read("heldWei"))

    def payees(self) -> Payees:
        """Return who is paid."""
        return Payees(*(to_address(address) for address in self.read("payees")))

    def set_payees_calldata(self, payees: Payees) -> bytes:
        """Return the calldata by which a proposal names other payees."""
        return self.abi.encode_call("setPayees", astuple(payees))
