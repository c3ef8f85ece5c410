"""Market: all orders of a day clear at one price against the venue's pool.

Rule decided here: yesterday's close moved everybody's decisions; today market makers first arbitrage the pool to
their quotes (a mean-reverting deviation, so volatility adds no drift), then every sale and purchase is filled at one
clearing price (`models/market.py`). Outside demand comes through traders alone, usage through users' top-ups
alone: two series that are never added up silently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.exact import mul_div
from models.market import clear_batch, price_usd
from models.units import MICRO_USD_PER_USD
from sim import draws
from sim.draws import Decision
from sim.kernels.apportion import apportion_floor, floors_of_some
from sim.ledger import at, move, move_some
from sim.picks import Picks
from sim.states.holding import Purchases

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
DAYS_PER_MONTH = 365 / 12


def advance(world: World, economy: Economy) -> None:
    """Quote, order, clear and publish today's close (flows M1, M2, M3)."""
    if world.day:
        _quote(world, economy)
    _trade_outside_money(world, economy)
    buyback = _buyback_usd(world, economy)
    _clear(world, economy, buyback)
    _publish(world)


def _quote(world: World, economy: Economy) -> None:
    """Let the market maker move the pool by the change of its quotes' deviation (flow M2)."""
    market = economy.scenario.market
    daily = float(market.volatility.value) / math.sqrt(365)
    keep = 0.5 ** (1 / market.noise_half_life.value.days)
    shock = draws.normal(economy.seed, Decision.PRICE_SHOCK, world.runs, world.day, "world", 1)[:, 0]
    before = world.market.quote_deviation
    after = keep * before + daily * shock
    x = world.world_balance("venue").copy()  # moves below change the view
    wanted = x * np.exp(-(after - before) / 2) - x
    into_pool = np.minimum(
        np.floor(np.maximum(wanted, 0)).astype(np.int64), world.world_balance("market_maker")
    )
    out_of_pool = np.floor(np.maximum(-wanted, 0)).astype(np.int64)
    y = world.market.pool_micro_usd
    moved = _constant_product(x, y, x + into_pool - out_of_pool)
    world.usd.add("market_maker", "quotes in", np.maximum(moved - y, 0))
    world.usd.add("market_maker", "quotes out", np.maximum(y - moved, 0))
    world.market.pool_micro_usd = moved
    move(world, "M2", at("market_maker"), at("venue"), into_pool)
    move(world, "M2", at("venue"), at("market_maker"), out_of_pool)
    reached = np.log((x + into_pool - out_of_pool) / x) * -2
    world.market.quote_deviation = before + reached


