"""Desk: what every step of governance needs at hand, and the clock of its steps.

Rule decided here: governance step k of a day has the timestamp noon + k seconds, in the simulation and
on the chain alike. Everything else that happens on a day happens before noon, so a snapshot at noon sees
the day's wraps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
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


def places(mask: NDArray[np.bool_]) -> list[list[int]]:
    """Return (row, slot) of the proposals of a mask (runs, slots); most steps of most days have none."""
    found: list[list[int]] = np.argwhere(mask).tolist() if mask.any() else []
    return found


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
        Action of the gas table -> row -> who did it today (columns), each time that it was done.
    """

    world: World
    economy: Economy
    gateway: GovernanceGateway | None = None
    actions: dict[str, dict[int, list[Int]]] = field(default_factory=dict)

    @property
    def state(self) -> GovernanceState:
        """Governance's part of the world."""
        return self.world.governance

    def noon(self, day: int) -> int:
        """Return the unix second of a day's noon."""
        start = datetime.combine(self.economy.scenario.start, time(12), UTC)
        return int(start.timestamp()) + day * SECONDS_PER_DAY

    def now(self, step: int) -> int:
        """Return the timestamp of a step of today."""
        return self.noon(self.world.day) + step

    def rule(self, name: str, row: int) -> int:
        """Return a rule in force for a run: seconds, basis points or gwei."""
        return int(self.world.governed.read(f"governance.{name}")[row])

    def open_rows(self) -> NDArray[np.bool_]:
        """Return in which runs every rule of governance has begun, bool (runs,)."""
        columns = [self.world.governed.read(f"governance.{name}") != OFF for name in RULES]
        return np.asarray(np.logical_and.reduce(columns))

    def gateway_of(self, row: int) -> GovernanceGateway | None:
        """Return the governor that decides for a run, or None where the formulas do."""
        return self.gateway if row == self.world.journal.witness_row else None

    def topic(self, row: int, slot: int) -> int:
        """Return the topic of a proposal."""
        return int(self.state.proposals.topic[row, slot])

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

    def tell(self, row: int, slot: int, topic: int, kind: str, **detail: int | str | list[int]) -> None:
        """Note an event of a proposal; slot -1 says that none was made."""
        run, text = int(self.world.runs[row]), json.dumps({"proposal": slot} | detail)
        self.state.events.append(Event(run, self.world.day, kind, slot, self.title(topic), text))

    def did(self, action: str, row: int, agents: Int | int) -> None:
        """Note that agents (columns) of a run took an action that costs gas."""
        self.actions.setdefault(action, {}).setdefault(row, []).append(np.atleast_1d(agents))

    def charge_gas(self) -> None:
        """Charge the gas of everything that was done today."""
        for action, rows in self.actions.items():
            where, count = [], []
            for row, agents in rows.items():
                who, times = (agents[0], np.ones(len(agents[0]), np.int64))
                if len(agents) > 1:
                    who, times = np.unique(np.concatenate(agents), return_counts=True)
                where.append(row * self.world.layout.agents + who)
                count.append(times)
            gas.charge_some(
                self.world, self.economy, "*", action, np.concatenate(where), np.concatenate(count)
            )
