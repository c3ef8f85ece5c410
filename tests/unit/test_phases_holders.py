"""The holders' phase: the survival curve, insiders, sales ahead of a cliff, and the plan of stake and GOPEN."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.picks import Picks
from sim.scenario.opening import Opening, OpeningRow

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

GWEI = small.GWEI
ECONOMY = small.economy(days=500)
MONTH = 365.25 / 12


def daily(monthly):
    """Daily rate that compounds to a monthly one."""
    return 1 - (1 - monthly) ** (1 / MONTH)


def orders(world, agent_class):
    if agent_class == "holders":
        return world.market.holder_sales
    nothing = np.zeros((world.count, world.layout.count(agent_class)), np.int64)
    return world.market.sell_orders.get(agent_class, nothing)


def ordered(day, economy=ECONOMY, **by_class):
    world = small.stand(economy, day)
    for name, amounts in by_class.items():
        small.give(world, "wallet.l1", amounts, name)
    return world


class TestSales:
    def test_an_airdrop_is_sold_by_the_survival_curve_all_of_an_agents_at_once(self):
        """S(1) = 0.60: about 40 % of agents sell everything within a day, the others sell nothing."""
        economy = small.economy("agents.holders.sell.monthly=0 %", agents=4_000, days=60)
        world = ordered(1, economy, holders=5 * GWEI)
        world.holding.airdropped[:] = 5 * GWEI
        small.run_phase_of(world, economy, "holders")
        sold = orders(world, "holders")
        assert set(sold.ravel().tolist()) == {0, 5 * GWEI}
        assert (sold > 0).mean() == pytest.approx(0.40, abs=0.02)
        assert (world.holding.airdropped == 5 * GWEI - sold).all()
        assert world.holding.days_since_receipt.tolist() == [1, 1, 1]

    @pytest.mark.slow
    def test_after_90_days_a_third_is_kept(self):
        """0.60 * 90^-0.11 = 36.6 %."""
        economy = small.economy("agents.holders.sell.monthly=0 %", agents=4_000, days=100)
        world = ordered(1, economy, holders=5 * GWEI)
        world.holding.airdropped[:] = 5 * GWEI
        for day in range(1, 91):
            small.turn(world, day)
            small.run_phase_of(world, economy, "holders")
        assert (world.holding.airdropped > 0).mean() == pytest.approx(0.60 * 90**-0.11, abs=0.015)

    def test_of_the_rest_a_little_every_day(self):
        """2 % a month of what was not airdropped, floored."""
        world = ordered(400, holders=1_000 * GWEI)
        world.holding.days_since_receipt[:] = 10_000
        small.run_phase_of(world, ECONOMY, "holders")
        assert (orders(world, "holders") == int(1_000 * GWEI * daily(0.02))).all()

    def test_insiders_sell_their_monthly_share_unless_it_was_sold_forward(self):
        economy = small.economy(agents=2_000, days=500)
        world = ordered(200, economy, investors=1_000 * GWEI, team=1_000 * GWEI)
        small.run_phase_of(world, economy, "holders")
        expected = np.where(world.holding.hedged, 0, int(1_000 * GWEI * daily(0.08)))
        assert (orders(world, "investors") == expected).all()
        assert world.holding.hedged.any()
        assert not world.holding.hedged.all()
        assert (orders(world, "team") == int(1_000 * GWEI * daily(0.12))).all()

    @pytest.mark.parametrize(("days_before", "sells"), [(31, False), (30, True), (1, True)])
    def test_traders_sell_ahead_of_the_cliff_and_only_then(self, days_before, sells):
        cliff = 395
        world = ordered(cliff - days_before, traders=1_000 * GWEI)
        small.run_phase_of(world, ECONOMY, "holders")
        sold = orders(world, "traders")
        # 10 % of what they hold in equal parts over 30 days
        assert (sold > 0).all() == sells
        assert sold.max() <= 1_000 * GWEI * 0.10

    def test_who_withdrew_to_sell_sells_what_arrived(self):
        world = ordered(200, contributors=7, builders=8, operators=9, users=10)
        for phase in ("operators", "holders"):
            small.run_phase_of(world, ECONOMY, phase)
        for name, amount in (("contributors", 7), ("builders", 8), ("operators", 9), ("users", 0)):
            assert (orders(world, name) == amount).all(), name


class TestPlan:
    """Team: 40 % staked, 20 % wrapped, every 30 days; a team of one takes part, on day 0 mod 30."""

    TEAM_DAY = 60

    def planned(self, day=TEAM_DAY, economy=ECONOMY, **held):
        world = small.stand(economy, day)
        for name, amount in held.items():
            small.give(world, name.replace("_", "."), amount, "team")
        small.run_phase_of(world, economy, "holders")
        return world

    def of_team(self, world, name):
        return int(world.agent_balance(name, "team")[0, 0])

    def orders_of(self, world, name):
        orders = Picks.joined(getattr(world.bridge, name)).dense(*world.income.shape)
        return int(orders[0, world.layout.slice("team").start])

    def test_stake_and_wrap_out_of_l2(self):
        world = self.planned(wallet_l2=100_000 * GWEI)
        gas = 90_000 + 75_000
        assert self.of_team(world, "stake") == 40_000 * GWEI
        assert self.of_team(world, "wrapped") == 20_000 * GWEI
        assert self.of_team(world, "wallet.l2") == 40_000 * GWEI - gas
        assert world.holding.gopen_supply.tolist() == [20_000 * GWEI] * 3
        assert world.world_balance("gas_vault").tolist() == [gas] * 3
        # what neither is staked nor wrapped is idle on L2 and goes back to L1
        assert self.orders_of(world, "withdraw_orders") == 40_000 * GWEI

    def test_what_is_missing_comes_over_the_bridge(self):
        world = self.planned(wallet_l1=100_000 * GWEI)
        assert self.of_team(world, "stake") == 0
        assert self.orders_of(world, "deposit_orders") == 60_000 * GWEI

    def test_who_does_not_take_part_leaves(self):
        """Who does not has something there if the opening table gave it."""
        nobody = small.economy("agents.team.plan.participate=0 %", days=500)
        world = small.stand(nobody, self.TEAM_DAY)
        for name, amount in (("stake", 50_000 * GWEI), ("wrapped", 30_000 * GWEI)):
            small.give(world, name, amount, "team")
        opening = Opening((OpeningRow("stake", "team", 50_000 * GWEI),))
        small.run_phase_of(world, replace(nobody, opening=opening), "holders")
        assert self.of_team(world, "stake") == 0
        assert self.of_team(world, "unbonding") == 50_000 * GWEI
        assert self.of_team(world, "wrapped") == 0
        assert self.of_team(world, "wallet.l2") == 30_000 * GWEI - 70_000 - 60_000

    def test_too_much_stake_is_unbonded_even_where_gopen_is_missing(self):
        """All wallets are empty: what is missing in GOPEN can only come out of stake."""
        world = self.planned(stake=100_000 * GWEI)
        assert self.of_team(world, "unbonding") == 60_000 * GWEI
        assert self.of_team(world, "stake") == 40_000 * GWEI

    def test_gaps_that_are_small_are_left_alone(self):
        """Under a tenth too little, under a fifth too much, and dust of one token."""
        world = self.planned(stake=37_000 * GWEI, wrapped=23_000 * GWEI, wallet_l1=40_000 * GWEI)
        assert not world.journal.today
        world = self.planned(wallet_l2=GWEI)
        assert not world.journal.today

    def test_only_on_ones_day(self):
        world = self.planned(day=61, wallet_l2=100_000 * GWEI)
        assert self.of_team(world, "wallet.l2") == 100_000 * GWEI

    def test_each_agent_once_in_a_cycle(self):
        """Holders look every 14 days, each on a day of their own."""
        economy = small.economy("agents.holders.plan.participate=100 %", days=500)
        world = small.stand(economy, 28)
        small.give(world, "wallet.l2", 100_000 * GWEI, "holders")
        acted = []
        for day in range(28, 42):
            before = world.agent_balance("stake", "holders")[0] > 0
            small.run_phase_of(small.turn(world, day), economy, "holders")
            acted.append(int(((world.agent_balance("stake", "holders")[0] > 0) & ~before).sum()))
        assert sum(acted) == world.layout.count("holders")
        assert max(acted) - min(acted) <= 1

    def test_gas_is_what_the_wallet_holds_at_most(self):
        """Who wraps the last gwei pays what is left, and never goes below zero."""
        economy = small.economy("agents.team.plan.stake=100 %", "agents.team.plan.wrap=0 %", days=500)
        world = self.planned(economy=economy, wallet_l2=100_000 * GWEI)
        assert self.of_team(world, "stake") == 100_000 * GWEI
        assert self.of_team(world, "wallet.l2") == 0
        assert world.world_balance("gas_vault").tolist() == [0, 0, 0]
