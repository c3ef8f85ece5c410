"""Payouts: what the distributor owes to whom, and what recipients do with what they were paid.

Rules decided here. Whoever moves money into the distributor credits the same integers here, so that the
liability and each payee's lifetime total (the leaf of the payout tree) always grow together. Recipients who
have costs in USD put a share of what they received into a withdrawal the next day, and sell on L1 what has
arrived there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.kernels import orders, shares
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
    if not amounts.any():
        return
    books = (world.earned, world.usage.cumulative_earned, world.income)
    shares.credit(amounts, world.layout.slice(agent_class).start, books)
    if agent_class == "contributors":
        world.usage.income_month += amounts


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
    planned = np.floor(received * share).astype(np.int64)
    world.usage.to_withdraw[:, world.layout.slice(agent_class)] += planned


def order_sales(world: World, agent_class: str) -> None:
    """Order the planned withdrawals of a class, and the sale of what it holds on L1.

    Parameters
    ----------
    world
        The world; its orders of the day are written.
    agent_class
        A class whose L1 wallets hold nothing but what it withdrew.
    """
    columns, planned = world.layout.slice(agent_class), world.usage.to_withdraw
    some = Picks.of_columns(planned, columns)
    if some.where.size:
        world.bridge.withdraw_orders.append(some)
        planned[:, columns] = 0
    orders.sell_arrived(
        world.agent_balance("wallet.l1"), world.market.sell_orders, columns.start, columns.stop
    )
