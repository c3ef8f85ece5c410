"""The economy: everything about a scenario that does not change from run to run.

Rule decided here: what phases may look up beside the world: the scenario, the calendar, the vesting paths and the
fleet model. It is read only, picklable and shared by all batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.vesting import Schedule
    from sim.fleet import Fleet
    from sim.scenario.opening import Opening
    from sim.scenario.schema import Scenario
    from sim.world import Layout

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Economy:
    """Static data of a simulation.

    Parameters
    ----------
    scenario
        The resolved scenario.
    layout
        The agent axis.
    days
        Last day; rows are 0 .. days.
    schedules
        Bucket name -> vesting schedule.
    roles
        Bucket name -> role (one of `sim.accounts.BUCKET_ROLES`).
    vested
        Role -> vested gwei at the end of each day, int64 (days + 1,).
    vested_before
        Role -> gwei vested by the evening before the start; 0 where the run starts with the token.
    unvested_after
        Role -> gwei still unvested at the end of the last day.
    month_of_day
        Whole calendar months from the start to each day, int64 (days + 1,).
    epoch_end
        Whether a settlement epoch (calendar month from the start) ends with the day, bool (days + 1,).
    day_of_month
        Days since the beginning of the month from the start, int64 (days + 1,), 0 on the first.
    days_to_cliff
        Days from each day to the next insider instalment that raises the monthly flow, int64 (days + 1,); a large
        number where none follows.
    fleet
        Capacity and latency of the serving fleet.
    gas_fees
        Action -> fee of one on L2, gwei.
    taking_part
        How many of each class that can stake take part, pairs (class, agents); the first of the class
        (`sim/participation.py`).
    opening
        What the accounts hold where the run starts after the token, else None.
    """

    scenario: Scenario
    layout: Layout
    days: int
    schedules: dict[str, Schedule]
    roles: dict[str, str]
    vested: dict[str, Int]
    vested_before: dict[str, int]
    unvested_after: dict[str, int]
    month_of_day: Int
    epoch_end: NDArray[np.bool_]
    day_of_month: Int
    days_to_cliff: Int
    fleet: Fleet
    gas_fees: dict[str, int]
    taking_part: tuple[tuple[str, int], ...]
    opening: Opening | None = None

    @property
    def genesis(self) -> bool:
        """Whether the run starts with the token, so that day 0 makes the first payments."""
        return self.opening is None

    @property
    def minted(self) -> int:
        """Tokens that exist: the sum of the allocations, which is the cap unless the scenario says otherwise."""
        return sum(int(path[-1]) for path in self.vested.values()) + sum(self.unvested_after.values())

    def people_per_agent(self, agent_class: str) -> float:
        """Return how many agents of the scenario one simulated agent of a class stands for: its resolution."""
        return float(getattr(self.scenario.agents, agent_class).count) / self.layout.count(agent_class)

    @property
    def seed(self) -> int:
        """The scenario's seed: the key of every draw."""
        return int(self.scenario.runs.seed)

    def date_of(self, day: int) -> date:
        """Return the calendar date of a day."""
        return self.scenario.start + timedelta(days=day)
