"""Gateway: the governor's contracts as the governor of the simulation's witness run.

Rule decided here: the contracts decide. Proposals, votes, queueing and execution are transactions at the
timestamps that the simulation gives; the tally, the state and the changed parameters that go back are what
the contracts say. Votes of agents without an address of their own are cast in groups that act alike, with the
ledger's exact weights. A parameter that is also a setting of the governor or the timelock is set there in the
same proposal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.governance import ProposalState, Timetable
from sim.chain.abi import Reverted
from sim.chain.actions import proposal_calls
from sim.chain.clients.governor import QUORUM_DENOMINATOR, Call, Support
from sim.chain.cohorts import Cohorts, Votes, refine
from sim.governance_gateway import Ballot, Electorate, GatewayError, Outcome, ParameterSet, Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.chain.backend import Receipt, SnapshotId
    from sim.chain.witness import ChainWitness

BPS = 10_000
CHOICES = {0: "against", 1: "for", 2: "abstain", None: "none"}


@dataclass(slots=True)
class _Record:
    submission: Submission
    number: int = 0
    calls: tuple[Call, ...] = ()
    text: str = ""


@dataclass(slots=True)
class _Second:
    """What was done in one second, so that more can be done in the same one."""

    timestamp: int = -1
    before: SnapshotId | None = None
    submissions: list[Submission] = field(default_factory=list)
    lent_to: set[str] = field(default_factory=set)


class ChainGateway:
    """Governor of the witness run on its chains (satisfies `sim.governance_gateway.GovernanceGateway`).

    Parameters
    ----------
    witness
        The chains.
    replay
        Executes what the journal holds, through a day; called before governance moves time.
    single_ballots
        How many of the largest voters get an address of their own; the rest vote in groups.
    """

    def __init__(
        self, witness: ChainWitness, replay: Callable[[int], None], *, single_ballots: int = 20
    ) -> None:
        self._witness, self._replay, self._singles = witness, replay, single_ballots
        self._d = witness.deployment
        self._clock = witness.clock
        self._cohorts: Cohorts = witness.cohorts
        self._records: dict[int, _Record] = {}
        self._open: defaultdict[int, dict[int, tuple[Votes, ...]]] = defaultdict(dict)
        self._cells: dict[tuple[int, str], list[str]] = {}
        self._second = _Second()

    def propose(self, submission: Submission, timestamp: int) -> Timetable | None:
        """Submit a proposal; None where the contract finds too few votes.

        The governor reads the proposer's votes one second before. Proposals of one second are therefore made
        together: the second one undoes the first and makes both.
        """
        second = self._second
        if second.timestamp == timestamp:
            assert second.before is not None
            self._witness.l2.revert(second.before)
            self._cohorts.forget_delegations(second.lent_to)
        else:
            self._go(timestamp - 1)
            second = self._second = _Second(timestamp, self._witness.l2.snapshot())
        second.submissions.append(submission)
        self._lend_to_proposers(second.submissions)
        self._go(timestamp)
        made = [self._submit(s) for s in second.submissions]
        self._cohorts.rejoin()
        return made[-1]

    def snapshot(self, key: int, timestamp: int, electorate: Electorate) -> None:
        """Hold the electorate's votes up to and including `timestamp`.

        Raises
        ------
        GatewayError
            If the GOPEN supply or the quorum in force is another on the chain.
        """
        self._replay(self._clock.governance_day(timestamp))
        supply = self._d.gopen.total_supply()
        if supply != electorate.supply * self._d.spec.unit_wei:
            raise GatewayError(
                f"proposal {key}: GOPEN supply is {supply} wei, the ledger's {electorate.supply} gwei"
            )
        in_force = self._d.governor.settings()["quorum_ppm"] * BPS
        if in_force != electorate.quorum_bps * QUORUM_DENOMINATOR:
            raise GatewayError(f"proposal {key}: quorum {electorate.quorum_bps} bps is not the governor's")
        if self._clock.now > timestamp:
            raise GatewayError(f"proposal {key}: the chains are past its snapshot, {timestamp}")
        if timestamp not in self._open:
            self._clock.once_past(timestamp, lambda: self._passed(timestamp))
        self._open[timestamp][key] = self._grouped(electorate.ballots)
        self._cohorts.rejoin()
        rolls = {k: roll for part in self._open.values() for k, roll in part.items()}
        cells, members = refine(rolls)
        self._cohorts.lend(cells, self._clock.today)
        self._cells |= members

    def cast(self, key: int, timestamp: int, ballots: tuple[Ballot, ...]) -> None:
        """Cast the ballots that have a support, group by group."""
        self._go(timestamp)
        for voter, _ in self._grouped(ballots):
            support = self._support_of(voter, ballots)
            if support is None:
                continue
            for cell in self._cells[key, voter]:
                address = self._witness.book.address(cell)
                self._keep(self._d.governor.cast_vote(address, self._records[key].number, Support(support)))

    def close(self, key: int, timestamp: int) -> Outcome:
        """Count after the deadline; votes in whole ledger units."""
        self._go(timestamp)
        number, unit = self._records[key].number, self._d.spec.unit_wei
        tally = self._d.governor.tally(number)
        state = ProposalState(int(self._d.governor.state(number)))
        return Outcome(tally.for_ // unit, tally.against // unit, tally.abstain // unit, state)

    def queue(self, key: int, timestamp: int, timelock: int) -> int:
        """Queue a succeeded proposal and return the second from which it can execute.

        Raises
        ------
        GatewayError
            If the timelock's delay is another, or the proposal has not succeeded.
        """
        self._go(timestamp)
        in_force = self._d.timelock.delay_seconds()
        if in_force != timelock:
            raise GatewayError(f"proposal {key}: timelock {timelock} s is not the contract's {in_force} s")
        record = self._records[key]
        try:
            self._keep(
                self._d.governor.queue(self._witness.book.address("keeper"), record.calls, record.text)
            )
        except Reverted as refused:
            raise GatewayError(f"proposal {key} cannot be queued at {timestamp}: {refused}") from refused
        return self._d.governor.eta(record.number)

    def execute(self, key: int, timestamp: int) -> tuple[ParameterSet, ...]:
        """Execute a queued proposal and return what the contract's events say it set.

        Raises
        ------
        GatewayError
            If the timelock has not run out, or a call fails.
        """
        self._go(timestamp)
        record = self._records[key]
        try:
            receipt = self._d.governor.execute(
                self._witness.book.address("keeper"), record.calls, record.text
            )
        except Reverted as refused:
            raise GatewayError(f"proposal {key} cannot execute at {timestamp}: {refused}") from refused
        self._keep(receipt)
        return tuple(ParameterSet(c.name, c.old, c.new) for c in self._d.parameters.changes(receipt))

    def _passed(self, timestamp: int) -> None:
        """Forget a snapshot that is past; after the last one, lent GOPEN goes back."""
        del self._open[timestamp]
        if not self._open:
            self._cohorts.rejoin()

    def _go(self, timestamp: int) -> None:
        """Execute the journal up to the day of `timestamp`, then go to it."""
        if timestamp > self._clock.now:
            self._replay(self._clock.day_of(timestamp))
        self._clock.go(timestamp)
        if self._clock.now != timestamp:
            raise GatewayError(f"governance acts at {timestamp}; the chains stand at {self._clock.now}")

    def _keep(self, receipt: Receipt) -> None:
        self._witness.governance.receipts.append(receipt)

    def _lend_to_proposers(self, submissions: list[Submission]) -> None:
        wanted: dict[str, int] = {}
        for submission in submissions:
            holder = f"voters/{submission.proposer}"
            wanted[holder] = max(wanted.get(holder, 0), submission.proposer_votes)
        self._second.lent_to |= set(wanted)
        self._cohorts.lend(wanted, self._clock.today)

    def _submit(self, submission: Submission) -> Timetable | None:
        self._check_rules(submission)
        record = _Record(submission, calls=proposal_calls(self._d, submission.actions))
        record.text = f"{submission.title} (proposal {submission.key})"
        proposer = self._witness.book.address(f"voters/{submission.proposer}")
        try:
            record.number, receipt = self._d.governor.propose(proposer, record.calls, record.text)
        except Reverted as refused:
            if refused.error == "GovernorInsufficientProposerVotes":
                return None
            raise
        self._keep(receipt)
        self._records[submission.key] = record
        governor = self._d.governor
        return Timetable(governor.snapshot(record.number), governor.deadline(record.number))

    def _check_rules(self, submission: Submission) -> None:
        settings = self._d.governor.settings()
        theirs = (settings["delay_s"], settings["period_s"], settings["threshold_wei"])
        ours = (submission.delay, submission.period, submission.threshold * self._d.spec.unit_wei)
        if ours != theirs:
            raise GatewayError(
                f"proposal {submission.key}: delay, period and threshold are {ours} here,"
                f" {theirs} in the governor"
            )

    def _grouped(self, ballots: tuple[Ballot, ...]) -> tuple[Votes, ...]:
        """Return voters and votes, the largest singly and the rest by class and choice."""
        singles = [b for b in ballots if "*" not in b.voter]
        single = {b.voter for b in sorted(singles, key=lambda b: (-b.votes, b.voter))[: self._singles]}
        votes: defaultdict[str, int] = defaultdict(int)
        for ballot in ballots:
            votes[_voter(ballot, single)] += ballot.votes
        return tuple(sorted(votes.items()))

    def _support_of(self, voter: str, ballots: tuple[Ballot, ...]) -> int | None:
        choice = voter.split("/")[2:]
        if choice:
            return {name: support for support, name in CHOICES.items()}[choice[0]]
        return next(b.support for b in ballots if b.voter == voter)


def _voter(ballot: Ballot, single: set[str]) -> str:
    if ballot.voter in single or "*" in ballot.voter:
        return ballot.voter
    return f"{ballot.voter.split('/')[0]}/*/{CHOICES[ballot.support]}"
