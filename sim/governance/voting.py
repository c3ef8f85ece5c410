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
from models.turnout import in_favour, turns_out, vote_probability, yearly
from models.units import SECONDS_PER_DAY
from sim import draws
from sim.accounts import WORLD_ACCOUNTS, Counted
from sim.draws import Decision
from sim.governance.desk import PROPOSE, VOTE, Desk, Places, among, places
from sim.governance.voters import Voters, of_rolls
from sim.governance_gateway import ABSTAIN, AGAINST, FOR, Ballot, Electorate, group_ballots
from sim.kernels import votes as kernel
from sim.states.governance import Roll

if TYPE_CHECKING:
    from sim.scenario.proposal import Proposal
    from sim.world import Layout, World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Flags = NDArray[np.bool_]

_STATED = {"against": AGAINST, "for": FOR, "abstain": ABSTAIN}
_CIRCULATING = [a.index for a in WORLD_ACCOUNTS if a.counted in (Counted.CIRCULATING, Counted.FLOAT)]


def take_snapshots(desk: Desk) -> None:
    """Read the roll of every proposal whose delay ends between this noon and the next."""
    proposals, noon = desk.state.proposals, desk.now(PROPOSE)
    pending = places(proposals.state == ProposalState.PENDING)
    snapshot = proposals.snapshot[pending]
    rows, slots = at = among(pending, (snapshot >= noon) & (snapshot < noon + SECONDS_PER_DAY))
    if not rows.size:
        return
    voters = Voters.now(desk, rows)
    rolls = _rolls(desk, at, voters)
    desk.state.rolls.update(zip(zip(rows.tolist(), slots.tolist(), strict=True), rolls, strict=True))
    proposals.supply[at] = desk.world.holding.gopen_supply[rows]
    proposals.quorum_bps[at] = desk.rule("quorum", rows)
    for gateway, i, slot in desk.witnessed(at):
        place = rows[i], slot
        supply, quorum = int(proposals.supply[place]), int(proposals.quorum_bps[place])
        electorate = Electorate(supply, quorum, ballots(desk, rolls[i]))
        gateway.snapshot(slot, int(proposals.snapshot[place]), electorate)


def cast(desk: Desk) -> None:
    """Cast the votes of every proposal that is open for the first time."""
    proposals, now = desk.state.proposals, desk.now(VOTE)
    pending = places(proposals.state == ProposalState.PENDING)
    is_open = (proposals.snapshot[pending] < now) & (now <= proposals.deadline[pending])
    rows, slots = at = among(pending, is_open)
    if not rows.size:
        return
    rolls = [desk.state.rolls[place] for place in zip(rows.tolist(), slots.tolist(), strict=True)]
    columns, power, way = of_rolls(rolls)
    tally = {s: np.where(way == s, power, 0).sum(axis=1) for s in (AGAINST, FOR, ABSTAIN)}
    proposals.for_votes[at] = tally[FOR]
    proposals.against_votes[at] = tally[AGAINST]
    proposals.abstain_votes[at] = tally[ABSTAIN]
    proposals.state[at] = ProposalState.ACTIVE
    votes = (power > 0) & (way >= 0)
    of, voter = np.nonzero(votes)
    _remember(desk, rows, of, columns[of, voter])
    desk.did("vote", rows[of], columns[of, voter])
    for gateway, i, slot in desk.witnessed(at):
        gateway.cast(slot, now, ballots(desk, rolls[i]))
    counts = (votes.sum(axis=1), tally[FOR], tally[AGAINST], tally[ABSTAIN])
    told = (values.tolist() for values in (rows, slots, *counts))
    for row, slot, voters, for_, against, abstain in zip(*told, strict=True):
        desk.tell(
            row, slot, desk.topic(row, slot), "voted", timestamp=now, voters=voters,
            for_gwei=for_, against_gwei=against, abstain_gwei=abstain,
        )  # fmt: skip


def _remember(desk: Desk, rows: Int, of: Int, columns: Int) -> None:
    """Keep who voted on the last proposal of each run: of two of a day the later one, by place and column of votes."""
    desk.state.voted_last[rows] = False
    is_last = np.append(rows[1:] != rows[:-1], True)[of]
    desk.state.voted_last[rows[of[is_last]], columns[is_last]] = True


def ballots(desk: Desk, roll: Roll) -> tuple[Ballot, ...]:
    """Return the votes of a roll as ballots, large voters one by one."""
    cutoff = int(desk.economy.scenario.chain.vote_cutoff.value)
    voters = []
    each = (roll.columns.tolist(), roll.power.tolist(), roll.support.tolist())
    for column, power, support in zip(*each, strict=True):
        name, index = desk.label(column).split("/")
        voters.append((name, int(index), power, support if support >= 0 else None))
    return group_ballots(voters, cutoff)


