"""The emission phase: initial holders, airdrops, programmes that pay exactly their budget, and a pool that is dry."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from sim import payouts

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

ECONOMY = small.economy(days=200)
GWEI = small.GWEI
PROGRAMMES = {"contributors": 1_000_000, "builders": 500_000, "stakers": 1_500_000, "operators": 500_000}


def emitting(day, pool=10**18, **weights):
    world = small.stand(ECONOMY, day)
    small.give(world, "pool.community.l2", pool)
    world.usage.contributor_weights[:] = weights.get("contributors", 1)
    world.usage.builder_weights[:] = weights.get("builders", 1)
    return world


def paid(world, flow):
    return world.journal.flow_total(flow, world.count).tolist()


def test_a_month_pays_exactly_its_budget():
    """October 8 to November 7, 2025: 31 days."""
    world = emitting(30)
    sums = {"E2": 0, "E3": 0}
    for day in range(30, 61):
        small.run_phase_of(small.turn(world, day), ECONOMY, "emission")
        assert len(set(paid(world, "E2"))) == 1
        for flow in sums:
            sums[flow] += paid(world, flow)[0]
    assert sums == {"E2": 1_500_000 * GWEI, "E3": 1_500_000 * GWEI}
    assert (world.world_balance("distributor") == sums["E2"]).all()
    earned = world.earned_by("contributors").sum(axis=1), world.earned_by("builders").sum(axis=1)
    assert earned[0].tolist() == [1_000_000 * GWEI] * 3
    assert earned[1].tolist() == [500_000 * GWEI] * 3
    payouts.bring_forward(world)
    assert (world.usage.cumulative_earned == world.earned).all()
    assert (world.income == world.earned).all()


def test_the_order_of_a_poor_pool():
    """A day of a 30-day month costs 1/30 of each budget; the pool holds contributors' part and 7 gwei."""
    world = emitting(0)
    small.turn(world, 1)
    part = 1_000_000 * GWEI * 2 // 30 - 1_000_000 * GWEI // 30
    small.give(world, "pool.community.l2", [part + 7, part - 1, 0])
    small.run_phase_of(world, ECONOMY, "emission")
    assert world.earned_by("contributors").sum(axis=1).tolist() == [part, part - 1, 0]
    assert world.earned_by("builders").sum(axis=1).tolist() == [7, 0, 0]
    assert paid(world, "E3") == [0, 0, 0]
    assert world.world_balance("pool.community.l2").tolist() == [0, 0, 0]
    assert world.holding.emitted.tolist() == [part + 7, part - 1, 0]


def test_earners_by_their_weights_and_nobody_at_all():
    count = small.stand(ECONOMY, 1).layout.count("contributors")
    weights = np.zeros((3, count), np.int64)
    weights[0, :2] = (1, 3)
    weights[2, 1] = 5
    world = emitting(1, contributors=weights, builders=0)
    small.run_phase_of(world, ECONOMY, "emission")
    part = 1_000_000 * GWEI * 2 // 30 - 1_000_000 * GWEI // 30
    got = world.earned_by("contributors")
    assert got[0, :3].tolist() == [part // 4, part - part // 4, 0]
    assert not got[1].any()
    assert got[2, 1] == part
    assert paid(world, "E2") == [part, 0, part]


def test_operators_get_their_shortfall_up_to_the_budget():
    world = emitting(1)
    budget = 500_000 * GWEI * 2 // 30 - 500_000 * GWEI // 30
    world.usage.operator_shortfall = np.array([5, 0, 10**18])
    small.run_phase_of(world, ECONOMY, "emission")
    assert paid(world, "E4") == [5, 0, budget]
    assert world.world_balance("operators_pot").tolist() == [5, 0, budget]


def test_what_is_off_pays_nothing():
    economy = small.economy("emission.monthly.stakers={at: {2025-10-01: 1_500_000 OPEN}}", days=60)
    first = (date(2025, 10, 1) - economy.scenario.start).days
    for day, some in ((first - 1, False), (first, True)):
        world = small.stand(economy, day)
        small.give(world, "pool.community.l2", 10**18)
        small.run_phase_of(world, economy, "emission")
        assert bool(paid(world, "E3")[0]) is some


def test_a_vote_changes_the_budget_of_one_run():
    world = emitting(1)
    world.governed.write("emission.monthly.stakers", (0,), np.array([False, True, False]))
    small.run_phase_of(world, ECONOMY, "emission")
    assert [bool(x) for x in paid(world, "E3")] == [True, False, True]


def test_initial_holders_and_the_first_airdrop_on_day_0():
    world = small.stand(ECONOMY, 0)
    small.give(world, "pool.community.l1", [10**17, 45_000_000 * GWEI, 0])
    small.run_phase_of(world, ECONOMY, "emission")
    # the pool of run 1 has 5 M left for an airdrop of 10 M; initial holders come first
    assert paid(world, "E1") == [50_000_000 * GWEI, 45_000_000 * GWEI, 0]
    assert world.holding.airdropped.sum(axis=1).tolist() == [10_000_000 * GWEI, 5_000_000 * GWEI, 0]
    assert world.agent_balance("wallet.l1", "holders").sum(axis=1).tolist() == paid(world, "E1")
    largest = world.holding.baseline_holding[0].argmax()
    assert world.agent_balance("wallet.l1", "holders")[0].argmax() == largest


def test_the_second_airdrop_comes_on_its_date_and_begins_the_curve_anew():
    day = (date(2026, 3, 8) - ECONOMY.scenario.start).days
    world = small.stand(ECONOMY, day)
    small.give(world, "pool.community.l1", 10**17)
    world.holding.days_since_receipt[:] = 181
    before = world.holding.airdropped.copy()
    small.run_phase_of(world, ECONOMY, "emission")
    assert (world.holding.airdropped - before).sum(axis=1).tolist() == [15_000_000 * GWEI] * 3
    assert world.holding.days_since_receipt.tolist() == [0, 0, 0]
    small.run_phase_of(small.turn(world, day + 1), ECONOMY, "emission")
    assert paid(world, "E1") == [0, 0, 0]


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_budgets_are_those_of_the_scenario(programme):
    world = small.stand(ECONOMY, 1)
    assert world.governed.read(f"emission.monthly.{programme}").tolist() == [PROGRAMMES[programme] * GWEI] * 3
