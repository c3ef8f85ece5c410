"""Voting: who is on the roll at the snapshot, who votes, and which way.

Rule decided here: votes and GOPEN supply are read at the snapshot and never again; what is wrapped,
moved or delegated later counts for the next proposal. On the scenario's proposal a class that stated its
vote keeps to it and everybody else follows the payoff of the tokens that it represents; on a routine
proposal voters mostly go with the tendency. Votes are cast at the first step of governance after the
snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.governance import ProposalState
from models.turnout import UNDELEGATED, in_favour, turns_out, vote_probability, yearly
from models.units import SECONDS_PER_DAY
from sim import draws
from sim.accounts import WORLD_ACCOUNTS, Counted
from sim.draws import Decision
from sim.governance.desk import PROPOSE, VOTE, Desk
from sim.governance.submission import power_of
from sim.governance_gateway import ABSTAIN, AGAINST, FOR, Ballot, Electorate, group_ballots
from sim.states.governance import SCENARIO, Roll

if TYPE_CHECKING:
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Flags = NDArray[np.bool_]

_STATED = {"against": AGAINST, "for": FOR, "abstain": ABSTAIN}
_CIRCULATING = [a.index for a in WORLD_ACCOUNTS if a.counted in (Counted.CIRCULATING, Counted.FLOAT)]


def take_snapshots(desk: Desk) -> None:
    """Read the roll of every proposal whose delay ends between this noon and the next."""
    proposals, noon = desk.state.proposals, desk.now(PROPOSE)
    ends = (proposals.snapshot >= noon) & (proposals.snapshot < noon + SECONDS_PER_DAY)
    for row, slot in np.argwhere((proposals.state == ProposalState.PENDING) & ends).tolist():
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
    for row, slot in np.argwhere((proposals.state == ProposalState.PENDING) & is_open).tolist():
        roll = desk.state.rolls[row, slot]
        tally = {s: int(roll.power[roll.support == s].sum()) for s in (AGAINST, FOR, ABSTAIN)}
        proposals.for_votes[row, slot] = tally[FOR]
        proposals.against_votes[row, slot] = tally[AGAINST]
        proposals.abstain_votes[row, slot] = tally[ABSTAIN]
        proposals.state[row, slot] = ProposalState.ACTIVE
        voters = np.flatnonzero(roll.support >= 0)
        desk.state.voted_last[row] = roll.support >= 0
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
    power = power_of(desk, row)
    support = np.full(power.shape, -1, np.int8)
    voting = _turns_out(desk, row, slot, power)
    support[voting] = _direction(desk, row, slot, wrapped, power)[voting]
    small = (
        desk.state.small[row]
        & voting[_representative(desk, row)]
        & (desk.state.delegate_to[row] != UNDELEGATED)
    )
    return Roll(power, support, int(wrapped[small].sum()), _circulating(desk.world, row))


def _representative(desk: Desk, row: int) -> NDArray[np.int64]:
    """Return the column that votes with each agent's tokens; its own where nobody does."""
    to = desk.state.delegate_to[row].astype(np.int64)
    own = np.arange(len(to))
    return np.where(to >= 0, desk.world.layout.slice("delegates").start + to, own)


def _turns_out(desk: Desk, row: int, slot: int, power: Int) -> Flags:
    """Return who votes, bool (agents,)."""
    state, economy = desk.state, desk.economy
    terms = economy.scenario.governance.turnout
    proposal = economy.scenario.proposal
    is_own = desk.topic(row, slot) == SCENARIO
    chance = vote_probability(
        power, base=float(terms.base.value), stake_slope=float(terms.stake_slope.value),
        habit=float(terms.habit.value), voted_before=state.voted_last[row],
        salience_slope=float(terms.salience_slope.value),
        salience=float(proposal.salience) if is_own and proposal is not None else 0.0,
    )  # fmt: skip
    interest = np.full(power.shape, yearly(float(terms.decay.value), desk.world.day))
    core = state.core[row].copy()
    columns = desk.world.layout.slice("delegates")
    present = state.active_delegates(desk.world.day)[row]
    interest[columns] = np.where(core[columns], 1.0, present)
    return turns_out(chance, _draw(desk, Decision.VOTE_TURNOUT, row, slot, power), core, interest)


def _direction(desk: Desk, row: int, slot: int, wrapped: Int, power: Int) -> NDArray[np.int8]:
    """Return which way each agent votes if it votes, int8 (agents,)."""
    draw = _draw(desk, Decision.VOTE_DIRECTION, row, slot, power)
    proposals, proposal = desk.state.proposals, desk.economy.scenario.proposal
    if desk.topic(row, slot) != SCENARIO or proposal is None:
        follows = draw < float(desk.economy.scenario.governance.routine.consensus.value)
        return np.where(follows == bool(proposals.tendency[row, slot]), FOR, AGAINST).astype(np.int8)
    payoff = _payoff(desk, row, wrapped, power, proposal.votes.payoffs)
    for_it = in_favour(payoff, float(proposal.votes.direction.noise), draw)
    support = np.where(for_it, FOR, AGAINST).astype(np.int8)
    for name, choice in proposal.votes.stated.items():
        support[desk.world.layout.slice(name)] = _STATED[choice]
    return support


def _payoff(desk: Desk, row: int, wrapped: Int, power: Int, payoffs: dict[str, float]) -> Float:
    """Return the payoff, in percent, of the tokens that each voter represents, (agents,)."""
    own = np.zeros(power.shape)
    for name, percent in payoffs.items():
        own[desk.world.layout.slice(name)] = percent
    weighted = np.where(desk.state.delegate_to[row] == UNDELEGATED, 0.0, own * wrapped)
    total = np.bincount(_representative(desk, row), weights=weighted, minlength=len(power))
    return np.asarray(total / np.maximum(power, 1))


def _draw(desk: Desk, decision: Decision, row: int, slot: int, power: Int) -> Float:
    """Return one uniform per agent of a run; the proposal's day is the key, classes without votes get 1."""
    world, day = desk.world, int(desk.state.proposals.submitted_day[row, slot])
    out = np.ones(power.shape)
    for name, count in world.layout.counts:
        columns = world.layout.slice(name)
        if power[columns].any():
            run = world.runs[row : row + 1]
            out[columns] = draws.uniform(desk.economy.seed, decision, run, day, name, count)[0]
    return out


def _circulating(world: World, row: int) -> int:
    return int(world.balances[row, _CIRCULATING].sum()) + int(world.holdings[:, row].sum())
