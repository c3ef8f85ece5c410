"""Submission: who proposes what, and whether the votes at hand suffice.

Rule decided here: routine proposals arrive at the scenario's monthly rate, at most one a day, made by
whoever has the most votes; they change no parameter. The scenario's own proposal is made on its date by
the agent it names. Delay and period are fixed when a proposal is made, as the contract does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.behaviour import DAYS_PER_MONTH
from models.errors import InputError
from models.governance import ProposalState, Timetable, may_propose
from sim import draws
from sim.draws import Decision
from sim.governance.desk import PROPOSE, Desk
from sim.governance.voters import Voters
from sim.governance_gateway import Submission, check_day
from sim.states.governance import ROUTINE, SCENARIO

if TYPE_CHECKING:
    from sim.scenario.proposal import Proposal

Int = NDArray[np.int64]


def submit(desk: Desk) -> None:
    """Make today's proposals."""
    world, scenario = desk.world, desk.economy.scenario
    is_open = desk.open_rows()
    rows = np.flatnonzero(_arrivals(desk) & is_open)
    if rows.size:
        _make(desk, ROUTINE, rows, *_with_most_votes(Voters.now(desk, rows)), forced=False)
    proposal = scenario.proposal
    if proposal is None or world.day != (proposal.submit - scenario.start).days:
        return
    if desk.gateway is not None and proposal.votes.force != "none":
        raise InputError("proposal.votes.force: a chain counts votes; use it with the chain off")
    rows = np.flatnonzero(is_open)
    if rows.size:
        proposers = _of_rank(desk, proposal, Voters.now(desk, rows))
        _make(desk, SCENARIO, rows, *proposers, forced=proposal.votes.force == "pass")


def actions_of(desk: Desk, topic: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return what a proposal sets, as pairs (governed path, integers)."""
    proposal = desk.economy.scenario.proposal
    if topic != SCENARIO or proposal is None:
        return ()
    return tuple((action.path, action.encoded) for action in proposal.actions)


def _arrivals(desk: Desk) -> NDArray[np.bool_]:
    world = desk.world
    chance = float(desk.economy.scenario.governance.proposals_per_month.value) / DAYS_PER_MONTH
    draw = draws.uniform(desk.economy.seed, Decision.PROPOSAL_ARRIVAL, world.runs, world.day, "world", 1)
    return np.asarray(draw[:, 0] < chance)


def _with_most_votes(voters: Voters) -> tuple[Int, Int]:
    """Return the column of each run's largest voter, the first of equals, and its votes."""
    most = voters.power.argmax(axis=1)[:, None]
    columns, power = (np.take_along_axis(values, most, axis=1) for values in (voters.columns, voters.power))
    return columns[:, 0], power[:, 0]


def _of_rank(desk: Desk, proposal: Proposal, voters: Voters) -> tuple[Int, Int]:
    """Return the column of the agent that proposes in each run, its rank by votes within its class, and its votes."""
    own, everyone = desk.world.layout.slice(proposal.proposer.class_), np.arange(len(voters.power))
    power = np.zeros((everyone.size, desk.world.layout.agents), np.int64)
    np.add.at(power, (everyone[:, None], voters.columns), voters.power)
    order = np.argsort(-power[:, own], axis=1, kind="stable")
    columns = own.start + order[:, proposal.proposer.rank - 1]
    return columns, power[everyone, columns]


def _make(desk: Desk, topic: int, rows: Int, proposers: Int, votes: Int, *, forced: bool) -> None:
    """Write a proposal into a free slot of each run, or tell that it was refused."""
    now, threshold = desk.now(PROPOSE), desk.rule("threshold", rows)
    rules = (desk.rule("delay", rows), desk.rule("period", rows), threshold)
    each = zip(*(values.tolist() for values in (rows, proposers, votes, *rules)), strict=True)
    timetables = [_timetable(desk, topic, forced, *of_run) for of_run in each]
    is_made = np.array([timetable is not None for timetable in timetables])
    _write(desk, topic, rows[is_made], proposers[is_made], [made for made in timetables if made is not None])
    slots = desk.state.proposals.used[rows] - 1
    told = (rows.tolist(), slots.tolist(), proposers.tolist(), votes.tolist(), threshold.tolist())
    for row, slot, proposer, held, least, timetable in zip(*told, timetables, strict=True):
        if timetable is None:
            desk.tell(row, -1, topic, "refused", votes_gwei=held, threshold_gwei=least)
        else:
            desk.tell(
                row, slot, topic, "submitted", proposer=desk.label(proposer), timestamp=now,
                snapshot=timetable.snapshot, deadline=timetable.deadline,
            )  # fmt: skip


def _timetable(
    desk: Desk, topic: int, forced: bool,
    row: int, proposer: int, votes: int, delay: int, period: int, threshold: int,
) -> Timetable | None:  # fmt: skip
    """Return the timetable of a run's proposal, None where the proposer has too few votes."""
    gateway, now = desk.gateway_of(row), desk.now(PROPOSE)
    expected = Timetable.build(now, delay, period)
    if gateway is None:
        return expected if forced or may_propose(votes, threshold) else None
    submission = Submission(
        key=int(desk.state.proposals.used[row]), title=desk.title(topic), actions=actions_of(desk, topic),
        proposer=desk.label(proposer), proposer_votes=votes, delay=delay, period=period, threshold=threshold,
    )  # fmt: skip
    theirs = gateway.propose(submission, now)
    if theirs is None:
        return None
    check_day("snapshot", theirs.snapshot, expected.snapshot)
    check_day("deadline", theirs.deadline, expected.deadline)
    return expected


def _write(desk: Desk, topic: int, rows: Int, proposers: Int, timetables: list[Timetable]) -> None:
    """Write proposals that are made, one of each run."""
    if not rows.size:
        return
    proposals = desk.state.proposals
    at = rows, np.array([proposals.new(row) for row in rows.tolist()])
    proposals.topic[at] = topic
    proposals.state[at] = ProposalState.PENDING
    proposals.proposer[at] = proposers
    proposals.tendency[at] = True if topic == SCENARIO else _are_liked(desk, rows)
    proposals.submitted_day[at] = desk.world.day
    proposals.submitted[at] = desk.now(PROPOSE)
    proposals.snapshot[at] = [timetable.snapshot for timetable in timetables]
    proposals.deadline[at] = [timetable.deadline for timetable in timetables]
    desk.did("propose", rows, proposers)


def _are_liked(desk: Desk, rows: Int) -> NDArray[np.bool_]:
    """Return in which runs voters tend to support a routine proposal of today, bool (places,)."""
    world, runs = desk.world, desk.world.runs[rows]
    draw = draws.uniform(desk.economy.seed, Decision.PROPOSAL_TOPIC, runs, world.day, "world", 1)
    return np.asarray(draw[:, 0] < float(desk.economy.scenario.governance.routine.support.value))
