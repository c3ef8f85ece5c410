"""OTE-1: the golden digits on every engine that is installed, the exact money, and draws that anyone can check."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from sim.draws import CLASS_CODES, Decision, philox_reference
from sim.engine_bench import ote1, reference
from sim.engine_bench.contestants import PEERS
from sim.engine_bench.money import POOL_GWEI, RESERVE_GWEI, Holdings
from sim.engine_bench.setup import (
    GOLDEN_AGENTS,
    GOLDEN_BALANCE,
    GOLDEN_DAYS,
    GOLDEN_PRICE,
    GOLDEN_TURNOUT,
    Population,
    conformance_draws,
    population,
)
from sim.kernels import ote1 as kernels
from sim.kernels.ote1_state import no_draws

MORE_DIGITS = 26422294.17118
SLOW = {"cadcad_dict", "cadcad_merged", "mesa", "agentpy"}
"""Peers that take seconds for the golden run."""
FLOATS = 1e-12
"""Residual that floats may have, relative."""


@pytest.fixture(scope="module")
def golden():
    return population(GOLDEN_AGENTS), conformance_draws(GOLDEN_AGENTS, GOLDEN_DAYS)


def assert_golden(outcome):
    assert f"{outcome.price_usd:.11f}" == str(GOLDEN_PRICE)
    assert f"{outcome.turnout:.10f}" == str(GOLDEN_TURNOUT)
    assert f"{outcome.balance:.2f}" == str(GOLDEN_BALANCE)
    assert outcome.balance == pytest.approx(MORE_DIGITS, abs=1e-4)


class TestGolden:
    def test_kernel(self, golden):
        people, draws = golden
        outcome = ote1.simulate(people, GOLDEN_DAYS, draws)
        assert_golden(outcome)
        assert outcome.residual == 0

    def test_integer_reference(self, golden):
        people, draws = golden
        outcome = reference.reference_outcome(people, GOLDEN_DAYS, draws)
        assert_golden(outcome)
        assert outcome.residual == 0

    @pytest.mark.parametrize(
        "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in PEERS]
    )
    def test_peer(self, golden, name):
        people, draws = golden
        peer = PEERS[name]
        if not peer.installed:
            pytest.skip(f"needs {peer.install}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own
            outcome = peer.prepare(people, GOLDEN_DAYS, draws)()
        assert_golden(outcome)
        assert outcome.residual < FLOATS

    def test_setup_is_drawn_in_the_stated_order(self, golden):
        people, draws = golden
        rng = np.random.Generator(np.random.Philox(7))
        assert people.allocation.sum() == pytest.approx(6e8)
        assert np.argmax(people.allocation) == np.argmax(rng.pareto(1.5, GOLDEN_AGENTS))
        assert np.array_equal(people.cliff, rng.choice([0, 90, 180, 365], GOLDEN_AGENTS))
        assert np.array_equal(people.duration, rng.choice([1, 365, 730, 1095], GOLDEN_AGENTS))
        both = np.random.Generator(np.random.Philox(99)).random((2, GOLDEN_DAYS + 1, GOLDEN_AGENTS))
        assert np.array_equal(both, [draws.sales, draws.votes])


class TestDraws:
    """The kernel's uniforms are words 1 and 0 of the block (agent, day, run, stream) under the seed."""

    SEED, RUN, DAY = 0x0123_4567_89AB_CDEF, 5, 30

    def block(self, agent):
        counter = (CLASS_CODES[ote1.CLASS] << 24 | agent, self.DAY, self.RUN, Decision.OTE1_SELL.value[0])
        return philox_reference(counter, (self.SEED & 0xFFFFFFFF, self.SEED >> 32))

    @pytest.mark.parametrize("runs", [(RUN,), (1, RUN)], ids=["alone", "batch"])
    def test_sales(self, runs):
        """Who holds 2^40 gwei and sells all that the uniform says shows the word."""
        count = 20
        people = Population(*(np.full(count, value) for value in (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)))
        simulation = ote1.Simulation(people, self.DAY, runs, seed=self.SEED)
        simulation.state.balance[:] = 2**40
        kernels.advance(
            simulation._agents, simulation.state, simulation.record, simulation._key, no_draws(),
            ote1.RULES, self.DAY, self.DAY,
        )  # fmt: skip
        sold = 2**40 - simulation.state.balance[-1]
        assert sold.tolist() == [(2 * self.block(agent)[1] + 1) << 7 for agent in range(count)]

    def test_votes(self):
        simulation = ote1.Simulation(population(20), 1, (self.RUN,), seed=self.SEED)
        key, out = simulation._key, np.empty(20)
        kernels.vote_uniforms(out, key, key.runs[0], np.uint64(self.DAY), key.agent)
        assert out.tolist() == [(self.block(agent)[0] + 0.5) / 2**32 for agent in range(20)]

    def test_both_decisions_share_a_block(self):
        assert Decision.OTE1_SELL.value[0] == Decision.OTE1_VOTE.value[0]