def _constant_product(x: Int, y: Int, new_x: Int) -> Int:
    """Return the USD side that keeps x y, rounded up so that the pool never loses, micro-USD (runs,)."""
    rows = zip(x.tolist(), y.tolist(), new_x.tolist(), strict=True)
    return np.array([-(-a * b // c) for a, b, c in rows], np.int64)


def _trade_outside_money(world: World, economy: Economy) -> None:
    """Place traders' orders: the run's inflow a day with noise; a negative draw sells for as much."""
    spread = float(economy.scenario.market.inflow_noise.value)
    z = draws.normal(economy.seed, Decision.INFLOW_NOISE, world.runs, world.day, "world", 1)[:, 0]
    usd = world.market.inflow_usd_per_month / DAYS_PER_MONTH * (1 + spread * z)
    buys, _ = apportion_floor(
        np.floor(np.maximum(usd, 0) * MICRO_USD_PER_USD).astype(np.int64), world.holding.trader_weights
    )
    world.market.purchases.append(Purchases.of(world.layout, "traders", buys))
    wallets = world.agent_balance("wallet.l1", "traders")
    sells = np.minimum(
        np.floor(np.maximum(-usd, 0) / world.price_usd * 1e9).astype(np.int64), wallets.sum(axis=1)
    )
    parts, _ = apportion_floor(sells, wallets)
    world.market.offer("traders", parts)


def fee_bps(economy: Economy) -> int:
    """Return the venue's fee in basis points."""
    return round(float(economy.scenario.market.fee.value) * 10_000)


def _buyback_usd(world: World, economy: Economy) -> Int:
    """Return today's buyback in micro-USD (runs,): an outside payment named as such."""
    monthly = economy.scenario.market.buyback.usd.on(economy.date_of(world.day)) or 0.0
    return np.full(world.count, math.floor(monthly / DAYS_PER_MONTH * MICRO_USD_PER_USD), np.int64)


@dataclass(frozen=True, slots=True)
class Orders:
    """What is offered and asked for today.

    Parameters
    ----------
    sells
        Gwei of those who sell.
    sold, spent
        Gwei sold and micro-USD spent by class, int64 (runs, classes).
    buys
        Micro-USD of those who buy.
    """

    sells: Picks
    sold: Int
    spent: Int
    buys: Picks


def _take_orders(world: World) -> Orders:
    """Return the day's orders, sales cut to what wallets hold, and clear them; holders are in `sold` alone."""
    state, layout = world.market, world.layout
    sold, spent = np.zeros((2, world.count, len(layout.counts)), np.int64)
    sells = []
    for name, offered in state.sell_orders.items():
        cut = np.minimum(offered, world.agent_balance("wallet.l1", name))
        sold[:, layout.number(name)] = cut.sum(axis=1)
        sells.append(Picks.of_class(layout, name, cut))
    sold[:, layout.number("holders")] = state.holders_sell
    for purchases in state.purchases:
        spent[:, layout.number(purchases.agent_class)] += purchases.spent
    buys = Picks.joined([purchases.some for purchases in state.purchases])
    state.sell_orders.clear()
    state.purchases.clear()
    return Orders(Picks.joined(sells), sold, spent, buys)


def _sell(world: World, orders: Orders) -> None:
    """Move what agents sell into the venue."""
    if world.market.holders_sell.any():
        move(world, "M1", at("wallet.l1", "holders"), at("venue"), world.market.holder_sales)
    move_some(world, "M1", at("wallet.l1", "*"), at("venue"), orders.sells)


def _clear(world: World, economy: Economy, buyback: Int) -> None:
    state, orders = world.market, _take_orders(world)
    treasury = np.minimum(state.treasury_sell, world.world_balance("treasury.l1"))
    spent = orders.spent.sum(axis=1)
    sell_total, buy_total = orders.sold.sum(axis=1) + treasury, spent + buyback
    x, y = world.world_balance("venue"), state.pool_micro_usd
    result = clear_batch(x, y, sell_total, buy_total, fee_bps(economy))
    to_buyback, _ = mul_div(result.tokens_to_buyers, buyback, np.maximum(buy_total, 1))
    for_agents = result.tokens_to_buyers - to_buyback
    run = orders.buys.where // world.layout.agents
    bought = floors_of_some(for_agents, np.maximum(spent, 1), run, orders.buys.amounts)
    _sell(world, orders)
    move(world, "M1", at("treasury.l1"), at("venue"), treasury)
    received = move_some(world, "M1", at("venue"), at("wallet.l1", "*"), Picks(orders.buys.where, bought))
    _log_usd(world, orders, result.price_usd)
    _buy_back(world, economy, buyback, to_buyback)
    state.pool_micro_usd = result.y
    state.sold_gwei = sell_total
    state.bought_gwei = received + to_buyback
    state.buyback_micro_usd = buyback


def _log_usd(world: World, orders: Orders, price: Float) -> None:
    proceeds = np.floor(orders.sold * (price * (MICRO_USD_PER_USD / 1e9))[:, None]).astype(np.int64)
    for i, (name, _) in enumerate(world.layout.counts):
        for purpose, amount in (("purchase", orders.spent[:, i]), ("sale", proceeds[:, i])):
            if amount.any():
                world.usd.add(name, purpose, amount)


def _buy_back(world: World, economy: Economy, spent: Int, tokens: Int) -> None:
    move(world, "M3", at("venue"), at("treasury.l1"), tokens)
    if economy.scenario.market.buyback.then == "burn":
        move(world, "M3", at("treasury.l1"), at("burned.l1"), tokens)
    world.usd.add("outside", "buyback", spent)


def _publish(world: World) -> None:
    """Set today's close; what was ordered is done."""
    state = world.market
    world.price_usd = price_usd(world.world_balance("venue"), state.pool_micro_usd)
    state.price_path = np.concatenate((state.price_path[:, 1:], world.price_usd[:, None]), axis=1)
    state.peak_usd = np.maximum(state.peak_usd, world.price_usd)
    state.holders_sell[:] = 0
    state.treasury_sell[:] = 0
