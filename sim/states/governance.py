"""State of governance: proposals, delegations, and what the last vote showed.

Rule decided here: proposals are arrays (runs, slots), one slot per proposal in the order of a run's
submissions, so that a slot means another proposal in another run. Times are unix seconds; step k of a
day has the timestamp noon + k, on the chain too. Delegations are drawn once: delegations are sticky,
delegates are not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.turnout import SELF, UNDELEGATED
from sim.kernels import votes

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.picks import Picks

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Flags = NDArray[np.bool_]

NONE = -1
"""State of a slot without a proposal."""
ROUTINE, SCENARIO = 0, 1
"""Topics: a routine proposal that changes no parameter, and the scenario's own proposal."""
FIRST_SLOTS = 16


class Event(NamedTuple):
    """Something that happened to a proposal; dozens are made every day and few are ever read.

    Parameters
    ----------
    run, day
        Run number and day.
    kind
        ``submitted``, ``refused``, ``voted``, ``defeated``, ``queued``, ``executed`` or ``bound``.
    proposal
        Slot of the proposal, or -1 where none was made.
    subject
        Title of the proposal.
    figures
        Name -> figure of the event: timestamps in seconds, votes in gwei.
    """

    run: int
    day: int
    kind: str
    proposal: int
    subject: str
    figures: dict[str, Any]

    @property
    def detail(self) -> str:
        """The slot and the figures of the event as a JSON object."""
        return json.dumps({"proposal": self.proposal} | self.figures)


@dataclass(slots=True)
class Proposals:
    """All proposals of a batch, int64 (runs, slots).

    Parameters
    ----------
    used
        Proposals of each run so far, int64 (runs,).
    topic
        `ROUTINE` or `SCENARIO`.
    state
        A number of `models.governance.ProposalState`, or `NONE`.
    proposer
        Column of the proposing agent, -1 for an unnamed one.
    tendency
        1 where voters tend to support a routine proposal, else 0.
    submitted_day
        Day of the proposal: it keys the voters' draws.
    submitted, snapshot, deadline, eta, executed
        Unix seconds, 0 where not reached.
    supply, quorum_bps
        GOPEN supply in gwei and quorum numerator at the snapshot.
    for_votes, against_votes, abstain_votes
        Votes cast in gwei.
    """

    used: Int
    topic: Int
    state: Int
    proposer: Int
    tendency: Int
    submitted_day: Int
    submitted: Int
    snapshot: Int
    deadline: Int
    eta: Int
    executed: Int
    supply: Int
    quorum_bps: Int
    for_votes: Int
    against_votes: Int
    abstain_votes: Int

    @classmethod
    def begin(cls, runs: int) -> Proposals:
        """Return empty slots."""
        arrays = [np.zeros((runs, FIRST_SLOTS), np.int64) for _ in _SLOTTED]
        proposals = cls(np.zeros(runs, np.int64), *arrays)
        proposals.state[:] = NONE
        return proposals

    def new(self, row: int) -> int:
        """Return the next free slot of a run; all runs get more slots where one has none left."""
        slot = int(self.used[row])
        if slot == self.state.shape[1]:
            self._grow()
        self.used[row] += 1
        return slot

    def _grow(self) -> None:
        for name in _SLOTTED:
            values = getattr(self, name)
            more = np.full_like(values, NONE if name == "state" else 0)
            setattr(self, name, np.concatenate([values, more], axis=1))


