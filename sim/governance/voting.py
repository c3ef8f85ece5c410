"""Voting: who is on the roll at the snapshot, who votes, and which way.

Rule decided here: votes and GOPEN supply are read at the snapshot and never again; what is wrapped,
moved or delegated later counts for the next proposal. On the scenario's proposal a class that stated its
vote keeps to it and everybody else follows the payoff of the tokens that it represents; on a routine
proposal voters mostly go with the tendency. Votes are cast at the first step of governance after the
snapshot.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.governance import ProposalState
from models.turnout import UNDELEGATED, in_favour, turns_out, vote_probability, yearly
from models.units import SECONDS_PER_DAY
from sim import draws
from sim.accounts import WORLD_ACCOUNTS, Counted
from sim.draws import Decision
from sim.governance.desk import PROPOSE, VOTE, Desk, places
from sim.governance.submission import power_of
from sim.governance_gateway import ABSTAIN, AGAINST, FOR, Ballot, Electorate, group_ballots
from sim.kernels import votes as kernel
from sim.picks import Picks
from sim.states.governance import SCENARIO, Roll

if TYPE_CHECKING:
    from sim.world import Layout, World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Flags = NDArray[np.bool_]

_STATED = {"against": AGAINST, "for": FOR, "abstain": ABSTAIN}
_CIRCULATING = [a.index for a in WORLD_ACCOUNTS if a.counted in (Counted.CIRCULATING, Counted.FLOAT)]


def take_snapshots(desk: Desk) -> None:
    """Read the roll of every proposal whose delay ends between this noon and the next."""
    proposals, noon = desk.state.proposals, desk.now(PROPOSE)
    ends = (proposals.snapshot >= noon) & (proposals.snapshot < noon + SECONDS_PER_DAY)
    for row, slot in places((proposals.state == ProposalState.PENDING) & ends):
        wrapped = desk.world.agent_balance("wrapped")[row]
        roll = _roll(desk, row, slot, wrapped)
        desk.state.rolls[row, slot] = roll
        proposals.supply[row, slot] = wrapped.sum()
        proposals.quorum_bps[row, slot] = desk.rule("quorum", row)
        gateway = desk.gateway_of(row)
        if gateway is not None:
            electorate = Electorate(int(wrapped.sum()), desk.rule("quorum", row), ballots(desk, roll))
            gateway.snapshot(slot, int(proposals.snapshot[row, slot]), electorate)


def cast(desk: Desk) -> None:
    """Cast the votes of every proposal that is open for the first time."""
    proposals, now = desk.state.proposals, desk.now(VOTE)
    is_open = (proposals.snapshot < now) & (now <= proposals.deadline)
    for row, slot in places((proposals.state == ProposalState.PENDING) & is_open):
        roll = desk.state.rolls[row, slot]
        votes = roll.support >= 0
        voters = np.flatnonzero(votes)
        cast_by, way = roll.power[voters], roll.support[voters]
        tally = {s: int(cast_by[way == s].sum()) for s in (AGAINST, FOR, ABSTAIN)}
        proposals.for_votes[row, slot] = tally[FOR]
        proposals.against_votes[row, slot] = tally[AGAINST]
        proposals.abstain_votes[row, slot] = tally[ABSTAIN]
        proposals.state[row, slot] = ProposalState.ACTIVE
        desk.state.voted_last[row] = votes
        desk.did("vote", row, voters)
        gateway = desk.gateway_of(row)
        if gateway is not None:
            gateway.cast(slot, now, ballots(desk, roll))
        desk.tell(
            row, slot, desk.topic(row, slot), "voted", timestamp=now, voters=len(voters),
            for_gwei=tally[FOR], against_gwei=tally[AGAINST], abstain_gwei=tally[ABSTAIN],
        )  # fmt: skip


def ballots(desk: Desk, roll: Roll) -> tuple[Ballot, ...]:
    """Return the votes of a roll as ballots, large voters one by one."""
    cutoff = int(desk.economy.scenario.chain.vote_cutoff.value)
    voters = []
    for column in np.flatnonzero(roll.power > 0).tolist():
        name, index = desk.label(column).split("/")
        support = int(roll.support[column])
        voters.append((name, int(index), int(roll.power[column]), support if support >= 0 else None))
    return group_ballots(voters, cutoff)


def _roll(desk: Desk, row: int, slot: int, wrapped: Int) -> Roll:
    power, state = power_of(desk, row), desk.state
    able = Picks.of(power[None, :]).where
    turnout, direction = _draws(desk, row, slot, able)
    voters = _turns_out(desk, row, slot, power, able, turnout)
    support = np.full(power.shape, -1, np.int8)
    support[able[voters]] = _direction(desk, row, slot, wrapped, power, able, direction)[voters]
    first = desk.world.layout.slice("delegates").start
    small = kernel.of_owners(wrapped, state.small[row], state.delegate_to[row], first, support >= 0)
    return Roll(power, support, int(small), _circulating(desk.world, row))


def _draws(desk: Desk, row: int, slot: int, able: Int) -> tuple[Float, Float]:
    """Return the uniforms for turnout and direction of those who can vote; the proposal's day is the key."""
    world, day = desk.world, int(desk.state.proposals.submitted_day[row, slot])
    stream, u64 = Decision.VOTE_TURNOUT.value[0], np.uint64
    turnout, direction = np.empty(able.size), np.empty(able.size)
    agents = _agent_words(world.layout)[able]
    kernel.draw(
        u64(desk.economy.seed), u64(stream), u64(world.runs[row]), u64(day), agents, turnout, direction
    )
    return turnout, direction


