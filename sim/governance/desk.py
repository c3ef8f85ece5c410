"""Desk: what every step of governance needs at hand, and the clock of its steps.

Rule decided here: governance step k of a day has the timestamp noon + k seconds, in the simulation and
on the chain alike. Everything else that happens on a day happens before noon, so a snapshot at noon sees
the day's wraps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.units import SECONDS_PER_DAY
from sim import gas
from sim.governed_columns import OFF
from sim.states.governance import SCENARIO, Event, GovernanceState

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.governance_gateway import GovernanceGateway
    from sim.world import World

Int = NDArray[np.int64]

PROPOSE, VOTE, QUEUE, EXECUTE = 0, 1, 2, 3
"""Steps of a day, in seconds after noon."""
RULES = ("delay", "period", "timelock", "quorum", "threshold")
Places = tuple[Int, Int]
"""Row and slot of some proposals, int64 (places,) each, which together index arrays (runs, slots)."""


def places(mask: NDArray[np.bool_]) -> Places:
    """Return the places of the proposals of a mask (runs, slots), run after run."""
    rows, slots = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, slots


def among(at: Places, chosen: NDArray[np.bool_]) -> Places:
    """Return those of some places that are chosen, bool (places,)."""
    return at[0][chosen], at[1][chosen]


@cache
def _first_noon(start: date) -> int:
    return int(datetime.combine(start, time(12), UTC).timestamp())


@dataclass(slots=True)
class Desk:
    """One day of governance.

    Parameters
    ----------
    world, economy
        State and static data.
    gateway
        Governor of the witness run's row, or None.
    actions
        Action of the gas table -> who did it today, flat indices into (runs, agents), each time that it was done.
    """

    world: World
    economy: Economy
    gateway: GovernanceGateway | None = None
    actions: dict[str, list[Int]] = field(default_factory=dict)

    @property
    def state(self) -> GovernanceState:
        """Governance's part of the world."""
        return self.world.governance

    def noon(self, day: int) -> int:
        """Return the unix second of a day's noon."""
        return _first_noon(self.economy.scenario.start) + day * SECONDS_PER_DAY

    def now(self, step: int) -> int:
        """Return the timestamp of a step of today."""
        return self.noon(self.world.day) + step

    def rule(self, name: str, rows: Int) -> Int:
        """Return a rule in force in some runs: seconds, basis points or gwei."""
        return self.world.governed.read(f"governance.{name}")[rows]

    def open_rows(self) -> NDArray[np.bool_]:
        """Return in which runs every rule of governance has begun, bool (runs,)."""
        columns = [self.world.governed.read(f"governance.{name}") != OFF for name in RULES]
        return np.asarray(np.logical_and.reduce(columns))

    def gateway_of(self, row: int) -> GovernanceGateway | None:
        """Return the governor that decides for a run, or None where the formulas do."""
        return self.gateway if row == self.world.journal.witness_row else None

    def witnessed(self, at: Places) -> Iterator[tuple[GovernanceGateway, int, int]]:
        """Yield the governor, the index among the places, and the slot, where a governor decides."""
        if self.gateway is None:
            return
        for index in np.flatnonzero(at[0] == self.world.journal.witness_row).tolist():
            yield self.gateway, index, int(at[1][index])

    def topic(self, row: int, slot: int) -> int:
        """Return the topic of a proposal."""
        return int(self.state.proposals.topic[row, slot])

    def is_own(self, at: Places) -> NDArray[np.bool_]:
        """Return which proposals are the scenario's own, bool (places,)."""
        return np.asarray(self.state.proposals.topic[at] == SCENARIO)

    def title(self, topic: int) -> str:
        """Return the title of a proposal."""
        proposal = self.economy.scenario.proposal
        return proposal.title if topic == SCENARIO and proposal is not None else "routine"

    def label(self, column: int) -> str:
        """Return ``class/index`` of an agent."""
        for name, count in self.world.layout.counts:
            if column < count:
                return f"{name}/{column}"
            column -= count
        raise IndexError(column)

    def tell(self, row: int, slot: int, topic: int, kind: str, **figures: int | str | list[int]) -> None:
        """Note an event of a proposal; slot -1 says that none was made."""
        run = int(self.world.runs[row])
        self.state.events.append(Event(run, self.world.day, kind, slot, self.title(topic), figures))

    def did(self, action: str, rows: Int, columns: Int) -> None:
        """Note that an agent of each of some rows took an action that costs gas."""
        self.actions.setdefault(action, []).append(rows * self.world.layout.agents + columns)

    def charge_gas(self) -> None:
        """Charge the gas of everything that was done today."""
        for action, agents in self.actions.items():
            who = np.concatenate(agents)
            times: Int | int = 1
            if (who[1:] <= who[:-1]).any():  # somebody may have done it twice
                who, times = np.unique(who, return_counts=True)
            gas.charge_some(self.world, self.economy, "*", action, who, times)
