"""Closing: what the votes amount to, the queue, the timelock, and the execution.

Rule decided here: a proposal is closed at the first step of governance after its deadline, queued at
once if it passed, and executed at the first step at which its timelock has run out. An executed change
binds from the next day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.governance import ProposalState, counted_votes, executable, quorum_reached, succeeded
from models.inequality import nakamoto
from models.turnout import BPS, UNDELEGATED, capture_votes
from models.units import GWEI_PER_OPEN
from sim.governance.desk import EXECUTE, QUEUE, Desk, places
from sim.governance.submission import actions_of
from sim.governance_gateway import GatewayError, check_day
from sim.governed_columns import OFF
from sim.kernels import sums as sum_kernels
from sim.states.governance import SCENARIO, Change, Roll

Int = NDArray[np.int64]


def close(desk: Desk) -> None:
    """Count every proposal whose deadline has passed; queue those that passed."""
    proposals, now = desk.state.proposals, desk.now(QUEUE)
    is_running = (proposals.state == ProposalState.PENDING) | (proposals.state == ProposalState.ACTIVE)
    for row, slot in places(is_running & (proposals.deadline < now)):
        reached, passed = _count(desk, row, slot)
        _confirm(desk, row, slot, passed)
        _write_figures(desk, row, slot, desk.state.rolls.pop((row, slot)), reached, passed)
        if passed:
            _queue(desk, row, slot)
        else:
            proposals.state[row, slot] = ProposalState.DEFEATED
            desk.tell(
                row, slot, desk.topic(row, slot), "defeated", timestamp=now, quorum_reached=int(reached)
            )


def execute(desk: Desk) -> None:
    """Execute every queued proposal whose timelock has run out."""
    proposals, now = desk.state.proposals, desk.now(EXECUTE)
    due = (proposals.state == ProposalState.QUEUED) & executable(now, proposals.eta)
    for row, slot in places(due):
        proposals.state[row, slot] = ProposalState.EXECUTED
        proposals.executed[row, slot] = now
        changes = actions_of(desk, desk.topic(row, slot))
        gateway = desk.gateway_of(row)
        if gateway is not None:
            changes = tuple((done.path, done.new) for done in gateway.execute(slot, now))
        day = desk.world.day
        desk.state.pending += [Change(day, row, slot, path, values) for path, values in changes]
        desk.did("execute", row, int(proposals.proposer[row, slot]))
        desk.tell(row, slot, desk.topic(row, slot), "executed", timestamp=now, changes=len(changes))


def bind(desk: Desk) -> None:
    """Write into the governed columns what was executed before today."""
    state, day = desk.state, desk.world.day
    due = [change for change in state.pending if change.day < day]
    state.pending = [change for change in state.pending if change.day >= day]
    for change in due:
        mask = np.arange(desk.world.count) == change.row
        desk.world.governed.write(change.path, change.values, mask)
        topic = desk.topic(change.row, change.proposal)
        desk.tell(
            change.row, change.proposal, topic, "bound", parameter=change.path, values=list(change.values)
        )


def update_figures(desk: Desk) -> None:
    """Bring the daily figures up to date: delegated GOPEN and what a capture would cost."""
    state, world = desk.state, desk.world
    delegated = np.empty(world.count, np.int64)
    sum_kernels.rows_where_not(
        world.agent_balance("wrapped"), state.delegate_to, np.int32(UNDELEGATED), delegated
    )
    state.gopen_delegated_gwei = delegated
    quorum = world.governed.read("governance.quorum")
    is_set = quorum != OFF
    votes = capture_votes(world.holding.gopen_supply, np.where(is_set, quorum, BPS), state.last.votes_cast)
    usd = votes / GWEI_PER_OPEN * world.price_usd
    state.cost_to_capture_usd = np.where(votes > 0, usd, np.nan)


def _count(desk: Desk, row: int, slot: int) -> tuple[bool, bool]:
    """Return whether a proposal reached its quorum, and whether it passed."""
    proposals, scenario = desk.state.proposals, desk.economy.scenario
    votes = (proposals.for_votes, proposals.against_votes, proposals.abstain_votes)
    for_, against, abstain = (v[row, slot : slot + 1] for v in votes)
    counted = counted_votes(for_, against, abstain, scenario.governance.quorum.counts)
    supply, numerator = proposals.supply[row, slot], proposals.quorum_bps[row, slot]
    reached = bool(quorum_reached(counted, supply, numerator, BPS)[0])
    passed = reached and bool(succeeded(for_, against)[0])
    proposal = scenario.proposal
    if desk.topic(row, slot) == SCENARIO and proposal is not None and proposal.votes.force != "none":
        passed = proposal.votes.force == "pass"
    return reached, passed


def _confirm(desk: Desk, row: int, slot: int, passed: bool) -> None:
    """Compare the ledger's count with the witness run's governor."""
    gateway = desk.gateway_of(row)
    if gateway is None:
        return
    proposals, outcome = desk.state.proposals, gateway.close(slot, desk.now(QUEUE))
    theirs = (outcome.for_votes, outcome.against_votes, outcome.abstain_votes)
    votes = (proposals.for_votes, proposals.against_votes, proposals.abstain_votes)
    ours = tuple(int(v[row, slot]) for v in votes)
    expected = ProposalState.SUCCEEDED if passed else ProposalState.DEFEATED
    if theirs != ours or outcome.state is not expected:
        raise GatewayError(
            f"proposal {slot}, day {desk.world.day}: the governor counts {theirs} gwei for, against, abstain "
            f"and says {outcome.state.name}; the ledger counts {ours} and says {expected.name}"
        )


def _queue(desk: Desk, row: int, slot: int) -> None:
    proposals, now, timelock = desk.state.proposals, desk.now(QUEUE), desk.rule("timelock", row)
    gateway = desk.gateway_of(row)
    eta = now + timelock
    if gateway is not None:
        check_day("execution", gateway.queue(slot, now, timelock), eta)
    proposals.state[row, slot] = ProposalState.QUEUED
    proposals.eta[row, slot] = eta
    desk.did("queue", row, int(proposals.proposer[row, slot]))
    desk.tell(row, slot, desk.topic(row, slot), "queued", timestamp=now, eta=eta)


def _write_figures(desk: Desk, row: int, slot: int, roll: Roll, reached: bool, passed: bool) -> None:
    """Keep what the vote showed."""
    proposals, last = desk.state.proposals, desk.state.last
    votes = (proposals.for_votes, proposals.against_votes, proposals.abstain_votes)
    for_, against, abstain = (v[row, slot : slot + 1] for v in votes)
    cast = int(for_[0] + against[0] + abstain[0])
    supply = int(proposals.supply[row, slot])
    counted = counted_votes(for_, against, abstain, desk.economy.scenario.governance.quorum.counts)
    last.turnout_gopen[row] = _over(cast, supply)
    last.turnout_delegated[row] = _over(cast, int(roll.power.sum()))
    last.turnout_circulating[row] = _over(cast, roll.circulating_gwei)
    needed = supply * int(proposals.quorum_bps[row, slot]) / BPS
    last.quorum_margin[row] = _over(int(counted[0]), needed) - 1
    last.small_votes_share[row] = _over(roll.small_gwei, cast) if cast else np.nan
    cast_by = roll.power[roll.support >= 0]
    last.nakamoto_votes[row] = nakamoto(cast_by[None, :])[0] if cast_by.size else 0
    last.votes_cast[row] = cast
    last.held[row] += 1
    last.reached[row] += reached
    last.passed[row] += passed


def _over(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
