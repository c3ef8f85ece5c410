"""The market's phase: one price for everybody, dust to the venue, buyback, quotes, outside money."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sim.states.holding import Purchases

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

GWEI = small.GWEI
CALM = (
    "market.volatility=0 %/year", "market.outside_net_inflow=0 USD/month", "market.inflow_noise=0 %", "market.fee=0 %",
)  # fmt: skip
ECONOMY = small.economy(*CALM, days=60)


def market(economy=ECONOMY, day=5, pool=(1_000_000, 500_000)):
    """Return a world with a pool of so many OPEN and USD; 1,000,000 and 500,000: a price of 0.50 USD."""
    world = small.stand(economy, day)
    small.give(world, "venue", pool[0] * GWEI)
    world.market.pool_micro_usd[:] = pool[1] * 10**6
    world.price_usd[:] = pool[1] / pool[0]
    return world


def sell(world, agent_class, amounts):
    small.give(world, "wallet.l1", amounts, agent_class)
    if agent_class == "holders":
        world.market.holder_sales[:] = amounts
        world.market.holders_sell[:] = world.market.holder_sales.sum(axis=1)
        return
    world.market.offer(agent_class, np.full((3, world.layout.count(agent_class)), amounts))


def buy(world, agent_class, usd):
    micro_usd = np.full((3, world.layout.count(agent_class)), usd * 10**6)
    world.market.purchases.append(Purchases.of(world.layout, agent_class, micro_usd))


def test_a_sale_moves_along_the_curve():
    """1,000,000 OPEN x 500,000 USD; 250,000 OPEN come in: 400,000 USD stay in, 100,000 USD are paid, 0.40 USD each."""
    world = market()
    sell(world, "team", 250_000 * GWEI)
    small.run_phase_of(world, ECONOMY, "market")
    assert (world.world_balance("venue") == 1_250_000 * GWEI).all()
    assert world.market.pool_micro_usd.tolist() == [400_000 * 10**6] * 3
    assert world.price_usd.tolist() == [0.32] * 3
    assert world.usd.read_today("team", "sale", 3).tolist() == [100_000 * 10**6] * 3
    assert not world.agent_balance("wallet.l1", "team").any()
    assert world.market.sold_gwei.tolist() == [250_000 * GWEI] * 3


def test_a_purchase_moves_it_back():
    """500,000 USD more: 1,000,000 USD x 500,000 OPEN, so 500,000 OPEN are bought at 1.00 USD; the close is 2.00."""
    world = market()
    buy(world, "team", 500_000)
    small.run_phase_of(world, ECONOMY, "market")
    assert world.agent_balance("wallet.l1", "team").tolist() == [[500_000 * GWEI]] * 3
    assert world.price_usd.tolist() == [2.0] * 3
    assert world.market.peak_usd.tolist() == [2.0] * 3
    assert world.market.price_path[:, -1].tolist() == [2.0] * 3
    assert world.usd.read_today("team", "purchase", 3).tolist() == [500_000 * 10**6] * 3


def test_orders_that_meet_do_not_touch_the_pool():
    """10,000 OPEN at 0.50 USD are 5,000 USD: sellers and buyers fill each other at yesterday's price."""
    world = market()
    sell(world, "investors", 10_000 * GWEI)
    buy(world, "team", 5_000)
    small.run_phase_of(world, ECONOMY, "market")
    assert world.agent_balance("wallet.l1", "team").tolist() == [[10_000 * GWEI]] * 3
    assert world.usd.read_today("investors", "sale", 3).tolist() == [5_000 * 10**6] * 3
    assert world.price_usd.tolist() == [0.5] * 3
    assert (world.world_balance("venue") == 1_000_000 * GWEI).all()


def test_everybody_trades_at_the_same_price():
    world = market()
    sell(world, "investors", 50_000 * GWEI)
    sell(world, "holders", 1_000 * GWEI)
    buy(world, "team", 1_000)
    buy(world, "traders", 2_500)
    small.run_phase_of(world, ECONOMY, "market")
    holders = world.layout.count("holders")
    prices = [
        world.usd.read_today("investors", "sale", 3)[0] / 50_000,
        world.usd.read_today("holders", "sale", 3)[0] / (1_000 * holders),
        1_000e6 / (world.agent_balance("wallet.l1", "team")[0, 0] / GWEI),
        2_500e6 / (world.agent_balance("wallet.l1", "traders")[0, 0] / GWEI),
    ]
    assert prices == pytest.approx([prices[0]] * 4, rel=1e-9)


def test_dust_stays_with_the_venue():
    """3 micro-USD buy 6,000 gwei at 0.50 USD; 1 : 1 : 1 of 5,999 (the pool rounds down) leaves some in the venue."""
    world = market()
    micro_usd = np.zeros((3, world.layout.count("traders")), np.int64)
    micro_usd[:, :2] = [1, 2]
    world.market.purchases.append(Purchases.of(world.layout, "traders", micro_usd))
    before = world.world_balance("venue").copy()
    small.run_phase_of(world, ECONOMY, "market")
    got = world.agent_balance("wallet.l1", "traders")[0]
    assert got[1] // 2 in (got[0] - 1, got[0], got[0] + 1)
    assert (world.world_balance("venue") + world.agent_balance("wallet.l1").sum(axis=1) == before).all()
    assert world.market.bought_gwei.tolist() == world.agent_balance("wallet.l1").sum(axis=1).tolist()


