"""The bridge's phase: when money arrives, what a fast exit costs, and what an empty inventory serves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sim.phases.bridge import exit_days
from sim.picks import Picks

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

GWEI = small.GWEI
ECONOMY = small.economy("bridge.fast_exit.share=0 %", days=60)
FAST = small.economy("bridge.fast_exit.share=100 %", days=60)


def world_with(economy, day, **held):
    world = small.stand(economy, day)
    for place, amounts in held.items():
        name, _, agent_class = place.partition("__")
        small.give(
            world, name.replace("_", ".", 1) if name.startswith("wallet") else name, amounts, agent_class
        )
    return world


def order(world, orders, agent_class, amounts):
    wanted = np.zeros(world.income.shape, np.int64)
    wanted[:, world.layout.slice(agent_class)] = amounts
    getattr(world.bridge, orders).append(Picks.of(wanted))


def held(world, name, agent_class, agent=0):
    return world.agent_balance(name, agent_class)[:, agent].tolist()


def test_a_deposit_is_credited_the_next_day():
    world = world_with(ECONOMY, 5, wallet_l1__holders=100 * GWEI)
    order(world, "deposit_orders", "holders", 40 * GWEI)
    small.run_phase_of(world, ECONOMY, "bridge")
    count = world.layout.count("holders")
    assert held(world, "wallet.l1", "holders") == [60 * GWEI] * 3
    assert held(world, "transit_deposit", "holders") == [40 * GWEI] * 3
    assert held(world, "wallet.l2", "holders") == [0] * 3
    assert world.bridge.escrow.tolist() == [40 * GWEI * count] * 3
    assert not world.bridge.deposit_orders
    assert world.usd.read_today("bridge", "l1 gas deposit", 3).tolist() == [count * 3_000_000] * 3
    small.run_phase_of(small.turn(world, 6), ECONOMY, "bridge")
    assert held(world, "transit_deposit", "holders") == [0] * 3
    assert held(world, "wallet.l2", "holders") == [40 * GWEI] * 3


def test_an_order_is_cut_to_the_balance():
    world = world_with(ECONOMY, 5, wallet_l1__holders=7)
    order(world, "deposit_orders", "holders", 8)
    order(world, "withdraw_orders", "team", 9)
    small.run_phase_of(world, ECONOMY, "bridge")
    assert held(world, "transit_deposit", "holders") == [7] * 3
    assert held(world, "transit_withdraw", "team") == [0] * 3


def test_what_users_bought_goes_to_l2_by_itself():
    world = world_with(ECONOMY, 5, wallet_l1__users=3 * GWEI, wallet_l1__traders=3 * GWEI)
    world.usage.active_users[:] = world.layout.count("users")
    small.run_phase_of(world, ECONOMY, "bridge")
    assert held(world, "transit_deposit", "users") == [3 * GWEI] * 3
    assert held(world, "transit_deposit", "traders") == [0] * 3


def test_a_withdrawal_takes_output_window_and_the_users_delay():
    """Initiated at noon of day 5: output at the end of the day, a week's window, a day of one's own, then paid."""
    assert exit_days(ECONOMY) == 9
    world = world_with(ECONOMY, 5, wallet_l2__holders=100 * GWEI)
    world.bridge.escrow[:] = 10**15
    order(world, "withdraw_orders", "holders", 30 * GWEI)
    small.run_phase_of(world, ECONOMY, "bridge")
    fee = 110_000  # gas of a withdrawal at 1 gwei
    assert held(world, "wallet.l2", "holders") == [70 * GWEI - fee] * 3
    assert held(world, "transit_withdraw", "holders") == [30 * GWEI] * 3
    assert (world.world_balance("gas_vault") == fee * world.layout.count("holders")).all()
    for day in range(6, 14):
        small.run_phase_of(small.turn(world, day), ECONOMY, "bridge")
        assert held(world, "wallet.l1", "holders") == [0] * 3, day
    assert (world.bridge.escrow == 10**15).all()
    small.run_phase_of(small.turn(world, 14), ECONOMY, "bridge")
    assert held(world, "wallet.l1", "holders") == [30 * GWEI] * 3
    assert held(world, "transit_withdraw", "holders") == [0] * 3
    paid = 30 * GWEI * world.layout.count("holders")
    assert (world.bridge.escrow == 10**15 - paid).all()
    assert world.bridge.slow_exits_gwei.tolist() == world.bridge.exits_gwei.tolist() == [paid] * 3


@pytest.mark.parametrize(
    ("settings", "days"),
    [
        (("bridge.window=0 d", "bridge.output_every=1 h", "bridge.user_delay=0 d"), 0),
        (("bridge.window=7 d", "bridge.output_every=1 d", "bridge.user_delay=0 d"), 8),
        (("bridge.window=30 d",), 32),
    ],
)
def test_other_delays(settings, days):
    assert exit_days(small.economy(*settings)) == days


def test_a_fast_exit_is_paid_today_less_its_fee():
    world = world_with(FAST, 5, wallet_l2__holders=200 * GWEI, **{"fastbridge.l1": 10**6 * GWEI})
    order(world, "withdraw_orders", "holders", 100 * GWEI + 1)
    small.run_phase_of(world, FAST, "bridge")
    count = world.layout.count("holders")
    paid = 100 * GWEI + 1 - 300_000_000  # 0.3 % of 100 OPEN and 1 gwei, floored: 0.3 OPEN
    assert held(world, "wallet.l1", "holders") == [paid] * 3
    assert held(world, "transit_withdraw", "holders") == [0] * 3
    assert (world.world_balance("fastbridge.l2") == (100 * GWEI + 1) * count).all()
    assert (world.world_balance("fastbridge.l1") == 10**6 * GWEI - paid * count).all()
    assert world.bridge.exits_gwei.tolist() == [paid * count] * 3
    assert world.bridge.slow_exits_gwei.tolist() == [0] * 3


def test_an_empty_inventory_serves_nobody_and_they_take_the_slow_way():
    world = world_with(FAST, 5, wallet_l2__holders=2_000 * GWEI)
    order(world, "withdraw_orders", "holders", 1_000 * GWEI)
    small.run_phase_of(world, FAST, "bridge")
    assert held(world, "wallet.l1", "holders") == [0] * 3
    assert held(world, "transit_withdraw", "holders") == [1_000 * GWEI] * 3
    assert not world.world_balance("fastbridge.l2").any()


def test_a_short_inventory_is_divided_by_what_was_asked():
    world = world_with(FAST, 5, wallet_l2__team=900, wallet_l2__traders=900, **{"fastbridge.l1": 500})
    order(world, "withdraw_orders", "team", 400)
    order(world, "withdraw_orders", "traders", [[600, 0]] * 3)
    small.run_phase_of(world, FAST, "bridge")
    # 500 of 1,000: team gets 200 less floor(0.6) = 0, the trader 300 less floor(0.9) = 0
    assert held(world, "wallet.l1", "team") == [200] * 3
    assert held(world, "wallet.l1", "traders") == [300] * 3
    assert held(world, "transit_withdraw", "team") == [200] * 3
    assert held(world, "transit_withdraw", "traders") == [300] * 3
    assert world.world_balance("fastbridge.l1").tolist() == [0] * 3


def test_only_those_in_haste_pay_for_it():
    economy = small.economy("bridge.fast_exit.share=20 %", days=60)
    world = world_with(economy, 5, wallet_l2__holders=2_000 * GWEI, **{"fastbridge.l1": 10**6 * GWEI})
    order(world, "withdraw_orders", "holders", 10 * GWEI)
    small.run_phase_of(world, economy, "bridge")
    fast = world.agent_balance("wallet.l1", "holders") > 0
    assert (fast == (world.holding.haste[:, world.layout.slice("holders")] < 0.2)).all()
    assert 0 < fast.mean() < 0.5


def test_the_provider_begins_with_its_inventory_and_brings_home_what_collects():
    world = world_with(FAST, 0, market_maker=10**9 * GWEI)
    small.run_phase_of(world, FAST, "bridge")
    first = 500_000 * GWEI
    assert (world.world_balance("fastbridge.l1") == first).all()
    small.give(world, "fastbridge.l2", first // 10)
    small.run_phase_of(small.turn(world, 1), FAST, "bridge")
    assert (world.world_balance("fastbridge.l2") == first // 10).all()  # a tenth is not worth a withdrawal
    small.give(world, "fastbridge.l2", first // 10 + 1)
    world.bridge.escrow[:] = 10**18
    small.run_phase_of(small.turn(world, 2), FAST, "bridge")
    assert not world.world_balance("fastbridge.l2").any()
    assert (world.world_balance("transit_withdraw.fastbridge") == first // 10 + 1).all()
    small.run_phase_of(small.turn(world, 2 + exit_days(FAST)), FAST, "bridge")
    assert (world.world_balance("fastbridge.l1") == first + first // 10 + 1).all()


def test_pools_send_what_the_coming_epoch_needs():
    """1 + 0.5 + 1.5 + 0.5 M OPEN of programmes and 0.3 M of grants, less what lies on L2 already."""
    world = world_with(ECONOMY, 0)
    for name in ("pool.community.l1", "pool.ecosystem.l1"):
        small.give(world, name, 50_000_000 * GWEI)
    small.give(world, "pool.ecosystem.l2", 100_000 * GWEI)
    small.run_phase_of(world, ECONOMY, "bridge")
    assert (world.world_balance("transit_deposit.pool.community") == 3_500_000 * GWEI).all()
    assert (world.world_balance("transit_deposit.pool.ecosystem") == 200_000 * GWEI).all()
    small.run_phase_of(small.turn(world, 1), ECONOMY, "bridge")
    assert (world.world_balance("pool.community.l2") == 3_500_000 * GWEI).all()
    assert (world.world_balance("pool.ecosystem.l2") == 300_000 * GWEI).all()
    assert not world.world_balance("transit_deposit.pool.community").any()


def test_a_poor_pool_sends_what_it_has():
    world = world_with(ECONOMY, 30)
    small.give(world, "pool.community.l1", [5, 0, 7])
    assert ECONOMY.epoch_end[30]
    small.run_phase_of(world, ECONOMY, "bridge")
    assert world.world_balance("transit_deposit.pool.community").tolist() == [5, 0, 7]


def test_the_treasury_withdraws_like_everybody():
    world = world_with(ECONOMY, 3)
    small.give(world, "treasury.l2", [100, 50, 0])
    world.bridge.escrow[:] = 1000
    world.bridge.treasury_withdraw[:] = 80
    small.run_phase_of(world, ECONOMY, "bridge")
    assert world.world_balance("transit_withdraw.treasury").tolist() == [80, 50, 0]
    assert not world.bridge.treasury_withdraw.any()
    small.run_phase_of(small.turn(world, 12), ECONOMY, "bridge")
    assert world.world_balance("treasury.l1").tolist() == [80, 50, 0]
    assert world.bridge.escrow.tolist() == [920, 950, 1000]


def test_orders_are_not_carried_over():
    world = world_with(ECONOMY, 5)
    order(world, "deposit_orders", "holders", 5)
    order(world, "withdraw_orders", "holders", 5)
    small.run_phase_of(world, ECONOMY, "bridge")
    assert not world.bridge.deposit_orders
    assert not world.bridge.withdraw_orders
    assert np.array_equal(world.bridge.escrow, [0, 0, 0])
