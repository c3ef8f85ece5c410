"""The staking phase: what the pot pays, that a dry one pays nothing, and when unbonded stake is free."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

from sim.payouts import bring_income_forward

ECONOMY = small.economy(days=60)
GWEI = small.GWEI


@pytest.fixture
def world():
    return small.stand(ECONOMY, 9)


def stakes(world, **by_class):
    for name, amounts in by_class.items():
        small.give(world, "stake", amounts, name)


def test_the_pot_pays_a_thirtieth_by_stake_and_keeps_what_floors_leave(world):
    """300 // 30 = 10, over stakes of 1 : 2 : 4: floor(10/7) = 1, floor(20/7) = 2, floor(40/7) = 5; 2 stay."""
    small.give(world, "staking_rewards", [300, 29, 0])
    stakes(world, team=100, investors=200, builders=[[400, 0, 0]] * 3)
    small.run_phase_of(world, ECONOMY, "staking")
    assert [int(world.agent_balance("stake", name)[0, 0]) for name in ("team", "investors", "builders")] == [
        101, 202, 405,
    ]  # fmt: skip
    assert world.holding.staking_paid.tolist() == [8, 0, 0]
    assert world.world_balance("staking_rewards").tolist() == [292, 29, 0]
    assert not world.income.any(), "rewards are income when they are brought forward"
    for _ in range(2):
        bring_income_forward(world)
        assert world.income.sum(axis=1).tolist() == [8, 0, 0]
    assert world.income[0, world.layout.slice("builders")].tolist() == [5, 0, 0]


def test_a_pot_too_large_for_estimates_is_divided_exactly(world):
    """A thirtieth of 3.3 million OPEN is 2^50 + 1 gwei, over stakes of 1 : 2: floors of a third and of two."""
    due = 2**50 + 1
    small.give(world, "staking_rewards", 30 * due)
    stakes(world, team=1, investors=2)
    small.run_phase_of(world, ECONOMY, "staking")
    paid = world.agent_balance("stake", "team")[0, 0] - 1, world.agent_balance("stake", "investors")[0, 0] - 2
    assert paid == (due // 3, 2 * due // 3)
    assert world.holding.staking_paid.tolist() == [due // 3 + 2 * due // 3] * 3
    bring_income_forward(world)
    assert world.income[0].sum() == due // 3 + 2 * due // 3


def test_a_dry_pot_pays_nothing(world):
    stakes(world, team=10**15)
    small.run_phase_of(world, ECONOMY, "staking")
    assert not world.holding.staking_paid.any()
    assert (world.agent_balance("stake", "team") == 10**15).all()
    assert "S2" not in {flow for flow, _, _ in world.journal.today}


def test_nobody_stakes_and_the_pot_waits(world):
    small.give(world, "staking_rewards", 10**15)
    small.run_phase_of(world, ECONOMY, "staking")
    assert (world.world_balance("staking_rewards") == 10**15).all()


def test_the_pot_drains_by_the_same_part_of_what_is_left(world):
    small.give(world, "staking_rewards", 30**3)
    stakes(world, team=1)
    left = []
    for day in range(9, 12):
        small.run_phase_of(small.turn(world, day), ECONOMY, "staking")
        left.append(int(world.world_balance("staking_rewards")[0]))
    assert left == [26_100, 25_230, 24_389]  # 29/30 of it each day


def test_released_stake_is_free_on_its_day_and_not_before(world):
    amounts = np.zeros((3, world.layout.agents), np.int64)
    amounts[1, world.layout.slice("team")] = 40
    small.give(world, "unbonding", amounts, "*")
    world.holding.unbonding.push(12, amounts)
    for day in (9, 10, 11):
        small.run_phase_of(small.turn(world, day), ECONOMY, "staking")
        assert not world.agent_balance("wallet.l2").any()
    small.run_phase_of(small.turn(world, 12), ECONOMY, "staking")
    assert world.agent_balance("wallet.l2", "team").tolist() == [[0], [40], [0]]
    assert not world.agent_balance("unbonding").any()


@pytest.mark.parametrize(("taste", "days"), [(0.39, 365), (0.41, 7)])
def test_the_lock_class_sets_the_delay(taste, days):
    """40 % lock long: a taste below 0.4 waits a year, above it a week."""
    world = small.stand(ECONOMY, 30)
    world.holding.taste[:, world.layout.slice("team")] = taste
    # somebody who wants 40 % staked holds everything in stake
    stakes(world, team=100_000 * GWEI)
    small.run_phase_of(world, ECONOMY, "holders")
    out = 60_000 * GWEI
    assert world.agent_balance("unbonding", "team").tolist() == [[out]] * 3
    assert sorted(world.holding.unbonding.due) == [30 + days]
    small.run_phase_of(small.turn(world, 30 + days), ECONOMY, "staking")
    assert world.agent_balance("wallet.l2", "team").tolist() == [[out]] * 3


def test_a_vote_may_have_changed_the_delay_in_one_run():
    world = small.stand(ECONOMY, 30)
    world.holding.taste[:, world.layout.slice("team")] = 0.5
    world.governed.write("staking.locks.flexible", (20 * 86_400,), np.array([False, True, False]))
    stakes(world, team=100_000 * GWEI)
    small.run_phase_of(world, ECONOMY, "holders")
    assert sorted(world.holding.unbonding.due) == [37, 50]
    small.run_phase_of(small.turn(world, 37), ECONOMY, "staking")
    assert (world.agent_balance("wallet.l2", "team")[:, 0] > 0).tolist() == [True, False, True]
