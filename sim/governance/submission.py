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
from sim.governance_gateway import Submission, check_day
from sim.kernels.votes import voting_power
from sim.states.governance import ROUTINE, SCENARIO

if TYPE_CHECKING:
    from sim.scenario.proposal import Proposal

Int = NDArray[np.int64]


def submit(desk: Desk) -> None:
    """Make today's proposals."""
    world, scenario = desk.world, desk.economy.scenario
    is_open = desk.open_rows()
    for row in np.flatnonzero(_arrivals(desk) & is_open):
        power = power_of(desk, int(row))
        _make(desk, int(row), ROUTINE, int(np.argmax(power)), power, forced=False)
    proposal = scenario.proposal
    if proposal is None or world.day != (proposal.submit - scenario.start).days:
        return
    if desk.gateway is not None and proposal.votes.force != "none":
        raise InputError("proposal.votes.force: a chain counts votes; use it with the chain off")
    for row in np.flatnonzero(is_open):
        power = power_of(desk, int(row))
        proposer = _ranked(desk, proposal, power)
        _make(desk, int(row), SCENARIO, proposer, power, forced=proposal.votes.force == "pass")


def power_of(desk: Desk, row: int) -> Int:
    """Return the votes of each agent of a run now, gwei (agents,)."""
    first, power = desk.world.layout.slice("delegates").start, np.zeros(desk.world.layout.agents, np.int64)
    voting_power(desk.world.agent_balance("wrapped")[row], desk.state.delegate_to[row], first, power)
    return power


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


def _ranked(desk: Desk, proposal: Proposal, power: Int) -> int:
    """Return the column of the agent that proposes: its rank by votes within its class."""
    columns = desk.world.layout.slice(proposal.proposer.class_)
    order = np.argsort(-power[columns], kind="stable")
    return int(columns.start + order[proposal.proposer.rank - 1])


def _make(desk: Desk, row: int, topic: int, proposer: int, power: Int, *, forced: bool) -> None:
    """Write a proposal into a free slot, or tell that it was refused."""
    threshold = desk.rule("threshold", row)
    timetable = _timetable(desk, row, topic, proposer, int(power[proposer]), forced)
    if timetable is None:
        votes = int(power[proposer])
        desk.tell(row, -1, topic, "refused", votes_gwei=votes, threshold_gwei=threshold)
        return
    proposals = desk.state.proposals
    slot = proposals.new(row)
    proposals.topic[row, slot] = topic
    proposals.state[row, slot] = ProposalState.PENDING
    proposals.proposer[row, slot] = proposer
    proposals.tendency[row, slot] = topic == SCENARIO or _is_liked(desk, row)
    proposals.submitted_day[row, slot] = desk.world.day
    proposals.submitted[row, slot] = desk.now(PROPOSE)
    proposals.snapshot[row, slot] = timetable.snapshot
    proposals.deadline[row, slot] = timetable.deadline
    desk.did("propose", row, proposer)
    times = {"timestamp": desk.now(PROPOSE), "snapshot": timetable.snapshot, "deadline": timetable.deadline}
    desk.tell(row, slot, topic, "submitted", proposer=desk.label(proposer), **times)


def _timetable(desk: Desk, row: int, topic: int, proposer: int, votes: int, forced: bool) -> Timetable | None:
    delay, period, threshold = (desk.rule(name, row) for name in ("delay", "period", "threshold"))
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


def _is_liked(desk: Desk, row: int) -> bool:
    """Whether voters tend to support a routine proposal."""
    world = desk.world
    run = world.runs[row : row + 1]
    draw = draws.uniform(desk.economy.seed, Decision.PROPOSAL_TOPIC, run, world.day, "world", 1)
    return bool(draw[0, 0] < float(desk.economy.scenario.governance.routine.support.value))
