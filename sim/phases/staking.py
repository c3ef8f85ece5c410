"""Staking: rewards out of a pot that can run dry, and stake whose unbonding has ended.

Rule decided here: the pot pays one part in N of what it holds each day, pro rata to stake, floored; the remainder
stays in the pot. An empty pot pays nothing: the yield is a result, never an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.apportion import apportion_floor
from sim.ledger import at, move

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

STAKERS = ("holders", "contributors", "builders", "investors", "team", "traders")
"""Classes that stake and wrap."""


def advance(world: World, economy: Economy) -> None:
    """Pay rewards into stake (flow S2) and release unbonded stake (flow S1)."""
    pot = world.world_balance("staking_rewards")
    due = pot // economy.scenario.staking.payout_over.value.days
    stakes = world.agent_balance("stake")
    parts, _ = apportion_floor(due, stakes)
    move(world, "S2", at("staking_rewards"), at("stake", "*"), parts)
    released = world.holding.unbonding.pop(world.day, stakes.shape)
    move(world, "S1", at("unbonding", "*"), at("wallet.l2", "*"), released)
    world.holding.staking_paid = parts.sum(axis=1)
