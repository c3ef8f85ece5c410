"""Closing: what the votes amount to, the queue, the timelock, and the execution.

Rule decided here: a proposal is closed at the first step of governance after its deadline, queued at
once if it passed, and executed at the first step at which its timelock has run out. An executed change
binds from the next day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.governance import ProposalState, counted_votes, executable, quorum_reached, succeeded
from models.inequality import nakamoto
from models.turnout import BPS, capture_votes
from models.units import GWEI_PER_OPEN
from sim.governance.desk import EXECUTE, QUEUE, Desk, Places, among, places
from sim.governance.submission import actions_of
from sim.governance.voters import of_rolls
from sim.governance_gateway import GatewayError, check_day
from sim.governed_columns import OFF
from sim.states.governance import Change

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


def close(desk: Desk) -> None:
    """Count every proposal whose deadline has passed; queue those that passed."""
    proposals, now = desk.state.proposals, desk.now(QUEUE)
    running = places((proposals.state == ProposalState.PENDING) | (proposals.state == ProposalState.ACTIVE))
    rows, slots = at = among(running, proposals.deadline[running] < now)
    if not rows.size:
        return
    reached, passed = _count(desk, at)
    eta = now + desk.rule("timelock", rows)
    _confirm(desk, at, passed, eta)
    _write_figures(desk, at, reached, passed)
    proposals.state[at] = np.where(passed, ProposalState.QUEUED, ProposalState.DEFEATED)
    proposals.eta[at] = np.where(passed, eta, 0)
    desk.did("queue", rows[passed], proposals.proposer[at][passed])
    told = (values.tolist() for values in (rows, slots, eta, reached, passed))
    for row, slot, earliest, has_quorum, is_queued in zip(*told, strict=True):
        topic = desk.topic(row, slot)
        if is_queued:
            desk.tell(row, slot, topic, "queued", timestamp=now, eta=earliest)
        else:
            desk.tell(row, slot, topic, "defeated", timestamp=now, quorum_reached=int(has_quorum))


def execute(desk: Desk) -> None:
    """Execute every queued proposal whose timelock has run out."""
    proposals, now, day = desk.state.proposals, desk.now(EXECUTE), desk.world.day
    queued = places(proposals.state == ProposalState.QUEUED)
    rows, slots = at = among(queued, executable(now, proposals.eta[queued]))
    if not rows.size:
        return
    proposals.state[at] = ProposalState.EXECUTED
    proposals.executed[at] = now
    desk.did("execute", rows, proposals.proposer[at])
    for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
        topic, gateway = desk.topic(row, slot), desk.gateway_of(row)
        changes = actions_of(desk, topic)
        if gateway is not None:
            changes = tuple((done.path, done.new) for done in gateway.execute(slot, now))
        desk.state.pending += [Change(day, row, slot, path, values) for path, values in changes]
        desk.tell(row, slot, topic, "executed", timestamp=now, changes=len(changes))


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
    """Bring the daily figure up to date: what a capture would cost."""
    state, world = desk.state, desk.world
    quorum = world.governed.read("governance.quorum")
    is_set = quorum != OFF
    votes = capture_votes(world.holding.gopen_supply, np.where(is_set, quorum, BPS), state.last.votes_cast)
    usd = votes / GWEI_PER_OPEN * world.price_usd
    state.cost_to_capture_usd = np.where(votes > 0, usd, np.nan)


def _votes(desk: Desk, at: Places) -> tuple[Int, Int, Int]:
    """Return the votes for, against and abstaining of some proposals, gwei (places,)."""
    proposals = desk.state.proposals
    return proposals.for_votes[at], proposals.against_votes[at], proposals.abstain_votes[at]


def _count(desk: Desk, at: Places) -> tuple[Flags, Flags]:
    """Return which proposals reached their quorum, and which passed."""
    proposals, scenario = desk.state.proposals, desk.economy.scenario
    for_, against, abstain = _votes(desk, at)
    counted = counted_votes(for_, against, abstain, scenario.governance.quorum.counts)
    reached = quorum_reached(counted, proposals.supply[at], proposals.quorum_bps[at], BPS)
    passed = reached & succeeded(for_, against)
    if scenario.proposal is not None and scenario.proposal.votes.force != "none":
        passed = np.where(desk.is_own(at), scenario.proposal.votes.force == "pass", passed)
    return reached, passed


def _confirm(desk: Desk, at: Places, passed: Flags, eta: Int) -> None:
    """Compare the ledger's counts with the witness run's governor, and let it queue what passed."""
    now, votes = desk.now(QUEUE), _votes(desk, at)
    for gateway, i, slot in desk.witnessed(at):
        outcome, ours = gateway.close(slot, now), tuple(int(v[i]) for v in votes)
        theirs = (outcome.for_votes, outcome.against_votes, outcome.abstain_votes)
        expected = ProposalState.SUCCEEDED if passed[i] else ProposalState.DEFEATED
        if theirs != ours or outcome.state is not expected:
            raise GatewayError(
                f"proposal {slot}, day {desk.world.day}: the governor counts {theirs} gwei for, against, "
                f"abstain and says {outcome.state.name}; the ledger counts {ours} and says {expected.name}"
            )
        if passed[i]:
            check_day("execution", gateway.queue(slot, now, int(eta[i]) - now), int(eta[i]))


def _write_figures(desk: Desk, at: Places, reached: Flags, passed: Flags) -> None:
    """Keep what the votes showed; of two votes of a run that close on one day the later one is the last."""
    proposals, last, rows = desk.state.proposals, desk.state.last, at[0]
    rolls = [desk.state.rolls.pop(place) for place in zip(*(v.tolist() for v in at), strict=True)]
    _, power, way = of_rolls(rolls)
    votes, counts = _votes(desk, at), desk.economy.scenario.governance.quorum.counts
    cast, supply = votes[0] + votes[1] + votes[2], proposals.supply[at].tolist()
    needed = [held * bps / BPS for held, bps in zip(supply, proposals.quorum_bps[at].tolist(), strict=True)]
    last.turnout_gopen[rows] = _over(cast.tolist(), supply)
    last.turnout_delegated[rows] = _over(cast.tolist(), power.sum(axis=1).tolist())
    last.turnout_circulating[rows] = _over(cast.tolist(), [roll.circulating_gwei for roll in rolls])
    last.quorum_margin[rows] = np.subtract(_over(counted_votes(*votes, counts).tolist(), needed), 1)
    last.small_votes_share[rows] = _over([roll.small_gwei for roll in rolls], cast.tolist())
    last.nakamoto_votes[rows] = nakamoto(np.where(way >= 0, power, 0))
    last.votes_cast[rows] = cast
    for counter, happened in ((last.held, True), (last.reached, reached), (last.passed, passed)):
        np.add.at(counter, rows, happened)


def _over(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    """Return quotients, NaN over 0; Python divides integers beyond 2^53 exactly before it rounds."""
    return [part / whole if whole else math.nan for part, whole in zip(parts, wholes, strict=True)]
