"""Operators: pay against the USD cost of machines, sales that cover it, and who enters or leaves.

Rules decided here. The operators' pot is paid out every day by replicas, and between kinds of machine by what each
served. A replica costs its kind's price per hour times its operator's factor; who sells to cover withdraws, every few
days, what the costs since then need. Once the margin of their kind, of the last 30 days and of the last day alike, was
beyond a threshold on each of N days, an operator adds or takes away a replica at a keyed chance of 1/N a day; a fleet
without replicas stays so, and one that promises every model replicas of its own changes with the promise alone. What
contributors and builders withdrew is sold here too, before the day's market.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.operators import leaving, margin, pay_weights
from sim import draws
from sim.accounts import EARNERS
from sim.draws import Decision
from sim.kernels import margins
from sim.kernels.apportion import apportion
from sim.ledger import at, move
from sim.payouts import order_sales
from sim.rates import is_sold
from sim.serving.dedicated import DedicatedFleet
from sim.states.usage import MARGIN_DAYS

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def advance(world: World, economy: Economy) -> None:
    """Pay operators (flow O1), book costs, order sales, let operators enter and leave."""
    if is_sold(world).any():
        replicas = world.usage.replicas_by_kind
        month = _cost(world, economy, replicas, _pay(world, replicas))
        if not isinstance(economy.fleet, DedicatedFleet):
            _enter_and_leave(world, economy, replicas, month)
    if economy.scenario.agents.operators.sell_to_cover:
        _cover(world, economy)
    for name in EARNERS:
        order_sales(world, name)


def _pay(world: World, replicas: Int) -> Int:
    """Pay the pot out by replicas and what their kind served; return the payments, gwei (runs, operators)."""
    usage = world.usage
    weights = pay_weights(usage.serving.served_by_group, replicas)
    paid = apportion(world.world_balance("operators_pot"), usage.replicas * weights[:, usage.machine])
    move(world, "O1", at("operators_pot"), at("wallet.l2", "operators"), paid)
    return paid


def usd_per_replica_day(economy: Economy) -> Float:
    """Return the price of one replica and day in USD, (kinds,)."""
    return 24.0 * np.array([float(part.price.value) for part in economy.scenario.serving.fleet])


def _cost(world: World, economy: Economy, replicas: Int, paid: Int) -> tuple[Float, Float]:
    """Book the day's cost and profit, and the margin of the last 30 days.

    Returns what a replica of each kind earned and cost in the last 30 days, USD (runs, kinds) each.
    """
    usage, unit = world.usage, usd_per_replica_day(economy)
    costs = usage.replicas * usage.cost_factor * unit[usage.machine]
    usage.uncovered_usd += costs
    usage.serving_cost_usd = costs.sum(axis=1)
    world.usd.add("operators", "serving cost", np.floor(usage.serving_cost_usd * 1e6).astype(np.int64))
    slot, one = world.day % MARGIN_DAYS, np.maximum(replicas, 1)
    usage.revenue_ring[:, :, slot] = usage.by_kind(paid) / 1e9 * world.price_usd[:, None] / one
    usage.cost_ring[:, :, slot] = np.where(replicas > 0, unit, 0.0)
    usage.operator_profit_usd = paid.sum(axis=1) / 1e9 * world.price_usd - usage.serving_cost_usd
    month = usage.revenue_ring.sum(axis=2), usage.cost_ring.sum(axis=2)
    usage.operator_margin = _margin(world, replicas, *month)
    return month


def _margin(world: World, replicas: Int, revenue: Float, spent: Float) -> Float:
    """Return the margin of the last 30 days over all kinds, NaN where nobody has a replica, (runs,)."""
    usage = world.usage
    total = replicas.sum(axis=1)
    share = replicas / np.maximum(total, 1)[:, None]
    costs = (spent * share).sum(axis=1)
    factor = (usage.replicas * usage.cost_factor).sum(axis=1) / np.maximum(total, 1)
    earned = (revenue * share).sum(axis=1)
    return np.where((total > 0) & (costs > 0), margin(earned, costs * factor), np.nan)


def _enter_and_leave(world: World, economy: Economy, replicas: Int, month: tuple[Float, Float]) -> None:
    """Count days beyond the thresholds, then add and take away replicas."""
    usage, rule = world.usage, economy.scenario.serving.enter_leave
    _count_days(world, replicas, month, float(rule.enter_above.value), float(rule.leave_below.value))
    after = max(rule.after.value.days, 1)
    enters = (usage.days_above >= after) & _chance(world, economy, Decision.OPERATOR_ENTRY, after)
    ready = (usage.days_below >= after) & _chance(world, economy, Decision.OPERATOR_EXIT, after)
    leaves = leaving(usage.replicas, ready, int(rule.keep.value))
    usage.replicas = usage.replicas + enters - leaves
    usage.days_above[enters] = 0
    usage.days_below[leaves] = 0


def _count_days(world: World, replicas: Int, month: tuple[Float, Float], high: float, low: float) -> None:
    """Count whose margin is above `high` with one more replica, and below `low`, both by month and by day.

    The last day counts beside the month because others' entries and exits are already in it.
    """
    usage, slot = world.usage, world.day % MARGIN_DAYS
    revenue, spent = (
        np.stack([sums, ring[:, :, slot]])
        for sums, ring in zip(month, (usage.revenue_ring, usage.cost_ring), strict=True)
    )
    shared = replicas / (replicas + 1.0)  # the pay of a kind's replicas falls to one more
    margins.count_days(
        revenue,
        spent,
        shared,
        usage.machine,
        usage.cost_factor,
        high,
        low,
        usage.days_above,
        usage.days_below,
    )


def _chance(world: World, economy: Economy, decision: Decision, days: int) -> Bool:
    """Return who acts today, each at a keyed chance of one in `days`, so that not all act at once."""
    count = world.layout.count("operators")
    u = draws.uniform(economy.seed, decision, world.runs, world.day, "operators", count)
    return np.asarray(u < 1.0 / days)


def _cover(world: World, economy: Economy) -> None:
    """Plan the withdrawal of what the costs since the last one need."""
    usage = world.usage
    if world.day % max(economy.scenario.agents.operators.settle_every.value.days, 1):
        return
    needed = np.floor(usage.uncovered_usd * 1e9 / world.price_usd[:, None])
    held = world.agent_balance("wallet.l2", "operators")
    planned = np.minimum(needed, held).astype(np.int64)
    usage.to_withdraw["operators"] = planned
    covered = planned / 1e9 * world.price_usd[:, None]
    usage.uncovered_usd = np.maximum(usage.uncovered_usd - covered, 0.0)
