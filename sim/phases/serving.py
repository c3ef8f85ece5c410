"""Serving: what the fleet makes of the day's demand.

Rule decided here: the fleet serves all runs at once by its capacity and latency; machines stand still, and
cost nothing, until the service is sold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World


def advance(world: World, economy: Economy) -> None:
    """Ask the fleet what it serves of today's demand and yesterday's backlog."""
    usage = world.usage
    usage.serving = economy.fleet.day(
        usage.demand_in.sum(axis=1).astype(np.float64),
        usage.demand_out.sum(axis=1).astype(np.float64),
        usage.replicas.sum(axis=1),
        usage.serving.backlog_tokens,
    )
    usage.tokens_served = usage.serving.served_in + usage.serving.served_out
