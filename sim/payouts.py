"""Payouts: what the distributor owes to whom, and what recipients do with what they were paid.

Rules decided here. Whoever moves money into the distributor credits the same integers here. The daily book is the
liability alone, what each payee earned and has not claimed. What is read at the end of an epoch alone follows from it
then: each payee's lifetime total (the leaf of the payout tree) is the liability and all claims, and income is what
that total grew by. In the same way rewards are what stakes grew by beyond their principal, which every move of stakes
but a reward changes. Recipients who have costs in USD put a share of what they received into a withdrawal the next day,
and sell on L1 what has arrived there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import PAYEES
from sim.kernels import rewards, shares
from sim.kernels.apportion import apportion
from sim.picks import Picks

if TYPE_CHECKING:
    from sim.world import World

Int = NDArray[np.int64]


def credit(world: World, agent_class: str, amounts: Int) -> None:
    """Book payouts as earned by a class; the distributor must have received the same sum in this phase.

    Parameters
    ----------
    world
        The world.
    agent_class
        Class of the payees.
    amounts
        Gwei per agent of the class, int64 (runs, agents), 0 or more.
    """
    if amounts.any():
        shares.credit(amounts, world.earned, world.layout.slice(agent_class).start)


def pay_out(world: World, agent_class: str, amount: Int, weights: Int) -> Int:
    """Divide an amount by largest remainder and book the parts as earned by a class, in one pass over memory.

    Parameters
    ----------
    world
        The world.
    agent_class
        Class of the payees.
    amount
        Gwei, int64 (runs,), 0 or more.
    weights
        int64 (runs, agents of the class), 0 or more.

    Returns
    -------
    numpy.ndarray
        What was paid, int64 (runs,): the amount, or 0 where nobody has a weight. The distributor must receive it in
        this phase.
    """
    paid, first = np.array(amount, np.int64), world.layout.slice(agent_class).start
    done = shares.pay(paid, weights, world.earned, first)
    if done < len(paid):
        parts = apportion(paid[done:], weights[done:])
        shares.credit(parts, world.earned[done:], first)
        paid[done:] = parts.sum(axis=1)
    return paid


def bring_forward(world: World) -> None:
    """Carry what payees earned since this was last done into their lifetime totals and their income.

    Parameters
    ----------
    world
        The world; whoever reads those books brings them forward first, as often as it likes.
    """
    usage = world.usage
    for name in PAYEES:
        columns = world.layout.slice(name)
        month = usage.income_month if name == "contributors" else usage.income_month[:, :0]
        shares.bring_forward(
            world.earned,
            usage.claimed,
            usage.cumulative_earned,
            world.income,
            month,
            columns.start,
            columns.stop,
        )


def bring_income_forward(world: World) -> None:
    """Carry payouts, as `bring_forward` does, and rewards of stakes into income.

    Parameters
    ----------
    world
        The world; whoever reads `World.income` brings it forward first, as often as it likes.
    """
    bring_forward(world)
    rewards.bring_forward(world.agent_balance("stake"), world.principal, world.income)


def plan_sale(world: World, agent_class: str, received: Int, share: float) -> None:
    """Mark a share of what a class received on L2 for withdrawal and sale.

    Parameters
    ----------
    world
        The world.
    agent_class
        Class of the recipients.
    received
        Gwei that reached ``wallet.l2``, int64 (runs, agents).
    share
        Share to be sold, from 0 to 1.
    """
    _planned(world, agent_class)[:] += _part(received, share)


def plan_some_sales(world: World, agent_class: str, received: Picks, share: float) -> None:
    """Mark a share of what few agents of a class received on L2, nobody twice, as `plan_sale` does."""
    run, column = np.divmod(received.where, world.layout.agents)
    agent = column - world.layout.slice(agent_class).start
    _planned(world, agent_class)[run, agent] += _part(received.amounts, share)


def _part(received: Int, share: float) -> Int:
    return np.asarray(np.floor(received * share), np.int64)


def _planned(world: World, agent_class: str) -> Int:
    """Return what a class will withdraw, int64 (runs, agents of the class), to be added to."""
    planned = world.usage.to_withdraw
    if agent_class not in planned:
        planned[agent_class] = np.zeros((world.count, world.layout.count(agent_class)), np.int64)
    return planned[agent_class]


def order_sales(world: World, agent_class: str) -> None:
    """Order the planned withdrawals of a class, and the sale of what it holds on L1.

    Parameters
    ----------
    world
        The world; its orders of the day are written.
    agent_class
        A class whose L1 wallets hold nothing but what it withdrew.
    """
    planned = world.usage.to_withdraw.pop(agent_class, None)
    if planned is not None:
        world.bridge.withdraw_orders.append(Picks.of_class(world.layout, agent_class, planned))
    arrived = world.agent_balance("wallet.l1", agent_class)
    if arrived.any():
        world.market.offer(agent_class, arrived.copy())
