"""Emission: the community pool spent on dated programmes.

Rule decided here: a programme's monthly budget falls due by cumulative floor over the days of the calendar month,
so a month pays exactly its budget. A pool that holds less pays less: programmes come in the order contributors,
builders, stakers, operators. What is not spent stays in the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.emission import daily_part
from sim.kernels.apportion import apportion
from sim.ledger import at, move
from sim.payouts import pay_out

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]

PROGRAMMES = ("contributors", "builders", "stakers", "operators")
"""Programmes in the order in which they are paid."""


def advance(world: World, economy: Economy) -> None:
    """Pay initial holders, airdrops and the programmes of the day (flows E1 to E4)."""
    _airdrops(world, economy)
    contributors_due, builders_due, stakers_due, operators_due = due_today(world, economy)
    spent = _pay_earners(world, contributors_due, "contributors", world.usage.contributor_weights)
    spent = spent + _pay_earners(world, builders_due, "builders", world.usage.builder_weights)
    stakers = _affordable(world, stakers_due)
    move(world, "E3", at("pool.community.l2"), at("staking_rewards"), stakers)
    shortfall = np.minimum(world.usage.operator_shortfall, operators_due)
    operators = _affordable(world, shortfall)
    move(world, "E4", at("pool.community.l2"), at("operators_pot"), operators)
    world.holding.emitted = spent + stakers + operators


def due_today(world: World, economy: Economy) -> Int:
    """Return each programme's part of today, int64 gwei (`PROGRAMMES`, runs); one that is off pays nothing."""
    budgets = np.stack([world.governed.read(f"emission.monthly.{programme}") for programme in PROGRAMMES])
    return daily_part(np.maximum(budgets, 0), economy.scenario.start, economy.date_of(world.day))


def _affordable(world: World, wanted: Int) -> Int:
    return np.minimum(wanted, world.world_balance("pool.community.l2"))


def _airdrops(world: World, economy: Economy) -> None:
    emission = economy.scenario.emission
    today = economy.date_of(world.day)
    initial = int(emission.initial_holders.value) if world.day == 0 and economy.genesis else 0
    dropped = (
        sum(int(amount) for start, amount in emission.airdrops.values if start == today)
        if emission.airdrops
        else 0
    )
    if initial:
        _distribute(world, initial, world.holding.baseline_holding)
    if dropped:
        world.holding.airdropped = world.holding.airdropped + _distribute(
            world, dropped, world.holding.airdrop_weights
        )
        world.holding.days_since_receipt[:] = 0
        world.holding.sold_out[:] = 0


def _distribute(world: World, amount: int, weights: Int) -> Int:
    """Give `amount`, or what the pool holds, to holders by weight (flow E1); returns the parts."""
    parts = apportion(np.minimum(np.int64(amount), world.world_balance("pool.community.l1")), weights)
    move(world, "E1", at("pool.community.l1"), at("wallet.l1", "holders"), parts)
    return parts


def _pay_earners(world: World, due: Int, programme: str, weights: Int) -> Int:
    paid = pay_out(world, programme, _affordable(world, due), weights)
    move(world, "E2", at("pool.community.l2"), at("distributor"), paid)
    return paid