class TestMoney:
    @pytest.mark.parametrize("duration", [1, 2, 7, 365, 730, 1095, 1461, 40_000])
    def test_release_is_the_difference_of_exact_floors(self, duration):
        """Every day of the schedule, before and after it, for the cap, odd amounts and less than a gwei a day."""
        totals = [10**18, 10**18 - 1, duration - 1, duration + 1, 1, 0, 123_456_789_012_345_678]
        whole, rest = np.divmod(np.array(totals, np.int64), duration)
        fraction = np.array([-((-int(r) << 64) // duration) for r in rest], np.uint64)
        cliff, durations = np.full(len(totals), 3), np.full(len(totals), duration)
        out = np.empty(len(totals), np.int64)
        days = range(duration + 7) if duration < 2000 else [0, 1, 3, 4, 5, 20_000, duration + 2, duration + 3]
        for day in days:
            kernels._release(out, whole, fraction, cliff, durations, day)
            before, now = (min(max(d - 3, 0), duration) for d in (day - 1, day))
            assert out.tolist() == [t * now // duration - t * before // duration for t in totals]

    def test_the_cap_in_one_hand(self):
        """An agent with the cap of 10^9 tokens: nothing wraps, nothing is lost."""
        people = Population(*(np.array([value]) for value in (1e9, 0.0, 1.0, 0.999, 1.0, -4.0)))
        simulation = ote1.Simulation(people, 40)
        simulation.run()
        found = reference.reference(people, 40)
        assert simulation.residual_gwei().tolist() == [0]
        assert simulation.state.balance[0].tolist() == found.balance.tolist()
        assert (found.balance >= 0).all()

    def test_remainder_of_a_payout_returns_to_the_reserve(self):
        people = population(7)
        simulation = ote1.Simulation(people, 3)
        simulation.run()
        vested = int(Holdings.of(people).vested(3).sum())
        held, state = int(simulation.state.balance.sum()), simulation.state
        assert held + int(state.pool[0]) + int(state.reserve[0]) == vested + POOL_GWEI + RESERVE_GWEI
        assert 0 <= int(state.reserve[0]) - (RESERVE_GWEI - 3 * ote1.REVENUE_GWEI) < 3 * 7

    def test_no_vote_no_turnout(self):
        assert np.isnan(ote1.simulate(population(5), 29).turnout)
        assert 0 <= ote1.simulate(population(5), 30).turnout <= 1


def test_nothing_is_compiled_on_import_and_compiled_code_is_cached():
    code = (
        "from sim.engine_bench import ote1; from sim.kernels import ote1 as k; "
        "kernels = (k.advance, k.pay, k.begin_blocks, k.vote_uniforms, k.count_votes); "
        "print([len(f.signatures) for f in kernels], all(f._cache.cache_path for f in kernels))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ") == ["[0, 0, 0, 0, 0", "True\n"]
