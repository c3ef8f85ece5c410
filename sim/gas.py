"""Gas: L2 fees as explicit transfers.

Rule decided here: an action costs gas units x gas price, both parameters of the scenario; who cannot pay the whole
fee pays what the wallet holds. The vault is divided at settlement (flow C2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.ledger import Int, at, move, move_some
from sim.picks import Picks

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.scenario.schema import Scenario
    from sim.world import World


def fees_of(scenario: Scenario) -> dict[str, int]:
    """Return the fee of one action of each kind in gwei, ``gas.actions`` times ``gas.price``."""
    actions, price = scenario.gas.actions, scenario.gas.price.value
    return {name: int(getattr(actions, name).value * price) for name in type(actions).model_fields}


def fee(economy: Economy, action: str) -> int:
    """Return the fee of one action in gwei.

    Raises
    ------
    KeyError
        If the scenario prices no such action.
    """
    return economy.gas_fees[action]


def charge(
    world: World,
    economy: Economy,
    agent_class: str,
    action: str,
    count: Int | NDArray[np.bool_],
    within: slice | None = None,
) -> None:
    """Take the fee of `count` actions per agent from ``wallet.l2`` into the gas vault.

    Parameters
    ----------
    world, economy
        The world and its static data.
    agent_class
        Class of the agents that act, ``*`` for all.
    action
        Name under ``gas.actions``.
    count
        Actions per agent, int64 or bool (runs, agents of the class).
    within
        Which agents of the class `count` speaks of, where not all.
    """
    owed = count * np.int64(fee(economy, action))
    wallets = world.agent_balance("wallet.l2", agent_class)
    paid = np.minimum(owed, wallets if within is None else wallets[:, within])
    move(world, "C2", at("wallet.l2", agent_class), at("gas_vault"), paid, within)


def charge_some(
    world: World, economy: Economy, agent_class: str, action: str, where: Int, count: Int | int = 1
) -> None:
    """Take the fee of actions from few agents' ``wallet.l2``; other parameters are those of `charge`.

    Parameters
    ----------
    where
        Flat index of each agent into (runs, agents), int64 (entries,), no agent twice.
    count
        Actions of each, int64 (entries,) or one number for all.
    """
    wallets = world.agent_balance("wallet.l2").reshape(-1)
    paid = np.minimum(count * np.int64(fee(economy, action)), wallets[where])
    move_some(world, "C2", at("wallet.l2", agent_class), at("gas_vault"), Picks(where, paid))
