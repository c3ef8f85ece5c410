"""Gateway: the seam between the simulation's votes and a governor that counts them.

Rule decided here: for the witness run the governor decides. The phase hands over a proposal, the
electorate at the snapshot and the ballots, and takes back the outcome; what `execute` returns is what
sets the run's parameters. Money is in gwei and time in unix seconds; an implementation converts at its
own boundary. `FormulaGateway` answers by the formulas of `models.governance`; a gateway over the
contracts lives with the chain.

Ballots group the voters: whoever has at least the cut-off's votes is alone, the rest of a class is one
ballot per choice, so that totals agree with the ledger. A ballot without support did not vote: its votes
exist all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from models.governance import (
    ProposalState,
    Timetable,
    executable,
    may_propose,
    quorum_reached,
    state,
    succeeded,
)
from models.units import SECONDS_PER_DAY

AGAINST, FOR, ABSTAIN = 0, 1, 2
"""Support of a ballot, numbered as GovernorCountingSimple does."""
BPS = 10_000


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One governed parameter as an execution set it: its path, the integers before and after."""

    path: str
    old: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A proposal as it is made.

    Parameters
    ----------
    key
        Number of the proposal within the run.
    title
        Its text.
    actions
        Pairs (governed path, integers to set); empty for a proposal that changes nothing.
    proposer
        Label of the proposer's account.
    proposer_votes
        Votes of the proposer one second before, gwei.
    delay, period, threshold
        Rules in force: seconds, seconds, gwei.
    """

    key: int
    title: str
    actions: tuple[tuple[str, tuple[int, ...]], ...]
    proposer: str
    proposer_votes: int
    delay: int
    period: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Ballot:
    """Votes of one account, or of a class's small voters who chose alike.

    Parameters
    ----------
    voter
        ``class/index`` of a voter, or ``class/*/choice`` of a cohort; choice is ``for``, ``against``,
        ``abstain`` or ``none``.
    votes
        Gwei.
    support
        `AGAINST`, `FOR`, `ABSTAIN`, or None for votes that are not cast.
    """

    voter: str
    votes: int
    support: int | None


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who could vote at a snapshot.

    Parameters
    ----------
    supply
        GOPEN in gwei, delegated or not.
    quorum_bps
        Quorum numerator in force, basis points.
    ballots
        All votes that exist, cast later or not.
    """

    supply: int
    quorum_bps: int
    ballots: tuple[Ballot, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Votes counted, in gwei, and the state after the deadline."""

    for_votes: int
    against_votes: int
    abstain_votes: int
    state: ProposalState


class GovernanceGateway(Protocol):
    """A governor that decides for one run. Calls come in the order of time."""

    def propose(self, submission: Submission, timestamp: int) -> Timetable | None:
        """Submit a proposal; None where the proposer has too few votes."""

    def snapshot(self, key: int, timestamp: int, electorate: Electorate) -> None:
        """Hold votes and supply as the electorate says, up to and including `timestamp`."""

    def cast(self, key: int, timestamp: int, ballots: tuple[Ballot, ...]) -> None:
        """Cast the ballots that have a support."""

    def close(self, key: int, timestamp: int) -> Outcome:
        """Count after the deadline."""

    def queue(self, key: int, timestamp: int, timelock: int) -> int:
        """Queue a succeeded proposal and return the second from which it can execute."""

    def execute(self, key: int, timestamp: int) -> tuple[ParameterSet, ...]:
        """Execute a queued proposal and return what it set."""


class GatewayError(RuntimeError):
    """A governor that was asked out of order, or that disagrees with the ledger."""


def check_day(what: str, theirs: int, ours: int) -> None:
    """Compare a governor's timestamp with the ledger's; seconds may differ, days may not.

    A chain gives each of a day's transactions a second of its own, so its steps can be some seconds later.

    Raises
    ------
    GatewayError
        If they fall on different days.
    """
    if theirs // SECONDS_PER_DAY != ours // SECONDS_PER_DAY:
        raise GatewayError(f"the governor's {what} is at {theirs}, the ledger's at {ours}: another day")


@dataclass(slots=True)
class _Record:
    submission: Submission
    timetable: Timetable
    supply: int = 0
    quorum_bps: int = 0
    votes: list[int] = field(default_factory=lambda: [0, 0, 0])
    eta: int = 0


class FormulaGateway:
    """Governor by formulas alone, for one run.

    Parameters
    ----------
    parameters
        Governed parameters at the beginning: path -> integers.
    """

    def __init__(self, parameters: dict[str, tuple[int, ...]]) -> None:
        self._parameters = dict(parameters)
        self._records: dict[int, _Record] = {}

    def propose(self, submission: Submission, timestamp: int) -> Timetable | None:
        """Submit a proposal; None where the proposer has too few votes."""
        if not may_propose(submission.proposer_votes, submission.threshold):
            return None
        timetable = Timetable.build(timestamp, submission.delay, submission.period)
        self._records[submission.key] = _Record(submission, timetable)
        return timetable

    def snapshot(self, key: int, timestamp: int, electorate: Electorate) -> None:
        """Remember supply and quorum."""
        record = self._records[key]
        record.supply, record.quorum_bps = electorate.supply, electorate.quorum_bps

    def cast(self, key: int, timestamp: int, ballots: tuple[Ballot, ...]) -> None:
        """Add up the ballots.

        Raises
        ------
        GatewayError
            If voting is not open.
        """
        record = self._records[key]
        if self._state(record, timestamp) is not ProposalState.ACTIVE:
            raise GatewayError(f"proposal {key} is not open for votes at {timestamp}")
        for ballot in ballots:
            if ballot.support is not None:
                record.votes[ballot.support] += ballot.votes

    def close(self, key: int, timestamp: int) -> Outcome:
        """Count after the deadline."""
        record = self._records[key]
        against, for_, abstain = record.votes
        return Outcome(for_, against, abstain, self._state(record, timestamp))

    def queue(self, key: int, timestamp: int, timelock: int) -> int:
        """Queue a succeeded proposal.

        Raises
        ------
        GatewayError
            If it has not succeeded.
        """
        record = self._records[key]
        if self._state(record, timestamp) is not ProposalState.SUCCEEDED:
            raise GatewayError(f"proposal {key} has not succeeded at {timestamp}")
        record.eta = timestamp + timelock
        return record.eta

    def execute(self, key: int, timestamp: int) -> tuple[ParameterSet, ...]:
        """Execute a queued proposal.

        Raises
        ------
        GatewayError
            If its timelock has not run out.
        """
        record = self._records[key]
        if not executable(timestamp, record.eta):
            raise GatewayError(f"proposal {key} cannot execute at {timestamp}; its time is {record.eta}")
        done = []
        for path, values in record.submission.actions:
            done.append(ParameterSet(path, self._parameters.get(path, ()), values))
            self._parameters[path] = values
        return tuple(done)

    def _state(self, record: _Record, now: int) -> ProposalState:
        against, for_, abstain = record.votes
        reached = quorum_reached(for_ + abstain, record.supply, record.quorum_bps, BPS)
        passed = bool(reached) and bool(succeeded(for_, against))
        return state(now, record.timetable, passed=passed, eta=record.eta)


def group_ballots(voters: Iterable[tuple[str, int, int, int | None]], cutoff: int) -> tuple[Ballot, ...]:
    """Return one ballot per large voter and one per class and choice of the others.

    Parameters
    ----------
    voters
        (class, index within the class, votes in gwei, support or None) of everybody with votes.
    cutoff
        Votes from which a voter has a ballot of its own, gwei.

    Examples
    --------
    >>> voters = [("users", 0, 9, 1), ("users", 1, 2, 1), ("users", 2, 3, 1)]
    >>> [(ballot.voter, ballot.votes) for ballot in group_ballots(voters, 5)]
    [('users/0', 9), ('users/*/for', 5)]
    """
    single: list[Ballot] = []
    cohorts: dict[tuple[str, int | None], int] = {}
    for name, index, votes, support in voters:
        if votes >= cutoff:
            single.append(Ballot(f"{name}/{index}", votes, support))
        else:
            cohorts[name, support] = cohorts.get((name, support), 0) + votes
    choice = {AGAINST: "against", FOR: "for", ABSTAIN: "abstain", None: "none"}
    grouped = [Ballot(f"{name}/*/{choice[s]}", votes, s) for (name, s), votes in cohorts.items()]
    return (*single, *grouped)
