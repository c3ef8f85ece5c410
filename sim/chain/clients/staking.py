"""Client of staking: positions, unbonding, rewards, slashing and disputes."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.addresses import ZERO_ADDRESS, to_address
from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt


class Lock(IntEnum):
    """Lock classes, numbered as in the contract; their delays are ``staking.locks.*``."""

    FLEXIBLE = 0
    LONG = 1


@dataclass(frozen=True, slots=True)
class Officers:
    """Who may pay rewards, slash, and decide disputes."""

    rewarder: bytes
    slasher: bytes
    arbiter: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """One account's stake in one lock class, wei."""

    owner: bytes
    lock: Lock
    stake_wei: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Stake on its way out: free from `free_at` (seconds) on; no owner once it was withdrawn."""

    owner: bytes | None
    free_at: int
    amount_wei: int


@dataclass(frozen=True, slots=True)
class Dispute:
    """A challenger's bond over an offence; no challenger once it was decided."""

    challenger: bytes | None
    accused: bytes
    offence: bytes
    bond_wei: int


@dataclass(frozen=True, slots=True)
class SlashParts:
    """Where a slashed amount went, wei."""

    burned: int
    challenger: int
    treasury: int


class Staking(ContractClient):
    """Staking (contracts/Staking.sol); amounts in wei of native OPEN, whole units."""

    artifact_name: ClassVar[str] = "Staking"

    @classmethod
    def deploy(
        cls,
        chain: Backend,
        sender: bytes,
        *,
        admin: bytes,
        officers: Officers,
        parameters: bytes,
        treasury: bytes,
        unit_wei: int,
        min_stake_wei: int,
        burn_bps: int = 0,
        challenger_bps: int = 0,
    ) -> Self:
        """Create it empty; of a slashed amount the treasury gets what is neither burned nor the challenger's."""
        return cls._create(
            chain, sender, admin, astuple(officers), parameters, treasury, unit_wei, min_stake_wei,
            burn_bps, challenger_bps,
        )  # fmt: skip

    def stake(self, owner: bytes, lock: Lock, amount_wei: int) -> Receipt:
        """Stake native coins of the owner."""
        return self.transact(owner, "stake", int(lock), value=amount_wei)

    def unbond(self, owner: bytes, lock: Lock, amount_wei: int) -> tuple[int, Receipt]:
        """Begin to unbond; return the exit's number."""
        receipt = self.transact(owner, "unbond", int(lock), amount_wei)
        return int(self.event(receipt, "UnbondingStarted").arguments["exit"]), receipt

    def withdraw(self, sender: bytes, exit_number: int) -> Receipt:
        """Pay an exit that is free to its owner."""
        return self.transact(sender, "withdraw", exit_number)

    def distribute(self, rewarder: bytes, due_wei: int) -> tuple[int, Receipt]:
        """Stake what is due, at most the pot, for all positions; return what was paid."""
        receipt = self.transact(rewarder, "distribute", due_wei)
        return int(self.event(receipt, "RewardsDistributed").arguments["paid"]), receipt

    def slash(self, slasher: bytes, accused: bytes, offence: bytes) -> tuple[SlashParts, Receipt]:
        """Slash an account once for an offence (32 bytes that name it)."""
        receipt = self.transact(slasher, "slash", accused, offence)
        found = self.event(receipt, "Slashed").arguments
        return SlashParts(found["burned"], found["challenger"], found["treasury"]), receipt

    def open_dispute(
        self, challenger: bytes, accused: bytes, offence: bytes, bond_wei: int
    ) -> tuple[int, Receipt]:
        """Put up a bond and ask for a decision; return the dispute's number."""
        receipt = self.transact(challenger, "openDispute", accused, offence, value=bond_wei)
        return int(self.event(receipt, "DisputeOpened").arguments["dispute"]), receipt

    def decide(self, arbiter: bytes, number: int, *, upheld: bool) -> Receipt:
        """Decide a dispute."""
        return self.transact(arbiter, "decide", number, upheld)

    def reward_pot(self) -> int:
        """Return what rewards can be paid from."""
        return int(self.read("rewardPot"))

    def totals(self) -> dict[str, int]:
        """Return all stake, all unbonding stake and all bonds."""
        names = {"staked": "totalStaked", "unbonding": "totalUnbonding", "bonds": "totalBonds"}
        return {key: int(self.read(name)) for key, name in names.items()}

    def stake_of(self, owner: bytes) -> int:
        """Return the stake of an account in all lock classes."""
        return sum(int(self.read("stakeOf", owner, int(lock))) for lock in Lock)

    def delay_seconds(self, lock: Lock) -> int:
        """Return the unbonding delay of a lock class now."""
        return int(self.read("delaySeconds", int(lock)))

    def positions(self) -> list[Position]:
        """Return all positions by number, empty ones included."""
        rows = [self.read("position", number) for number in range(int(self.read("positionCount")))]
        return [Position(to_address(owner), Lock(lock), stake) for owner, lock, stake in rows]

    def exit_(self, number: int) -> Exit:
        """Return an exit."""
        owner, free_at, amount = self.read("exit", number)
        return Exit(_or_none(owner), free_at, amount)

    def dispute(self, number: int) -> Dispute:
        """Return a dispute."""
        challenger, accused, offence, bond = self.read("dispute", number)
        return Dispute(_or_none(challenger), to_address(accused), offence, bond)


def _or_none(address: str | bytes) -> bytes | None:
    found = to_address(address)
    return None if found == ZERO_ADDRESS else found
