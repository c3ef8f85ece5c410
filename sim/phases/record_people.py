"""Record of people: how income, holdings and votes are distributed, once per settlement epoch.

Rule decided here: a contributor's income is what the epoch's payouts were worth at its last close, and breaks even
when it reaches what the same work would earn outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.inequality import gini_of_ranked, hhi, top_share_of_ranked
from sim.kernels import people as kernel
from sim.kernels.ranks import ranked

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_ROWS = 16
"""Runs whose figures are taken at once, so that what they are computed from stays in cache."""


def owned(world: World) -> Int:
    """Return what each agent owns over all accounts, unclaimed payouts included, int64 (runs, agents)."""
    out = np.empty_like(world.earned)
    kernel.owned(world.holdings, world.earned, out)
    return out


def advance(world: World, economy: Economy, everybody: Int) -> None:
    """Write the monthly observables of contributors and holders; `everybody` is what each agent owns."""
    income = world.usage.income_month
    rising, count = np.sort(income, axis=1), income.shape[1]
    usd = rising / 1e9 * world.price_usd[:, None] / economy.people_per_agent("contributors")
    outside = float(economy.scenario.agents.contributors.outside_income.value)
    holders, half = everybody[:, world.layout.slice("holders")], np.empty(world.count, np.int64)
    kernel.nakamoto(everybody, half)
    world.record.put(
        world.day,
        contributor_income_median_usd=(usd[:, (count - 1) // 2] + usd[:, count // 2]) / 2,
        contributor_income_p90_usd=np.quantile(usd, 0.9, axis=1),
        contributor_income_zero_share=(income == 0).mean(axis=1),
        contributor_above_break_even=(usd >= outside).mean(axis=1),
        payout_gini=gini_of_ranked(rising),
        payout_hhi=hhi(income),
        payout_top1_share=top_share_of_ranked(rising, 100),
        holder_gini=_by_rows(lambda some: gini_of_ranked(ranked(some)), holders),
        holder_hhi=_by_rows(hhi, holders),
        nakamoto_holdings=half,
        nakamoto_votes=world.governance.nakamoto_votes,
    )


def _by_rows(figure: Callable[[Int], Float], amounts: Int) -> Float:
    """Return a figure of each run, which depends on the run's amounts alone, a few runs at a time."""
    return np.concatenate([figure(amounts[r : r + _ROWS]) for r in range(0, len(amounts), _ROWS)])
