"""Initial balances: where every gwei is before day 0.

Rules decided here. A run that starts with the token begins with the cap in the vesting accounts and pays holders,
the venue and the fast bridge on day 0. A run with an opening table begins with what the table says, and none of
that is paid again. A class's total is divided by its fixed weights and largest remainder; stake, stake on its way
out and GOPEN among those alone who take part by their plan, because the others would take it out at once. Stake
on its way out is free when the flexible lock, counted from the start, has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion
from sim import identities
from sim.accounts import ACCOUNTS, BUCKET_ROLES, STAKERS
from sim.draws import Decision
from sim.ledger import at, move
from sim.participation import BY_PLAN
from sim.shares import even_weights

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.scenario.opening import Opening
    from sim.world import World

Int = NDArray[np.int64]


def fill_accounts(world: World, economy: Economy) -> None:
    """Mint the cap (flow G1), or open the accounts that the scenario's table lists.

    Parameters
    ----------
    world
        With empty accounts; traits are drawn.
    economy
        Static data.
    """
    if economy.opening is not None:
        _open(world, economy, economy.opening)
        return
    for role in BUCKET_ROLES:
        cap = int(economy.vested[role][-1]) + economy.unvested_after[role]
        move(world, "G1", None, at(f"vesting.{role}"), np.full(world.count, cap, np.int64))


def _open(world: World, economy: Economy, opening: Opening) -> None:
    """Write the table's balances; the journal counts from them, so that no flow stands for them."""
    for row in opening.rows:
        account, total = ACCOUNTS[row.account], np.full(world.count, row.amount, np.int64)
        if not account.per_agent:
            world.balances[:, account.index] += total
        if row.agent_class:
            parts = apportion(total, _weights(world, economy, row.account, row.agent_class))
            if account.per_agent:
                world.agent_balance(row.account, row.agent_class)[:] = parts
            else:
                _owe(world, row.agent_class, parts)
    _mirror(world)
    lock = economy.scenario.staking.locks.flexible
    delay = lock.on(economy.scenario.start) or lock.values[0][1]
    world.holding.unbonding.push(max(delay.ceil_days, 1), world.agent_balance("unbonding"))


def _owe(world: World, name: str, parts: Int) -> None:
    """Book what the distributor holds as earned before the start."""
    world.earned_by(name)[:] = parts
    world.usage.cumulative_earned[:, world.layout.slice(name)] = parts


def _mirror(world: World) -> None:
    """Bring everything that is kept beside the balances to the same state."""
    totals, _ = identities.totals(world)
    world.expected_world[:] = world.balances
    world.expected_agent[:] = totals
    world.checksum = world.checksum_of_holdings()
    world.principal = world.agent_balance("stake").copy()
    world.holding.gopen_supply[:] = world.agent_balance("wrapped").sum(axis=1)
    world.bridge.escrow[:] = identities.escrow_of(world, totals)


def _weights(world: World, economy: Economy, account: str, name: str) -> Int:
    """Return the weights by which a class divides an account, int64 (runs, agents of the class)."""
    holding = world.holding
    drawn = {
        "holders": holding.baseline_holding,
        "investors": holding.investor_weights,
        "team": holding.team_weights,
        "traders": holding.trader_weights,
    }
    weights = drawn.get(name)
    if weights is None:
        weights = even_weights(economy, Decision.TRAIT_SHARE, world.runs, name)
    if account not in BY_PLAN or name not in STAKERS:
        return weights
    some = weights.copy()
    some[:, dict(economy.taking_part)[name] :] = 0
    return np.where(some.any(axis=1, keepdims=True), some, weights)
