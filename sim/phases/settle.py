"""Settle: claims, and the gas vault, at the end of each settlement epoch.

Rules decided here. A payee claims everything earned so far when it is worth a multiple of the claim's gas;
what is less stays owed. Gas is paid out of the claim. The vault pays the sequencer's data cost and leaves
the rest to the treasury. Then the witness run's chain executes the epoch's journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim import gas
from sim.accounts import PAYEES
from sim.kernels import claims
from sim.ledger import at, move
from sim.payouts import bring_forward, plan_sale
from sim.rates import on

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.services import Services
    from sim.world import World


def advance(world: World, economy: Economy, services: Services | None = None) -> None:
    """Settle on the last day of an epoch (flows C1, C2).

    Parameters
    ----------
    world, economy
        State and static data.
    services
        The witness run's chain, or None.
    """
    world.usage.claimed_gwei = np.zeros(world.count, np.int64)
    if not economy.epoch_end[world.day]:
        return
    for name in PAYEES:
        _claim(world, economy, name)
    _empty_vault(world, economy)
    bring_forward(world)
    if services is not None and services.settlement is not None:
        services.settlement.settle(world, economy)


def _claim(world: World, economy: Economy, agent_class: str) -> None:
    usage, start = world.usage, world.layout.slice(agent_class).start
    # the column counts thousandths of the claim's gas
    least = gas.fee(economy, "claim") * on(world, "attribution.min_claim.times_gas") // 1000
    amounts = np.empty((world.count, world.layout.count(agent_class)), np.int64)
    claimed = np.empty(world.count, np.int64)
    claims.claimable(world.earned, start, least, amounts, claimed)
    move(world, "C1", at("distributor"), at("wallet.l2", agent_class), amounts)
    claims.book(amounts, start, world.earned, usage.claimed)
    usage.claimed_gwei = usage.claimed_gwei + claimed
    gas.charge(world, economy, agent_class, "claim", amounts > 0)
    share = float(getattr(economy.scenario.agents, agent_class).sell.value)
    plan_sale(world, agent_class, amounts, share)


def _empty_vault(world: World, economy: Economy) -> None:
    vault = world.world_balance("gas_vault").copy()
    share = economy.scenario.gas.data_cost_share.value
    whole, rest = np.divmod(vault, share.denominator)
    data = whole * share.numerator + rest * share.numerator // share.denominator
    move(world, "C2", at("gas_vault"), at("wallet.l2", "sequencer"), data[:, None])
    move(world, "C2", at("gas_vault"), at("treasury.l2"), vault - data)