def _rolls(desk: Desk, at: Places, voters: Voters) -> list[Roll]:
    """Return what the voters of each proposal will do."""
    turnout, direction = _draws(desk, at, voters)
    votes = _turns_out(desk, at, voters, turnout)
    support = np.where(votes, _direction(desk, at, voters, direction), np.int8(-1))
    small = np.where(votes, voters.of_small, 0).sum(axis=1)
    each = (small.tolist(), _circulating(desk.world, at[0]).tolist(), voters.counts.tolist())
    return [
        Roll(voters.columns[i, :n], voters.power[i, :n], support[i, :n], small_votes, circulating)
        for i, (small_votes, circulating, n) in enumerate(zip(*each, strict=True))
    ]


def _draws(desk: Desk, at: Places, voters: Voters) -> tuple[Float, Float]:
    """Return the uniforms for turnout and direction, (places, voters); the day of the proposal is the key."""
    world, u64 = desk.world, np.uint64
    runs, days = world.runs[at[0]], desk.state.proposals.submitted_day[at]
    stream, agents = Decision.VOTE_TURNOUT.value[0], _agent_words(world.layout)[voters.columns]
    turnout, direction = np.empty(agents.shape), np.empty(agents.shape)
    kernel.draw(
        u64(desk.economy.seed), u64(stream), runs.astype(u64), days.astype(u64), agents, turnout, direction
    )
    return turnout, direction


@cache
def _agent_words(layout: Layout) -> NDArray[np.uint64]:
    """Return the agent word of each column: class code and index within the class."""
    return np.concatenate(
        [(draws.CLASS_CODES[name] << 24) | np.arange(count, dtype=np.uint64) for name, count in layout.counts]
    )


def _turns_out(desk: Desk, at: Places, voters: Voters, draw: Float) -> Flags:
    """Return which voters vote, bool (places, voters)."""
    state, economy = desk.state, desk.economy
    terms = economy.scenario.governance.turnout
    proposal = economy.scenario.proposal
    salience = float(proposal.salience) if proposal is not None else 0.0
    run = at[0][:, None]
    chance = vote_probability(
        voters.power, base=float(terms.base.value), stake_slope=float(terms.stake_slope.value),
        habit=float(terms.habit.value), voted_before=state.voted_last[run, voters.columns],
        salience_slope=float(terms.salience_slope.value),
        salience=np.where(desk.is_own(at), salience, 0.0)[:, None],
    )  # fmt: skip
    core = state.core[run, voters.columns]
    return turns_out(chance, draw, core, _interest(desk, at[0], voters.columns, core))


def _interest(desk: Desk, rows: Int, columns: Int, core: Flags) -> Float:
    """Return what is left of the voters' interest: a delegate's is whole until it leaves, (places, voters)."""
    decay = float(desk.economy.scenario.governance.turnout.decay.value)
    interest = np.full(columns.shape, yearly(decay, desk.world.day))
    delegates = desk.world.layout.slice("delegates")
    of, voter = np.nonzero((columns >= delegates.start) & (columns < delegates.stop))
    is_there = desk.state.leaves_on[rows[of], columns[of, voter] - delegates.start] > desk.world.day
    interest[of, voter] = np.where(core[of, voter], 1.0, is_there)
    return interest


def _direction(desk: Desk, at: Places, voters: Voters, draw: Float) -> NDArray[np.int8]:
    """Return which way each voter votes if it does, int8 (places, voters)."""
    follows = draw < float(desk.economy.scenario.governance.routine.consensus.value)
    tendency = desk.state.proposals.tendency[at] != 0
    support = np.where(follows == tendency[:, None], FOR, AGAINST).astype(np.int8)
    proposal = desk.economy.scenario.proposal
    if proposal is not None:
        for i in np.flatnonzero(desk.is_own(at)).tolist():
            support[i] = _own_way(desk, proposal, at[0][i], voters.columns[i], voters.power[i], draw[i])
    return support


def _own_way(
    desk: Desk, proposal: Proposal, row: int, columns: Int, power: Int, draw: Float
) -> NDArray[np.int8]:
    """Return which way a run's voters vote on the scenario's proposal, int8 (voters,)."""
    payoff = _represented(desk, row, proposal.votes.payoffs)[columns] / np.maximum(power, 1)
    for_it = in_favour(payoff, float(proposal.votes.direction.noise), draw)
    support = np.where(for_it, FOR, AGAINST).astype(np.int8)
    for name, choice in proposal.votes.stated.items():
        own = desk.world.layout.slice(name)
        support[(columns >= own.start) & (columns < own.stop)] = _STATED[choice]
    return support


def _represented(desk: Desk, row: int, payoffs: dict[str, float]) -> Float:
    """Return the sum of tokens times their owner's payoff, in percent, that each agent votes with, (agents,)."""
    own = np.zeros(desk.world.layout.agents)
    for name, percent in payoffs.items():
        own[desk.world.layout.slice(name)] = percent
    owner, voter = desk.state.delegations.of_run(row)
    weighted = own[owner] * desk.world.agent_balance("wrapped")[row, owner]
    return np.asarray(np.bincount(voter, weights=weighted, minlength=own.size), np.float64)


def _circulating(world: World, rows: Int) -> Int:
    """Return the circulating supply of runs by the books, which are the balances or the day fails, (places,)."""
    of_world = world.balances[rows[:, None], _CIRCULATING].sum(axis=1)
    return np.asarray(of_world + world.expected_agent[rows].sum(axis=1))
