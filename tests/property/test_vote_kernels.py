"""Kernels of votes: integer for integer and bit for bit the formulas and the registry of draws."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.turnout import SELF, UNDELEGATED, voting_power
from sim import draws
from sim.draws import Decision
from sim.governance.voters import Voters, of_rolls
from sim.kernels import votes
from sim.picks import Picks
from sim.states.governance import Delegations, GovernanceState, Roll
from sim.world import Layout

CAP = 10**18


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.5]))
def test_voters_are_the_formulas(seed, wrapping):
    draw = np.random.default_rng(seed)
    runs, agents, delegates = int(draw.integers(1, 5)), int(draw.integers(4, 300)), 3
    layout = Layout.of({"holders": agents - delegates, "delegates": delegates})
    first = layout.slice("delegates").start
    wrapped = np.where(
        draw.random((runs, agents)) < wrapping, draw.integers(0, CAP // 300, (runs, agents)), 0
    )
    to = draw.choice([SELF, UNDELEGATED, 0, 1, 2], (runs, agents)).astype(np.int32)
    small, rows = draw.random((runs, agents)) < 0.5, draw.integers(0, runs, int(draw.integers(1, 7)))
    state = SimpleNamespace(delegations=Delegations.of(to, small, first))
    world = SimpleNamespace(layout=layout, agent_balance=lambda account: wrapped)
    voters = Voters.now(SimpleNamespace(state=state, world=world), rows)
    power = np.array([voting_power(wrapped[row], to[row], first) for row in rows])
    of_small = np.array([voting_power(np.where(small, wrapped, 0)[row], to[row], first) for row in rows])
    able = [np.flatnonzero(row) for row in power]
    assert voters.counts.tolist() == [len(columns) for columns in able]
    for name, expected in (("power", power), ("of_small", of_small)):
        assert getattr(voters, name).shape == (len(rows), max(1, *voters.counts, 1))
        for place, columns in enumerate(able):
            assert voters.columns[place].tolist() == columns.tolist() + [0] * (
                voters.columns.shape[1] - columns.size
            )
            listed = getattr(voters, name)[place]
            assert listed[: columns.size].tolist() == expected[place, columns].tolist()
            assert not listed[columns.size :].any()
    delegated = np.empty(runs, np.int64)
    votes.delegated(wrapped, state.delegations.is_owner, delegated)
    assert delegated.tolist() == np.where(to == UNDELEGATED, 0, wrapped).sum(axis=1).tolist()
    assert delegated[rows].tolist() == power.sum(axis=1).tolist()


def test_voters_draws_are_those_of_the_registry():
    count, runs, days, seed, u64 = 20, [7, 9], [300, 2], 2**63 + 12345, np.uint64
    able = np.array([[0, 3, 19], [5, 0, 0]])
    words = (draws.CLASS_CODES["team"] << 24) | able.astype(u64)
    turnout, direction = np.empty(able.shape), np.empty(able.shape)
    stream = Decision.VOTE_TURNOUT.value[0]
    votes.draw(u64(seed), u64(stream), np.array(runs, u64), np.array(days, u64), words, turnout, direction)
    for decision, got in ((Decision.VOTE_TURNOUT, turnout), (Decision.VOTE_DIRECTION, direction)):
        for place, (run, day) in enumerate(zip(runs, days, strict=True)):
            whole = draws.uniform(seed, decision, np.array([run]), day, "team", count)[0]
            assert got[place].tolist() == whole[able[place]].tolist()


def test_rolls_stand_in_rows_that_end_with_zeros():
    def roll(columns, power, support):
        return Roll(np.array(columns, np.int64), np.array(power, np.int64), np.array(support, np.int8), 0, 0)

    columns, power, support = of_rolls([roll([4, 7], [9, 8], [-1, 2]), roll([], [], []), roll([6], [5], [1])])
    assert columns.tolist() == [[4, 7], [0, 0], [6, 0]]
    assert power.tolist() == [[9, 8], [0, 0], [5, 0]]
    assert support.tolist() == [[-1, 2], [0, 0], [1, 0]]
    assert of_rolls([roll([], [], [])])[1].tolist() == [[0]]


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 60))
def test_delegated_gopen_follows_wraps_and_unwraps(seed, runs, agents):
    draw = np.random.default_rng(seed)
    wrapped, is_owner = draw.integers(0, 10**12, (runs, agents)), draw.random((runs, agents)) < 0.4
    followed, counted = np.empty(runs, np.int64), np.empty(runs, np.int64)
    votes.delegated(wrapped, is_owner, followed)
    state = SimpleNamespace(delegations=SimpleNamespace(is_owner=is_owner), gopen_delegated_gwei=followed)
    for sign in (1, -1):
        where = draw.integers(0, runs * agents, int(draw.integers(0, 40)))
        amounts = draw.integers(0, 10**9, where.size)
        np.add.at(wrapped.reshape(-1), where, sign * amounts)
        GovernanceState.follow(state, Picks(where, amounts), sign)
    votes.delegated(wrapped, is_owner, counted)
    assert followed.tolist() == counted.tolist()
