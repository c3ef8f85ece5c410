"""Twins: the same world and the same luck with one mechanism off.

Rule decided here: what each counterfactual switches off, and nothing else. Both act on the static economy
before the first day, so a twin's draws are those of its base run.

- ``no_unlock``: investors' and team's tokens that are locked on day 0 stay locked. What the community and
ecosystem
  buckets unlock goes into pools, not to sellers; the twin keeps it, so that programmes pay as before.
- ``no_outside_inflow``: the assumed outside net inflow is 0 USD; usage and unlocks alone make the price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from models.vesting import Schedule, vested_on

if TYPE_CHECKING:
    from sim.economy import Economy

INSIDERS = ("investors", "team")


def without_unlock(economy: Economy) -> Economy:
    """Return the economy in which insiders' buckets unlock nothing after day 0."""
    from sim.engine import FAR

    vested, after = dict(economy.vested), dict(economy.unvested_after)
    for role in INSIDERS:
        path = vested[role]
        vested[role] = np.full_like(path, path[0])
        after[role] += int(path[-1] - path[0])
    schedules = {
        name: _stopped(schedule, economy.date_of(0)) if economy.roles[name] in INSIDERS else schedule
        for name, schedule in economy.schedules.items()
    }
    never = np.full_like(economy.days_to_cliff, FAR)
    return replace(economy, vested=vested, unvested_after=after, schedules=schedules, days_to_cliff=never)


def _stopped(schedule: Schedule, first: date) -> Schedule:
    """Return the calendar of what is unlocked on the first day alone: its rest never comes."""
    unlocked = vested_on(schedule, first)
    return Schedule(allocation=unlocked, tge=unlocked, tge_date=min(schedule.tge_date, first))


def without_outside_inflow(economy: Economy) -> Economy:
    """Return the economy whose outside net inflow is certain and 0."""
    scenario = economy.scenario
    inflow = replace(scenario.market.outside_net_inflow, values=((date.min, 0.0),), prior=None)
    market = scenario.market.model_copy(update={"outside_net_inflow": inflow})
    return replace(economy, scenario=scenario.model_copy(update={"market": market}))


TWINS: Mapping[str, Callable[[Economy], Economy]] = {
    "no_unlock": without_unlock,
    "no_outside_inflow": without_outside_inflow,
}
"""Name in ``runs.twins`` -> the change."""
