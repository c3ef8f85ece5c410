"""Clock: one SimPy process that wakes once per distinct day.

Rule decided here: the order of the day. Everything happens in phases, always in this order, for all runs of a batch
at once; what a phase decides, it decides by yesterday's close. A vote that executes binds from the next day.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import simpy

from sim import identities
from sim.phases import (
    attribution,
    billing,
    bridge,
    demand,
    emission,
    governance,
    grants,
    holders,
    market,
    operators,
    record,
    serving,
    settle,
    staking,
    unlock,
)

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.services import Services
    from sim.world import World

PHASES: tuple[tuple[str, ModuleType], ...] = (
    ("unlock", unlock),
    ("emission", emission),
    ("demand", demand),
    ("serving", serving),
    ("billing", billing),
    ("attribution", attribution),
    ("operators", operators),
    ("staking", staking),
    ("holders", holders),
    ("market", market),
    ("bridge", bridge),
    ("governance", governance),
    ("grants", grants),
    ("settle", settle),
    ("record", record),
)
"""Phases of the day in order."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What may look on while days pass.

    Parameters
    ----------
    on_day
        Called with the day after it ended, for progress.
    """

    on_day: Callable[[int], None] | None = None


def begin_day(world: World, economy: Economy, day: int) -> None:
    """Turn the world's calendar to `day`: yesterday's books close, dated and voted parameters begin to hold."""
    world.day = day
    world.journal.today = {}
    world.usd.today = {}
    world.governed.apply_dates(economy.scenario, economy.date_of(day), first=day == 0)
    governance.bind(world, economy)


def run_phase(
    world: World, economy: Economy, name: str, module: ModuleType, services: Services | None
) -> None:
    """Run one phase of the day; governance and settlement may talk to the witness chain."""
    world.phase = name
    if name in ("governance", "settle"):
        module.advance(world, economy, services)
    else:
        module.advance(world, economy)


def advance_day(world: World, economy: Economy, day: int, services: Services | None = None) -> None:
    """Live through one day: every phase in order, then the identities.

    Parameters
    ----------
    world, economy
        State and static data.
    day
        The day to live, one after `world.day` (or 0).
    services
        The witness run's chain, or None.

    Raises
    ------
    sim.identities.IdentityBroken
        If a gwei is out of place at the end of the day.
    """
    begin_day(world, economy, day)
    for name, module in PHASES:
        if name == "record":
            identities.check(world, economy)
        run_phase(world, economy, name, module, services)


def run_days(
    world: World, economy: Economy, services: Services | None = None, hooks: Hooks | None = None
) -> None:
    """Live through day 0 to the economy's last day on a SimPy environment; what stops a day is raised as it is."""
    environment = simpy.Environment()
    stopped: list[Exception] = []

    def daily() -> Generator[Any, None, None]:
        for day in range(economy.days + 1):
            try:
                advance_day(world, economy, day, services)
            except Exception as error:
                # SimPy would make the error anew from its arguments, which not every error can bear
                stopped.append(error)
                return
            if hooks and hooks.on_day:
                hooks.on_day(day)
            yield environment.timeout(1)

    environment.process(daily())
    environment.run()
    if stopped:
        raise stopped[0]
