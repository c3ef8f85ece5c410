"""Staking: rewards out of a pot that can run dry, and stake whose unbonding has ended.

Rule decided here: the pot pays one part in N of what it holds each day, pro rata to stake, floored; the remainder
stays in the pot. An empty pot pays nothing: the yield is a result, never an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion_floor
from sim.kernels import rewards as kernel
from sim.ledger import at, move, move_some

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]

STAKERS = ("holders", "contributors", "builders", "investors", "team", "traders")
"""Classes that stake and wrap."""


def advance(world: World, economy: Economy) -> None:
    """Pay rewards into stake (flow S2) and release unbonded stake (flow S1)."""
    pot = world.world_balance("staking_rewards")
    due = pot // economy.scenario.staking.payout_over.value.days
    holding, stakes = world.holding, world.agent_balance("stake")
    if holding.rewards is None:
        holding.rewards = np.empty_like(stakes)
    parts, kept = rewards(due, stakes, holding.rewards)
    move(world, "S2", at("staking_rewards"), at("stake", "*"), parts)
    move_some(world, "S1", at("unbonding", "*"), at("wallet.l2", "*"), holding.unbonding.take(world.day))
    holding.staking_paid = due - kept


def rewards(due: Int, stakes: Int, parts: Int) -> tuple[Int, Int]:
    """Return each stake's part of what is due and what the floors keep, as `models.apportion.apportion_floor` does.

    Parameters
    ----------
    due
        Gwei to pay, int64 (runs,).
    stakes
        Gwei staked, int64 (runs, agents), contiguous.
    parts
        Memory for the parts, of the shape of `stakes`.
    """
    kept = np.empty(len(stakes), np.int64)
    return (parts, kept) if kernel.divide(due, stakes, parts, kept) else apportion_floor(due, stakes)
