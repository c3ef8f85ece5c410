"""Record of people: how income, holdings and votes are distributed, once per settlement epoch.

Rule decided here: a contributor's income is what the epoch's payouts were worth at its last close, and breaks even
when it reaches what the same work would earn outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.inequality import gini_of_ranked, hhi, top_share_of_ranked
from sim.kernels.ranks import ranked

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.estates import Estates
    from sim.world import World


def advance(world: World, economy: Economy, estates: Estates) -> None:
    """Write the monthly observables of contributors and holders; `estates` is what agents own."""
    income = world.usage.income_month
    rising, count = ranked(income), income.shape[1]
    usd = rising / 1e9 * world.price_usd[:, None] / economy.people_per_agent("contributors")
    outside = float(economy.scenario.agents.contributors.outside_income.value)
    world.record.put(
        world.day,
        contributor_income_median_usd=(usd[:, (count - 1) // 2] + usd[:, count // 2]) / 2,
        contributor_income_p90_usd=np.quantile(usd, 0.9, axis=1),
        contributor_income_zero_share=(income == 0).mean(axis=1),
        contributor_above_break_even=(usd >= outside).mean(axis=1),
        payout_gini=gini_of_ranked(rising),
        payout_hhi=hhi(income),
        payout_top1_share=top_share_of_ranked(rising, 100),
        holder_gini=estates.gini,
        holder_hhi=estates.hhi,
        nakamoto_holdings=estates.half,
        nakamoto_votes=world.governance.nakamoto_votes,
    )
