"""Unlock: each bucket releases what its vesting schedule has made due.

Rule decided here: the amount of a day is the difference of two cumulative floors (`models/vesting.py`), so rounding
never drifts. Community and ecosystem go to their pools, investors and team to their people by largest remainder,
liquidity to the venue as far as its depth needs it and the rest to the market maker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.kernels.apportion import apportion
from sim.ledger import at, move

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]


def unlocked_today(economy: Economy, role: str, day: int) -> int:
    """Return what buckets of `role` release on `day`, gwei."""
    path = economy.vested[role]
    return int(path[day]) - (int(path[day - 1]) if day else economy.vested_before[role])


def advance(world: World, economy: Economy) -> None:
    """Release the day's instalments (flows U1, U2, U3)."""
    everyone = np.ones(world.count, np.int64)
    for role in ("community", "ecosystem"):
        due = unlocked_today(economy, role, world.day)
        if due:
            move(world, "U1", at(f"vesting.{role}"), at(f"pool.{role}.l1"), due * everyone)
    holding = world.holding
    for role, weights in (("investors", holding.investor_weights), ("team", holding.team_weights)):
        due = unlocked_today(economy, role, world.day)
        if due:
            parts = apportion(due * everyone, weights)
            move(world, "U2", at(f"vesting.{role}"), at("wallet.l1", role), parts)
    due = unlocked_today(economy, "liquidity", world.day)
    if due:
        _supply_liquidity(world, economy, due * everyone)


def _supply_liquidity(world: World, economy: Economy, liquidity: Int) -> None:
    """Fill the venue as far as its depth needs it, and give the rest to the market maker."""
    wanted = (
        np.maximum(world.market.venue_target - world.world_balance("venue"), 0)
        if world.day == 0 and economy.genesis
        else np.zeros_like(liquidity)
    )
    to_venue = np.minimum(liquidity, wanted)
    move(world, "U3", at("vesting.liquidity"), at("venue"), to_venue)
    move(world, "U3", at("vesting.liquidity"), at("market_maker"), liquidity - to_venue)
