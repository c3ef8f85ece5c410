"""Client of the governor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Self

from models.governance import ProposalState
from sim.chain.addresses import keccak
from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt

QUORUM_DENOMINATOR = 1_000_000
"""The contract counts its quorum in parts per million of the GOPEN supply."""


class Support(IntEnum):
    """What a vote says, numbered as GovernorCountingSimple does."""

    AGAINST = 0
    FOR = 1
    ABSTAIN = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One action of a proposal: the timelock calls `target` with `data` and `value_wei` native coins."""

    target: bytes
    data: bytes
    value_wei: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes of a proposal, wei of GOPEN."""

    against: int
    for_: int
    abstain: int


class Governor(ContractClient):
    """OpenGovernor (contracts/OpenGovernor.sol); times in seconds, votes in wei."""

    artifact_name: ClassVar[str] = "OpenGovernor"

    @classmethod
    def deploy(
        cls,
        chain: Backend,
        sender: bytes,
        *,
        token: bytes,
        timelock: bytes,
        delay_s: int,
        period_s: int,
        threshold_wei: int,
        quorum_ppm: int,
    ) -> Self:
        """Create a governor over a vote token and a timelock."""
        return cls._create(chain, sender, token, timelock, delay_s, period_s, threshold_wei, quorum_ppm)

    def propose(self, proposer: bytes, calls: tuple[Call, ...], description: str) -> tuple[int, Receipt]:
        """Submit a proposal and return its id with the receipt."""
        receipt = self.transact(proposer, "propose", *call_lists(calls), description)
        return int(self.event(receipt, "ProposalCreated").arguments["proposalId"]), receipt

    def cast_vote(self, voter: bytes, proposal: int, support: Support) -> Receipt:
        """Cast all votes of the voter at the snapshot."""
        return self.transact(voter, "castVote", proposal, int(support))

    def queue(self, sender: bytes, calls: tuple[Call, ...], description: str) -> Receipt:
        """Put a succeeded proposal into the timelock."""
        return self.transact(
            sender,
            "queue(address[],uint256[],bytes[],bytes32)",
            *call_lists(calls),
            keccak(description.encode()),
        )

    def execute(self, sender: bytes, calls: tuple[Call, ...], description: str) -> Receipt:
        """Execute a queued proposal whose timelock has passed."""
        return self.transact(
            sender,
            "execute(address[],uint256[],bytes[],bytes32)",
            *call_lists(calls),
            keccak(description.encode()),
        )

    def operation_salt(self, description: str) -> bytes:
        """Return the salt, 32 bytes, under which the governor queues a proposal at the timelock."""
        text = int.from_bytes(keccak(description.encode()), "big")
        return (int.from_bytes(self.address.ljust(32, b"\0"), "big") ^ text).to_bytes(32, "big")

    def state(self, proposal: int) -> ProposalState:
        """Return where a proposal stands at the present time."""
        return ProposalState(int(self.read("state", proposal)))

    def tally(self, proposal: int) -> Tally:
        """Return the votes cast so far."""
        against, for_, abstain = self.read("proposalVotes", proposal)
        return Tally(int(against), int(for_), int(abstain))

    def snapshot(self, proposal: int) -> int:
        """Return the time at which votes and supply are read."""
        return int(self.read("proposalSnapshot", proposal))

    def deadline(self, proposal: int) -> int:
        """Return the last second of voting."""
        return int(self.read("proposalDeadline", proposal))

    def eta(self, proposal: int) -> int:
        """Return the first second at which a queued proposal can execute."""
        return int(self.read("proposalEta", proposal))

    def quorum(self, timestamp: int) -> int:
        """Return the quorum of For and Abstain votes for a snapshot in the past."""
        return int(self.read("quorum", timestamp))

    def settings(self) -> dict[str, int]:
        """Return delay, period, threshold and quorum as they are now."""
        return {
            "delay_s": int(self.read("votingDelay")),
            "period_s": int(self.read("votingPeriod")),
            "threshold_wei": int(self.read("proposalThreshold")),
            "quorum_ppm": int(self.read("quorumNumerator()")),
        }


def call_lists(calls: tuple[Call, ...]) -> tuple[list[bytes], list[int], list[bytes]]:
    """Return targets, values and data of a proposal's calls, as governor and timelock take them."""
    return [c.target for c in calls], [c.value_wei for c in calls], [c.data for c in calls]
