"""Serving: what the fleet makes of the day's demand.

Rule decided here: the fleet serves all runs at once by its capacity and latency; machines stand still, and
cost nothing, until the service is sold. Where every model has replicas of its own, the fleet is what that promise
needs today, dealt to the operators in turn: a model on offer is hosted whether or not it pays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.rates import is_sold
from sim.serving.dedicated import DedicatedFleet
from sim.states.usage_traits import dealt

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World


def advance(world: World, economy: Economy) -> None:
    """Ask the fleet what it serves of today's demand and yesterday's backlog."""
    usage, fleet = world.usage, economy.fleet
    asked_in, asked_out = usage.asked.astype(np.float64)
    backlog = usage.serving.backlog_tokens
    if isinstance(fleet, DedicatedFleet):
        models = models_on_offer(world, economy)
        needed = fleet.replicas_needed(asked_in + asked_out, usage.replicas_by_kind, models)
        usage.replicas = np.where(
            is_sold(world)[:, None], dealt(needed, usage.replicas.shape[1]), usage.replicas
        )
        usage.serving = fleet.day(asked_in, asked_out, usage.replicas_by_kind, backlog, models)
    else:
        usage.serving = fleet.day(asked_in, asked_out, usage.replicas_by_kind, backlog)
    usage.tokens_served = usage.serving.served_in + usage.serving.served_out


def models_on_offer(world: World, economy: Economy) -> NDArray[np.float64]:
    """Return the models of active builders, (runs,), at the scenario's size."""
    builders = economy.scenario.agents.builders
    active = world.usage.builder_active.mean(axis=1)
    return np.asarray(np.maximum(np.rint(active * builders.count * builders.adapters_each), 1.0))