def test_an_order_is_cut_to_the_wallet_and_forgotten_afterwards():
    world = market()
    small.give(world, "wallet.l1", 3, "team")
    world.market.offer("team", np.full((3, world.layout.count("team")), 4))
    world.market.offer("team", np.full((3, world.layout.count("team")), 6))
    small.run_phase_of(world, ECONOMY, "market")
    assert world.market.sold_gwei.tolist() == [3] * 3
    assert not world.market.sell_orders
    assert not world.market.purchases


def test_holders_sales_are_carried_out_once():
    world = market()
    sell(world, "holders", 5 * GWEI)
    for left in (0, 2 * GWEI):
        small.run_phase_of(world, ECONOMY, "market")
        assert (world.agent_balance("wallet.l1", "holders") == left).all()
        small.give(world, "wallet.l1", 2 * GWEI, "holders")


def test_the_treasury_sells_what_it_was_told_to():
    world = market()
    small.give(world, "treasury.l1", [300_000 * GWEI, 100, 0])
    world.market.treasury_sell[:] = 250_000 * GWEI
    small.run_phase_of(world, ECONOMY, "market")
    assert world.world_balance("treasury.l1").tolist() == [50_000 * GWEI, 0, 0]
    assert world.price_usd[0] == 0.32
    assert not world.market.treasury_sell.any()


@pytest.mark.parametrize(("then", "burned"), [("burn", True), ("treasury", False)])
def test_a_buyback_is_paid_from_outside_and_named(then, burned):
    economy = small.economy(*CALM, f"market.buyback={{usd: 365_000 USD/month, then: {then}}}", days=60)
    world = market(economy)
    small.run_phase_of(world, economy, "market")
    spent = 12_000 * 10**6  # 365,000 USD over 365 / 12 days
    assert world.usd.read_today("outside", "buyback", 3).tolist() == [spent] * 3
    assert world.market.pool_micro_usd.tolist() == [512_000 * 10**6] * 3
    bought = 1_000_000 * GWEI - world.world_balance("venue")
    assert bought[0] == pytest.approx(1_000_000 * GWEI * 12 / 512, abs=2)
    assert (world.world_balance("burned.l1" if burned else "treasury.l1") == bought).all()


def test_the_fee_stays_in_the_pool():
    economy = small.economy(*CALM[:-1], "market.fee=1 %", days=60)
    world = market(economy)
    sell(world, "team", 250_000 * GWEI)
    small.run_phase_of(world, economy, "market")
    x, y = world.world_balance("venue")[0] / GWEI, world.market.pool_micro_usd[0] / 1e6
    assert x == 1_250_000
    paid = 500_000 - y
    # 247,500 OPEN after the fee of 1 %: 500,000 - 5e11 / 1,247,500
    assert paid == pytest.approx(500_000 - 5e11 / 1_247_500, rel=1e-9)
    assert x * y > 5e11


def test_outside_money_comes_through_traders_alone():
    economy = small.economy(*CALM[:1], *CALM[2:], "market.outside_net_inflow=365_000 USD/month", days=60)
    world = market(economy)
    small.run_phase_of(world, economy, "market")
    bought = world.usd.read_today("traders", "purchase", 3)
    assert bought.tolist() == pytest.approx([12_000 * 10**6] * 3, abs=2)
    assert {name for name, purpose in world.usd.today if purpose == "purchase"} == {"traders"}


def test_without_noise_or_orders_nothing_moves():
    world = market()
    small.run_phase_of(world, ECONOMY, "market")
    assert world.price_usd.tolist() == [0.5] * 3
    assert not world.journal.today


class TestQuotes:
    NOISY = small.economy("market.outside_net_inflow=0 USD/month", "market.inflow_noise=0 %", days=60)

    def test_quotes_move_the_pool_along_its_curve_and_pay_for_it(self):
        world = market(self.NOISY)
        small.give(world, "market_maker", 10**6 * GWEI)
        x, y = world.world_balance("venue").copy(), world.market.pool_micro_usd.copy()
        small.run_phase_of(world, self.NOISY, "market")
        x2, y2 = world.world_balance("venue"), world.market.pool_micro_usd
        assert (x2 != x).all()
        products = [int(a) * int(b) for a, b in zip(x2, y2, strict=True)]
        before = [int(a) * int(b) for a, b in zip(x, y, strict=True)]
        for new, old, tokens in zip(products, before, x2.tolist(), strict=True):
            assert old <= new < old + tokens  # rounded up by less than one micro-USD
        assert (world.world_balance("market_maker") == 10**6 * GWEI + x - x2).all()
        moved = world.usd.read_today("market_maker", "quotes in", 3) - world.usd.read_today(
            "market_maker", "quotes out", 3
        )
        assert (y2 - y == moved).all()

    def test_a_market_maker_without_tokens_cannot_push_the_price_down(self):
        world = market(self.NOISY)
        before = world.price_usd.copy()
        small.run_phase_of(world, self.NOISY, "market")
        assert (world.price_usd >= before * (1 - 1e-9)).all()

    def test_the_deviation_is_halved_in_its_half_life_without_shocks(self):
        world = market(ECONOMY)
        small.give(world, "market_maker", 10**7 * GWEI)
        world.market.quote_deviation[:] = 0.2
        for day in range(5, 25):
            small.run_phase_of(small.turn(world, day), ECONOMY, "market")
        assert world.market.quote_deviation == pytest.approx(np.full(3, 0.1), rel=1e-6)
        # the price falls by what the deviation loses, and no more: noise adds no drift
        assert world.price_usd == pytest.approx(np.full(3, 0.5 * np.exp(-0.1)), rel=1e-6)

    def test_no_quotes_on_the_first_day(self):
        world = market(self.NOISY, day=0)
        small.run_phase_of(world, self.NOISY, "market")
        assert world.price_usd.tolist() == [0.5] * 3
