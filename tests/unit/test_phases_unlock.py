"""The unlock's phase: what each bucket releases, to whom, and how much the venue needs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sim.phases.unlock import unlocked_today

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

GWEI = small.GWEI
MILLION = 10**6 * GWEI
ECONOMY = small.economy(days=420)
FIRST_INSIDERS = 395
"""Day of 2026-10-08, month 13."""


def unlocked(day):
    world = small.stand(ECONOMY, day)
    small.run_phase_of(world, ECONOMY, "unlock")
    return world


def test_the_parts_at_tge():
    world = unlocked(0)
    assert world.world_balance("pool.community.l1").tolist() == [145_500_000 * GWEI] * 3
    assert world.world_balance("pool.ecosystem.l1").tolist() == [20_000_000 * GWEI] * 3
    assert world.world_balance("vesting.community").tolist() == [371_600_000 * GWEI] * 3
    assert not world.agent_balance("wallet.l1").any()


def test_the_venue_gets_what_its_depth_needs_and_the_market_maker_the_rest():
    """80,000 USD sold at 0.60 USD, less 0.1 % fee, are 133,200 OPEN; they lower the price by 2 % of a pool of x OPEN
    where (x / (x + 133,200))^2 = 0.98."""
    world = unlocked(0)
    venue, maker = world.world_balance("venue"), world.world_balance("market_maker")
    assert (venue + maker == 50 * MILLION).all()
    assert not world.world_balance("vesting.liquidity").any()
    x = venue / GWEI
    assert (x / (x + 133_200)) ** 2 == pytest.approx(np.full(3, 0.98), rel=1e-9)
    assert world.market.pool_micro_usd / 1e6 / x == pytest.approx(np.full(3, 0.60), rel=1e-9)


def test_a_venue_that_lacks_nothing_gets_nothing():
    world = small.stand(ECONOMY, 0)
    small.give(world, "venue", world.market.venue_target - [0, 1, 10])
    small.run_phase_of(world, ECONOMY, "unlock")
    assert (world.world_balance("venue") == world.market.venue_target).all()
    assert world.world_balance("market_maker").tolist() == [50 * MILLION, 50 * MILLION - 1, 50 * MILLION - 10]


def test_a_month_releases_the_difference_of_floors():
    """371.6 M / 48 is no whole number of gwei: the first instalment is the floor, later ones differ by one."""
    world = unlocked(30)
    assert world.world_balance("pool.community.l1").tolist() == [371_600_000 * GWEI // 48] * 3
    second = 371_600_000 * GWEI * 2 // 48 - 371_600_000 * GWEI // 48
    assert unlocked_today(ECONOMY, "community", 61) == second == 371_600_000 * GWEI // 48 + 1
    assert unlocked_today(ECONOMY, "ecosystem", 30) == 80_000_000 * GWEI // 48
    for role in ("community", "ecosystem", "liquidity", "investors", "team"):
        assert unlocked_today(ECONOMY, role, 29) == 0


def test_insiders_get_their_first_part_after_the_cliff_without_catching_up():
    world = unlocked(FIRST_INSIDERS)
    for role, allocation in (("investors", 182_900_000), ("team", 150_000_000)):
        paid = allocation * GWEI // 36
        parts = world.agent_balance("wallet.l1", role)
        assert parts.sum(axis=1).tolist() == [paid] * 3
        assert parts.min() > 0
        assert world.income[:, world.layout.slice(role)].sum(axis=1).tolist() == [paid] * 3
    for day in range(FIRST_INSIDERS):
        assert unlocked_today(ECONOMY, "investors", day) == 0


def test_insiders_divide_by_their_weights():
    economy = small.economy(agents=900, days=420)
    world = small.stand(economy, FIRST_INSIDERS)
    count = world.layout.count("investors")
    assert count > 3
    world.holding.investor_weights = np.tile(np.arange(1, count + 1), (3, 1))
    small.run_phase_of(world, economy, "unlock")
    parts = world.agent_balance("wallet.l1", "investors")[0]
    paid = 182_900_000 * GWEI // 36
    exact = paid * np.arange(1, count + 1) / (count * (count + 1) / 2)
    assert np.abs(parts - exact).max() <= 2  # floats of the test; largest remainder is within one gwei
    assert int(parts.sum()) == paid


def test_nothing_on_other_days():
    world = unlocked(17)
    assert not world.journal.today
