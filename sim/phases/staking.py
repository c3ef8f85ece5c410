"""Staking: rewards out of a pot that can run dry, and stake whose unbonding has ended.

Rule decided here: the pot pays one part in N of what it holds each day, pro rata to stake, floored; the remainder
stays in the pot. An empty pot pays nothing: the yield is a result, never an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import reach
from sim.ledger import at, compound, move_some

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World


def advance(world: World, economy: Economy) -> None:
    """Pay rewards into stake (flow S2) and release unbonded stake (flow S1)."""
    pot = world.world_balance("staking_rewards")
    due = pot // economy.scenario.staking.payout_over.value.days
    where = reach.by_class(economy.layout, economy.opening, economy.taking_part, "stake")
    kept = compound(world, "S2", at("staking_rewards"), at("stake", "*"), due, where)
    move_some(
        world, "S1", at("unbonding", "*"), at("wallet.l2", "*"), world.holding.unbonding.take(world.day)
    )
    world.holding.staking_paid = due - kept
