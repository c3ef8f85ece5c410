"""The fused kernel of OTE-1 equals plain numpy, integer for integer, however the runs are split."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine_bench import ote1
from sim.engine_bench.reference import reference
from sim.engine_bench.setup import conformance_draws, population
from sim.kernels.ote1 import TILE

SIZES = st.one_of(st.integers(1, 70), st.sampled_from([TILE - 1, TILE, TILE + 1, 2 * TILE + 3]))
RUNS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True)


def assert_run(simulation, row, expected):
    state = simulation.state
    assert np.array_equal(state.balance[row], expected.balance)
    money = (int(state.pool[row]), float(state.usd[row]), int(state.reserve[row]), int(state.payout[row]))
    assert money == (expected.pool, expected.usd, expected.reserve, 0)
    last_vote = simulation.days // 30 * 30
    assert last_vote == 0 or simulation.turnout[last_vote, row] == expected.turnout


@settings(max_examples=15, deadline=None)
@given(SIZES, RUNS, st.integers(1, 65), st.integers(0, 2**64 - 1))
def test_equals_the_reference(agents, runs, days, seed):
    people = population(agents)
    simulation = ote1.Simulation(people, days, runs, seed=seed)
    simulation.run()
    assert simulation.residual_gwei().tolist() == [0] * len(runs)
    for row, run in enumerate(runs):
        assert_run(simulation, row, reference(people, days, run, seed=seed))


@settings(max_examples=10, deadline=None)
@given(SIZES, st.integers(1, 35))
def test_equals_the_reference_with_given_uniforms(agents, days):
    people, draws = population(agents), conformance_draws(agents, days)
    simulation = ote1.Simulation(people, days, (0, 1), given=draws)
    simulation.run()
    for row in (0, 1):
        assert_run(simulation, row, reference(people, days, given=draws))


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 300), RUNS, st.integers(1, 65), st.data())
def test_neither_batch_nor_threads_change_a_run(agents, runs, days, data):
    people = population(agents)
    whole = ote1.Simulation(people, days, runs)
    whole.run(threads=data.draw(st.integers(1, 3)))
    cut = data.draw(st.integers(0, len(runs)))
    for part, first in ((runs[:cut], 0), (runs[cut:], cut)):
        if not part:
            continue
        alone = ote1.Simulation(people, days, part)
        alone.run()
        rows = slice(first, first + len(part))
        assert np.array_equal(alone.state.balance, whole.state.balance[rows])
        assert np.array_equal(alone.turnout, whole.turnout[:, rows], equal_nan=True)
        for mine, theirs in zip(alone.record, whole.record, strict=True):
            assert np.array_equal(mine, theirs[:, rows])