@cache
def _agent_words(layout: Layout) -> NDArray[np.uint64]:
    """Return the agent word of each column: class code and index within the class."""
    return np.concatenate(
        [(draws.CLASS_CODES[name] << 24) | np.arange(count, dtype=np.uint64) for name, count in layout.counts]
    )


def _turns_out(desk: Desk, row: int, slot: int, power: Int, able: Int, draw: Float) -> Flags:
    """Return which of those who can vote do, bool (able,)."""
    state, economy = desk.state, desk.economy
    terms = economy.scenario.governance.turnout
    proposal = economy.scenario.proposal
    is_own = desk.topic(row, slot) == SCENARIO
    chance = vote_probability(
        power[able], base=float(terms.base.value), stake_slope=float(terms.stake_slope.value),
        habit=float(terms.habit.value), voted_before=state.voted_last[row, able],
        salience_slope=float(terms.salience_slope.value),
        salience=float(proposal.salience) if is_own and proposal is not None else 0.0,
    )  # fmt: skip
    interest = np.full(able.shape, yearly(float(terms.decay.value), desk.world.day))
    core = state.core[row, able]
    columns = desk.world.layout.slice("delegates")
    present = state.active_delegates(desk.world.day)[row]
    of_delegates = (able >= columns.start) & (able < columns.stop)
    delegates = able[of_delegates] - columns.start
    interest[of_delegates] = np.where(core[of_delegates], 1.0, present[delegates])
    return turns_out(chance, draw, core, interest)


def _direction(
    desk: Desk, row: int, slot: int, wrapped: Int, power: Int, able: Int, draw: Float
) -> NDArray[np.int8]:
    """Return which way each of those who can vote does so if it votes, int8 (able,)."""
    proposals, proposal = desk.state.proposals, desk.economy.scenario.proposal
    if desk.topic(row, slot) != SCENARIO or proposal is None:
        follows = draw < float(desk.economy.scenario.governance.routine.consensus.value)
        return np.where(follows == bool(proposals.tendency[row, slot]), FOR, AGAINST).astype(np.int8)
    payoff = _payoff(desk, row, wrapped, power, proposal.votes.payoffs)[able]
    for_it = in_favour(payoff, float(proposal.votes.direction.noise), draw)
    support = np.where(for_it, FOR, AGAINST).astype(np.int8)
    for name, choice in proposal.votes.stated.items():
        columns = desk.world.layout.slice(name)
        support[(able >= columns.start) & (able < columns.stop)] = _STATED[choice]
    return support


def _payoff(desk: Desk, row: int, wrapped: Int, power: Int, payoffs: dict[str, float]) -> Float:
    """Return the payoff, in percent, of the tokens that each voter represents, (agents,)."""
    own = np.zeros(power.shape)
    for name, percent in payoffs.items():
        own[desk.world.layout.slice(name)] = percent
    weighted = np.where(desk.state.delegate_to[row] == UNDELEGATED, 0.0, own * wrapped)
    total = np.bincount(_representative(desk, row), weights=weighted, minlength=len(power))
    return np.asarray(total / np.maximum(power, 1))


def _representative(desk: Desk, row: int) -> Int:
    """Return the column that votes with each agent's tokens; its own where nobody does."""
    to = desk.state.delegate_to[row].astype(np.int64)
    return np.where(to >= 0, desk.world.layout.slice("delegates").start + to, np.arange(len(to)))


def _circulating(world: World, row: int) -> int:
    """Return the circulating supply of a run by the books, which are the balances or the day fails."""
    return int(world.balances[row, _CIRCULATING].sum()) + int(world.expected_agent[row].sum())