_SLOTTED = (
    "topic", "state", "proposer", "tendency", "submitted_day", "submitted", "snapshot", "deadline", "eta",
    "executed", "supply", "quorum_bps", "for_votes", "against_votes", "abstain_votes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delegations:
    """Whose GOPEN somebody may vote with: the few who delegated, run after run and in the order of columns.

    Parameters
    ----------
    owner
        Column of each, int32 (owners,).
    voter
        Column of who votes with its GOPEN, a delegate's or its own, int32 (owners,).
    is_small
        Who counts as small: contributors and holders below the threshold, bool (owners,).
    starts
        Where the owners of each run begin and those of the last end, int64 (runs + 1,).
    is_owner
        Who delegated, bool (runs, agents).
    """

    owner: NDArray[np.int32]
    voter: NDArray[np.int32]
    is_small: Flags
    starts: Int
    is_owner: Flags

    @classmethod
    def of(cls, delegate_to: NDArray[np.int32], small: Flags, first_delegate: int) -> Delegations:
        """Return the delegations of a batch.

        Parameters
        ----------
        delegate_to
            `models.turnout.SELF`, `UNDELEGATED` or the index of a delegate, int32 (runs, agents).
        small
            Who counts as small, bool (runs, agents).
        first_delegate
            Column of delegate 0.
        """
        is_owner = delegate_to != UNDELEGATED
        row, owner = np.nonzero(is_owner)
        to = delegate_to[row, owner]
        voter = np.where(to == SELF, owner, first_delegate + to)
        starts = np.searchsorted(row, np.arange(len(delegate_to) + 1))
        return cls(owner.astype(np.int32), voter.astype(np.int32), small[row, owner], starts, is_owner)

    def of_run(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return owner and voter of a run's delegations, int32 (owners,) each."""
        own = slice(int(self.starts[row]), int(self.starts[row + 1]))
        return self.owner[own], self.voter[own]


@dataclass(frozen=True, slots=True)
class Roll:
    """The electorate of one proposal at its snapshot, and what each voter will do.

    Parameters
    ----------
    columns
        Who has votes, in rising order, int64 (voters,).
    power
        Votes of each in gwei, int64 (voters,).
    support
        0 against, 1 for, 2 abstain, -1 for who does not vote, int8 (voters,).
    small_gwei
        Votes to be cast that belong to contributors and small holders.
    circulating_gwei
        Circulating supply at the snapshot.
    """

    columns: Int
    power: Int
    support: NDArray[np.int8]
    small_gwei: int
    circulating_gwei: int


@dataclass(slots=True)
class LastVote:
    """What the last closed vote of each run showed, (runs,), NaN before the first; and counts so far.

    Parameters
    ----------
    turnout_gopen, turnout_delegated, turnout_circulating
        Votes cast as a share of GOPEN supply, of delegated GOPEN and of circulating supply at the snapshot.
    quorum_margin
        Counted votes over the quorum less 1.
    small_votes_share
        Part of the votes cast that belongs to contributors and small holders, through delegates or not.
    nakamoto_votes
        How many voters cast more than half of the votes.
    votes_cast
        Gwei of votes cast, int64.
    held, reached, passed
        Votes closed, those that reached the quorum, those that passed, int64.
    """

    turnout_gopen: Float
    turnout_delegated: Float
    turnout_circulating: Float
    quorum_margin: Float
    small_votes_share: Float
    nakamoto_votes: Float
    votes_cast: Int
    held: Int
    reached: Int
    passed: Int

    @classmethod
    def begin(cls, runs: int) -> LastVote:
        """Return the figures before any vote."""
        empty = [np.full(runs, np.nan) for _ in range(6)]
        return cls(*empty, *(np.zeros(runs, np.int64) for _ in range(4)))


def _share(part: Int, whole: Int) -> Float:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


@dataclass(frozen=True, slots=True)
class Change:
    """An executed change of a parameter that binds from the next day.

    Parameters
    ----------
    day
        Day of the execution.
    row
        Row of the run.
    proposal
        Slot of the proposal.
    path
        Governed parameter.
    values
        Its integers, one per column.
    """

    day: int
    row: int
    proposal: int
    path: str
    values: tuple[int, ...]


@dataclass(slots=True)
class GovernanceState:
    """Everything that governance remembers.

    Parameters
    ----------
    proposals
        The proposals.
    delegations
        Who may vote with whose GOPEN.
    core
        Who always votes, bool (runs, agents).
    leaves_on
        Day from which a delegate is gone, int64 (runs, delegates).
    voted_last
        Who voted on the run's last proposal, bool (runs, agents).
    last
        Figures of the last vote.
    gopen_delegated_gwei
        GOPEN that somebody may vote with, today, int64 (runs,), kept from wraps and unwraps since day 0.
    cost_to_capture_usd
        USD for votes that reach the quorum and outvote the last turnout, at today's price, (runs,).
    rolls
        (row, slot) -> electorate of a proposal from its snapshot until it is closed.
    pending
        Executed changes that do not bind yet.
    events
        What happened so far.
    """

    proposals: Proposals
    delegations: Delegations
    core: Flags
    leaves_on: Int
    voted_last: Flags
    last: LastVote
    gopen_delegated_gwei: Int
    cost_to_capture_usd: Float
    rolls: dict[tuple[int, int], Roll] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def delegated(self, wrapped: Int) -> Int:
        """Return the GOPEN that somebody may vote with, of what agents have wrapped, int64 (runs,)."""
        totals = np.empty(len(wrapped), np.int64)
        votes.delegated(wrapped, self.delegations.is_owner, totals)
        return totals

    def follow(self, some: Picks, sign: int) -> None:
        """Bring delegated GOPEN up to date with what some agents wrapped, or (`sign` -1) unwrapped."""
        is_owner = self.delegations.is_owner
        theirs = some.among(is_owner.reshape(-1)[some.where])
        self.gopen_delegated_gwei += sign * theirs.per_run(*is_owner.shape)

    @property
    def turnout_gopen(self) -> Float:
        """Votes of the last vote over GOPEN supply."""
        return self.last.turnout_gopen

    @property
    def turnout_delegated(self) -> Float:
        """Votes of the last vote over delegated GOPEN."""
        return self.last.turnout_delegated

    @property
    def turnout_circulating(self) -> Float:
        """Votes of the last vote over circulating supply."""
        return self.last.turnout_circulating

    @property
    def quorum_margin(self) -> Float:
        """Counted votes of the last vote over its quorum less 1."""
        return self.last.quorum_margin

    @property
    def quorum_rate(self) -> Float:
        """Share of closed votes that reached the quorum."""
        return _share(self.last.reached, self.last.held)

    @property
    def pass_rate(self) -> Float:
        """Share of closed votes that passed."""
        return _share(self.last.passed, self.last.held)

    @property
    def small_votes_share(self) -> Float:
        """Part of the last vote that belongs to contributors and small holders."""
        return self.last.small_votes_share

    @property
    def nakamoto_votes(self) -> Float:
        """How many voters cast more than half of the last vote."""
        return self.last.nakamoto_votes


def begin_state(economy: Economy, runs: Int) -> GovernanceState:
    """Return governance before the first day; `sim.governance.delegation.begin` draws who delegates to whom.

    Parameters
    ----------
    economy
        Static data.
    runs
        Run numbers, int64 (runs,).
    """
    count, agents = len(runs), economy.layout.agents
    nobody = np.zeros((count, agents), bool)
    return GovernanceState(
        proposals=Proposals.begin(count),
        delegations=Delegations.of(np.full((count, agents), UNDELEGATED, np.int32), nobody, 0),
        core=nobody.copy(),
        leaves_on=np.zeros((count, economy.layout.count("delegates")), np.int64),
        voted_last=nobody.copy(),
        last=LastVote.begin(count),
        gopen_delegated_gwei=np.zeros(count, np.int64),
        cost_to_capture_usd=np.full(count, np.nan),
    )
