"""A small world that lives through every kind of day, and ways to plant faults in it.

The population is as small as it can be with somebody in every class; service is sold from the first day, something is
burned and bought back and much of the data is copied, so that nearly every flow of the table happens within weeks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from sim import clock, engine, reach
from sim.accounts import ACCOUNTS
from sim.begin import begin_world
from sim.clock import advance_day, run_phase
from sim.economy import Economy
from sim.fleet import fleet_of
from sim.scenario import load
from sim.scenario.schema import Scenario
from sim.serving.fleet import FleetModel
from sim.world import World

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "scenarios" / "baseline.yaml"
DATA_FIRST = ROOT / "scenarios" / "proposals" / "data_first.yaml"
GWEI = 10**9
RUNS = np.array([3, 5, 9])
"""Run numbers of the small world; row 1 is its witness run."""
WITNESS = 5

BUSY = (
    "fees.input=0.10 USD/1M tokens",
    "fees.output=0.40 USD/1M tokens",
    "demand.adoption.bass.p=0.05/day",
    "fees.burn=1 %",
    "market.buyback.usd=50_000 USD/month",
    "agents.contributors.attackers.copy=40 %",
    "agents.contributors.plan.participate=100 %",
    "agents.contributors.plan.every=7 d",
    "attribution.detection=20 %",
    "attribution.dispute.rate=90 %/month",
    "token.buckets.investors.cliff=1 months",
    "token.buckets.team.cliff=1 months",
)
"""What makes more of the flows happen than in the baseline."""


_FLEETS: dict[str, FleetModel] = {}


@cache
def economy(*settings: str, agents: int = 90, days: int = 120, file: Path = BASELINE) -> Economy:
    """Return a small economy; it is read only and shared by all tests that ask for the same one."""
    scenario = load(file, [f"days={days}", *settings])
    with mock.patch.object(engine, "fleet_of", _fleet):
        return engine.build_economy(scenario, agents=agents)


def _fleet(scenario: Scenario) -> FleetModel:
    """Return the scenario's fleet; alike ones are built once, because each takes half a second."""
    asked = repr((scenario.serving, scenario.demand, scenario.agents.builders, scenario.runs.seed))
    if asked not in _FLEETS:
        _FLEETS[asked] = fleet_of(scenario)
    return _FLEETS[asked]


def busy(days: int = 120) -> Economy:
    return economy(*BUSY, days=days)


def world_after(built: Economy, day: int, runs: np.ndarray = RUNS, witness: int | None = WITNESS) -> World:
    """Return a world of one's own at the end of `day`; -1 is genesis."""
    world = begin_world(built, runs, witness)
    for today in range(day + 1):
        advance_day(world, built, today)
    return world


def live(world: World, built: Economy, days: int) -> None:
    """Live through some more days."""
    for day in range(world.day + 1, world.day + 1 + days):
        advance_day(world, built, day)


def plant(
    monkeypatch: pytest.MonkeyPatch, day: int, fault: Callable[[World], None], before: str = "record"
) -> None:
    """Let something happen behind the ledger's back on a day, just before a phase (and its checks)."""

    def advance(world: World, economy: Economy) -> None:
        if world.day == day:
            fault(world)

    module = SimpleNamespace(advance=advance)
    phases: list[tuple[str, Any]] = []
    for name, real in clock.PHASES:
        if name == before:
            phases.append(("fault", module))
        phases.append((name, real))
    monkeypatch.setattr(clock, "PHASES", tuple(phases))


def seats(world: World, name: str) -> list[int]:
    """Return the columns of an account of agents in which the daily audit looks for money."""
    read = reach.daily(world.layout, None)
    return [a for k, first, last in read.tolist() if k == ACCOUNTS[name].index for a in range(first, last)]


def put(
    world: World, name: str, row: int, amount: int, agent: int | None = None, *, booked: bool = False
) -> None:
    """Change a balance without a move, of the first agent that can have one; `booked` changes the journal's as well."""
    account = ACCOUNTS[name]
    if account.per_agent:
        own = seats(world, name)[0] if agent is None else agent
        world.holdings[account.index, row, own] += amount
    else:
        world.balances[row, account.index] += amount
    if booked:
        book = world.expected_agent if account.per_agent else world.expected_world
        book[row, account.index] += amount
        world.checksum = world.checksum_of_holdings()


def give(world: World, name: str, amounts: Any, agent_class: str = "") -> None:
    """Set balances for a test that begins in the middle, and what the journal says with them."""
    account = ACCOUNTS[name]
    if account.per_agent:
        held = world.holdings[account.index][:, world.layout.slice(agent_class)]
        before = held.sum(axis=1)
        held[:] = amounts
        world.expected_agent[:, account.index] += held.sum(axis=1) - before
        world.checksum = world.checksum_of_holdings()
        world.principal = world.agent_balance("stake").copy()
        return
    before = world.balances[:, account.index].copy()
    world.balances[:, account.index] = amounts
    world.expected_world[:, account.index] += world.balances[:, account.index] - before


def stand(built: Economy, day: int, runs: np.ndarray = RUNS) -> World:
    """Return a world on the morning of a day, with nothing but the cap in vesting: no day before it was lived."""
    world = begin_world(built, runs, None)
    world.governed.apply_dates(built.scenario, built.date_of(day), first=True)
    world.bridge.exits_gwei = world.bridge.slow_exits_gwei = np.zeros(len(runs), np.int64)
    return turn(world, day)


def turn(world: World, day: int) -> World:
    """Turn the calendar to a day, with the books of the day before closed."""
    world.day = day
    world.journal.today, world.usd.today = {}, {}
    return world


def run_phase_of(world: World, built: Economy, phase: str) -> None:
    """Run one phase alone of the day on which the world stands."""
    run_phase(world, built, phase, dict(clock.PHASES)[phase], None)
