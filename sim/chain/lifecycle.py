"""Lifecycle: a proposal's way through the governor and the timelock.

Rule decided here: proposing, voting, queueing and executing are transactions on L2 at noon or later of the
day that the ledger names; the shortest way takes the voting delay, the voting period and the timelock, 15
days and seconds under the default values. What an execution changed is read from its events, never from what
was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.governance import ProposalState
from sim.chain.clients.governor import Call, Support, Tally
from sim.chain.clients.parameters import ParameterChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.accounts import AccountBook
    from sim.chain.backend import Receipt
    from sim.chain.clock import SandboxClock
    from sim.chain.deployment import Deployment


@dataclass(frozen=True, slots=True)
class SetParameter:
    """Action that sets a governed parameter to a vector of integers."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spend:
    """Action that pays native coins of the treasury to an account label, ledger units."""

    target: str
    amount_gwei: int


GovernanceAction = SetParameter | Spend


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal on the chain.

    Parameters
    ----------
    id
        Its number in the governor.
    actions
        What it would do.
    calls
        The same as calls of the timelock.
    description
        Text whose hash the governor stores.
    proposed_at, snapshot, deadline
        Times in seconds: submission, when votes and supply are read, last second of voting.
    """

    id: int
    actions: tuple[GovernanceAction, ...]
    calls: tuple[Call, ...]
    description: str
    proposed_at: int
    snapshot: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Execution:
    """What an executed proposal did: time, changes as the events say them, spends, and the receipt."""

    executed_at: int
    changes: tuple[ParameterChange, ...]
    spends: tuple[Spend, ...]
    receipt: Receipt


@dataclass
class Lifecycle:
    """Governance of one witness run.

    Parameters
    ----------
    deployment, book, clock
        The parts of the witness run.
    receipts
        Receipts of all governance transactions, in order.
    """

    deployment: Deployment
    book: AccountBook
    clock: SandboxClock
    receipts: list[Receipt] = field(default_factory=list)

    def delegate(self, day: int, owner: str, voter: str) -> Receipt:
        """Give the votes of the wallet `owner` (its GOPEN) to the wallet `voter`."""
        self._go(day)
        return self._keep(self.deployment.gopen.delegate(self.book.address(owner), self.book.address(voter)))

    def propose(
        self, day: int, proposer: str, actions: Sequence[GovernanceAction], description: str
    ) -> Proposal:
        """Submit a proposal.

        Parameters
        ----------
        day
            Day of submission.
        proposer
            Account label; its delegated votes a second before have to reach the threshold.
        actions
            What to do.
        description
            Text; two proposals with the same actions need different texts.

        Returns
        -------
        Proposal
            With the times that the governor set.

        Raises
        ------
        Reverted
            If the proposer's votes are below the threshold, or the same proposal exists.
        """
        self._go(day, self.clock.now + 1)
        governor = self.deployment.governor
        calls = tuple(self._call(action) for action in actions)
        number, receipt = governor.propose(self.book.address(proposer), calls, description)
        self._keep(receipt)
        return Proposal(
            number, tuple(actions), calls, description, receipt.timestamp,
            governor.snapshot(number), governor.deadline(number),
        )  # fmt: skip

    def cast_vote(self, day: int, voter: str, proposal: Proposal, support: Support) -> int:
        """Cast the votes of an account and return their weight, wei."""
        self._go(day, proposal.snapshot + 1)
        receipt = self._keep(
            self.deployment.governor.cast_vote(self.book.address(voter), proposal.id, support)
        )
        return int(self.deployment.governor.event(receipt, "VoteCast").arguments["weight"])

    def queue(self, day: int, proposal: Proposal) -> int:
        """Put a succeeded proposal into the timelock and return the first second of its execution."""
        self._go(day, proposal.deadline + 1)
        self._keep(
            self.deployment.governor.queue(self.book.address("keeper"), proposal.calls, proposal.description)
        )
        return self.deployment.governor.eta(proposal.id)

    def execute(self, day: int, proposal: Proposal) -> Execution:
        """Execute a queued proposal and return what its events say.

        Raises
        ------
        Reverted
            If it is not queued, or one of its calls fails.
        """
        self._go(day, self.deployment.governor.eta(proposal.id))
        receipt = self._keep(
            self.deployment.governor.execute(
                self.book.address("keeper"), proposal.calls, proposal.description
            )
        )
        spends = tuple(action for action in proposal.actions if isinstance(action, Spend))
        changes = tuple(self.deployment.parameters.changes(receipt))
        return Execution(receipt.timestamp, changes, spends, receipt)

    def state(self, day: int, proposal: Proposal) -> ProposalState:
        """Return where a proposal stands on a day; on the last day of voting, after its end."""
        after = proposal.deadline + 1
        self._go(day, after if self.clock.day_of(after) == day else 0)
        return self.deployment.governor.state(proposal.id)

    def tally(self, proposal: Proposal) -> Tally:
        """Return the votes cast so far."""
        return self.deployment.governor.tally(proposal.id)

    def quorum(self, proposal: Proposal) -> int:
        """Return the For and Abstain votes that it needs, wei; known once its snapshot has passed."""
        return self.deployment.governor.quorum(proposal.snapshot)

    def _call(self, action: GovernanceAction) -> Call:
        if isinstance(action, Spend):
            value = action.amount_gwei * self.deployment.spec.unit_wei
            return Call(self.book.address(action.target), b"", value)
        parameters = self.deployment.parameters
        return Call(parameters.address, parameters.set_calldata(action.name, action.values))

    def _go(self, day: int, earliest: int = 0) -> None:
        self.clock.move_to(day, max(self.clock.noon(day), earliest))

    def _keep(self, receipt: Receipt) -> Receipt:
        self.receipts.append(receipt)
        return receipt
